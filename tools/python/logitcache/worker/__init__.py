"""A teacher in a process of its own, for the program's `kind: worker` (docs/WORKER.md).

    python -m logitcache.worker --torch pets:load

Needs NumPy; PyTorch or ONNX Runtime only where they are asked for. Other teachers are served with
`serve(open_teacher)`, after `claim_streams()`.
"""

from .positions import Positions
from .server import Hello, Teacher, claim_streams, serve

__all__ = ["Hello", "Positions", "Teacher", "claim_streams", "serve"]
