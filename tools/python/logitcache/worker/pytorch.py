"""A PyTorch model as teacher."""

import hashlib

import numpy as np
import torch

from ..errors import demand
from .code import Factory, callable_and_identity
from .inputs import Preprocessing
from .server import Hello, Teacher


def open_torch(
    place: str, hello: Hello, preprocessing: Preprocessing, output: str, threads: int, device: str
) -> Teacher:
    """The teacher that the function at `place` makes: a module, or a callable on tensors."""
    torch.set_num_threads(threads)
    torch.backends.cudnn.benchmark = False  # it chooses kernels by time
    torch.backends.cudnn.deterministic = True
    factory = Factory(place)
    made = factory.make(hello.parameters)
    if isinstance(made, torch.nn.Module):
        model = made.eval().requires_grad_(False).to(device)
        identity = {"weights": weights_digest(made)}
    else:
        model, identity = callable_and_identity(made, place)
    prepare = preprocessing.prepare(hello)

    def run(views: np.ndarray):
        with torch.inference_mode():
            given = model(torch.from_numpy(np.ascontiguousarray(prepare(views))).to(device))
        return tuple(map(_array, given)) if isinstance(given, tuple | list) else _array(given)

    return Teacher(
        identity={
            "kind": "torch",
            "name": place,
            "runtime": f"PyTorch {torch.__version__}",
            "device": _device(device),
            "cpu": torch.backends.cpu.get_cpu_capability(),
            "precision": torch.get_float32_matmul_precision(),
            "threads": threads,
            "input": preprocessing.identity,
            **factory.identity(hello.parameters),
            **identity,
        },
        run=run,
        output=output,
        class_names=getattr(model, "class_names", None),
        fills_batches=True,
    )


def weights_digest(module: torch.nn.Module) -> str:
    """SHA-256 over the sorted state_dict: name, type and shape as text, then the bytes."""
    hasher = hashlib.sha256()
    for name, values in sorted(module.state_dict().items()):
        demand(
            isinstance(values, torch.Tensor),
            f"state_dict has {name}, a {type(values).__name__}: return a callable with an identity",
        )
        kind = str(values.dtype).removeprefix("torch.")
        hasher.update(f"{name} {kind} {list(values.shape)}\n".encode())
        content = values.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        hasher.update(content.numpy())
    return hasher.hexdigest()


def _device(device: str) -> str:
    kind = torch.device(device)
    if kind.type != "cuda":
        return kind.type
    return f"{torch.cuda.get_device_name(kind)}, CUDA {torch.version.cuda}"


def _array(values) -> np.ndarray:
    if isinstance(values, torch.Tensor):
        return values.float().cpu().numpy()
    return np.asarray(values)
