"""python -m logitcache.worker: a PyTorch model, an ONNX file or any function as teacher."""

import argparse
import dataclasses
import sys

from ..errors import LogitCacheError
from .inputs import Preprocessing
from .positions import RULES, Positions
from .server import OUTPUTS, Hello, Teacher, claim_streams, serve


def main() -> int:
    """Parses the command line and serves the teacher."""
    options = parse(sys.argv[1:])
    streams = claim_streams()

    def open_teacher(hello: Hello) -> Teacher:
        teacher = opened(hello)
        if options.positions is None:
            return teacher
        positions = Positions(options.positions, options.blank, options.keep_blank)
        return dataclasses.replace(teacher, positions=positions)

    def opened(hello: Hello) -> Teacher:
        # Loaded only where they are asked for, and after printing was turned away.
        if options.function:
            from .function import open_function

            return open_function(options.function, hello, chosen(options, "raw"), options.output)
        if options.torch:
            require("torch")
            from .pytorch import open_torch

            return open_torch(
                *(options.torch, hello, chosen(options, "raw"), options.output),
                *(options.threads, options.device),
            )
        require("onnxruntime")
        from .onnx import open_onnx

        return open_onnx(
            *(options.onnx, hello, chosen(options, None), options.output, options.threads),
            *(options.providers, options.outputs, options.class_names),
        )

    return serve(open_teacher, streams)


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m logitcache.worker", description=__doc__)
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--torch", metavar="MODULE:FUNCTION", help="makes a torch.nn.Module")
    mode.add_argument("--onnx", metavar="FILE", help="a model for ONNX Runtime")
    mode.add_argument("--function", metavar="MODULE:FUNCTION", help="makes a callable on arrays")
    parser.add_argument(
        "--input",
        choices=["raw", "nchw", "nhwc"],
        help="views as they are, or images as float32 (value / divide-by - mean) / deviation",
    )
    parser.add_argument("--divide-by", type=float, default=255, help="default 255")
    parser.add_argument("--mean", type=numbers, default=(0.0,), help="default 0; one, or 1,2,3")
    parser.add_argument("--deviation", type=numbers, default=(1.0,), help="default 1; likewise")
    parser.add_argument(
        "--output", choices=OUTPUTS, default="logits", help="what rows are; default logits"
    )
    parser.add_argument(
        "--positions", choices=RULES, help="rows are [n, positions, classes]; which are recorded"
    )
    parser.add_argument(
        "--blank", type=int, metavar="CLASS", help="the class that means nothing; left out of rows"
    )
    parser.add_argument(
        "--keep-blank", action="store_true", help="of --positions nonblank: blank stays in rows"
    )
    parser.add_argument("--threads", type=int, default=1, help="of --torch and --onnx; default 1")
    parser.add_argument("--device", default="cpu", help="of --torch")
    parser.add_argument(
        "--providers", type=names, default=["CPUExecutionProvider"], help="of --onnx"
    )
    parser.add_argument(
        "--outputs",
        type=names,
        default=[],
        help="of --onnx: rows[,features], with --positions rows[,mask]",
    )
    parser.add_argument("--class-names", metavar="KEY", help="of --onnx: the metadata with names")
    options = parser.parse_args(arguments)
    changed = (options.divide_by, options.mean, options.deviation) != (255, (0.0,), (1.0,))
    if changed and options.input not in ("nchw", "nhwc"):
        parser.error("--divide-by, --mean and --deviation need --input nchw or nhwc")
    if options.blank is not None and (options.positions is None or options.blank < 0):
        parser.error("--blank is a class, from 0, and needs --positions")
    if options.positions not in (None, "every") and options.blank is None:
        parser.error(f"--positions {options.positions} needs --blank")
    if options.keep_blank and options.positions != "nonblank":
        parser.error("--keep-blank needs --positions nonblank")
    if options.threads < 1:
        parser.error("--threads must be at least 1")
    return options


def numbers(text: str) -> tuple[float, ...]:
    """Numbers between commas."""
    return tuple(float(number) for number in text.split(","))


def names(text: str) -> list[str]:
    """Names between commas."""
    return text.split(",")


def chosen(options: argparse.Namespace, default: str | None) -> Preprocessing | None:
    """The preprocessing that the command line asks for."""
    layout = options.input or default
    if layout is None:
        return None
    return Preprocessing(layout, options.divide_by, options.mean, options.deviation)


def require(module: str) -> None:
    """Refuses to go on without a package."""
    try:
        __import__(module)
    except ImportError as error:
        package = error.name or module
        raise LogitCacheError(
            f"{sys.executable} cannot import {package}: install it with {sys.executable} -m pip "
            f"install {package}, or name another Python in the teacher's command"
        ) from None


if __name__ == "__main__":
    sys.exit(main())
