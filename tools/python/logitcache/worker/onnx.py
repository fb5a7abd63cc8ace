"""A model in an ONNX file as teacher, run by Python's onnxruntime."""

import dataclasses
import os

import numpy as np
import onnxruntime

from ..errors import demand
from .code import file_digest
from .inputs import Preprocessing
from .server import Hello, Teacher


def open_onnx(
    path: str,
    hello: Hello,
    preprocessing: Preprocessing | None,
    output: str,
    threads: int,
    providers: list[str],
    outputs: list[str],
    class_names_key: str | None,
) -> Teacher:
    """The model in the file `path`; `outputs` are the names of rows and, perhaps, features."""
    digest = file_digest(path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=providers)
    source = _only(session.get_inputs(), f"{path} has {{}} inputs, one is needed: {{}}")
    fixed = source.shape[0]
    demand(
        not isinstance(fixed, int) or fixed == hello.batch,
        f"{path} takes batches of {fixed}: set batch to it in the teacher's configuration",
    )
    demand(not hello.parameters, "an ONNX model takes no parameters: leave them out")
    element = {"tensor(uint8)": np.uint8, "tensor(int32)": np.int32, "tensor(float)": np.float32}
    demand(source.type in element, f"{path} takes {source.type}: it must be float, uint8 or int32")
    is_float = source.type == "tensor(float)"
    if preprocessing is None:
        # Pictures for models of four dimensions, as the program's own ONNX teacher makes them.
        scaled = hello.is_image and is_float and len(source.shape) == 4
        preprocessing = Preprocessing("nchw" if scaled else "raw")
    elif not is_float and preprocessing.layout != "raw":
        preprocessing = dataclasses.replace(preprocessing, divide_by=1)
    prepare = preprocessing.prepare(hello)
    if not outputs:
        only = _only(
            session.get_outputs(), f"{path} has {{}} outputs, choose one with --outputs: {{}}"
        )
        outputs = [only.name]

    def run(views: np.ndarray):
        inputs = np.ascontiguousarray(prepare(views), element[source.type])
        given = session.run(outputs, {source.name: inputs})
        return tuple(given) if len(given) == 2 else given[0]

    return Teacher(
        identity={
            "kind": "onnx",
            "name": os.path.basename(path),
            "weights": digest,
            "runtime": f"ONNX Runtime {onnxruntime.__version__}",
            "providers": " ".join(session.get_providers()),
            "threads": threads,
            "input": preprocessing.identity,
            "outputs": " ".join(outputs),
        },
        run=run,
        output=output,
        class_names=_names(session, path, class_names_key),
        fills_batches=True,
    )


def _only(tensors, message: str):
    names = ", ".join(tensor.name for tensor in tensors)
    demand(len(tensors) == 1, message.format(len(tensors), names))
    return tensors[0]


def _names(session, path: str, key: str | None) -> list[str] | None:
    if key is None:
        return None
    metadata = session.get_modelmeta().custom_metadata_map
    demand(key in metadata, f"{path} has no metadata '{key}'; it has {', '.join(metadata) or '-'}")
    return metadata[key].removesuffix("\n").split("\n")
