"""Reads caches of teacher logits: right sample, right view, right bytes, or a clear refusal.

    import logitcache

    with logitcache.open("runs/cache") as cache:
        cache.verify()
        records = cache.records(samples=[0, 17, 5], view=1)

`logitcache.views` renders the views that the teacher saw, byte for byte; `logitcache.torch` has a
data set and losses for PyTorch; `logitcache.worker` is a teacher for the program to run. The format
is described in docs/FORMAT.md, views in docs/VIEWS.md, workers in docs/WORKER.md.
"""

import importlib

from .errors import LogitCacheError

__all__ = ["Cache", "Columns", "LogitCacheError", "Records", "VerifyReport", "open"]

# Loaded when they are used: a worker needs neither LMDB nor zstandard.
_HOMES = {
    "Cache": "cache",
    "VerifyReport": "cache",
    "open": "cache",
    "Columns": "records",
    "Records": "records",
}


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module 'logitcache' has no attribute '{name}'")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
