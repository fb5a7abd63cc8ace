"""Any Python callable as teacher."""

import platform

import numpy as np

from .code import Factory, callable_and_identity
from .inputs import Preprocessing
from .server import Hello, Teacher


def open_function(place: str, hello: Hello, preprocessing: Preprocessing, output: str) -> Teacher:
    """The teacher that the function at `place` makes."""
    factory = Factory(place)
    run, identity = callable_and_identity(factory.make(hello.parameters), place)
    prepare = preprocessing.prepare(hello)
    return Teacher(
        identity={
            "kind": "function",
            "name": place,
            "runtime": f"Python {platform.python_version()}, NumPy {np.__version__}",
            "input": preprocessing.identity,
            **factory.identity(hello.parameters),
            **identity,
        },
        run=lambda views: run(prepare(views)),
        output=output,
        class_names=getattr(run, "class_names", None),
    )
