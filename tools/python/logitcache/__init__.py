"""Reads caches of teacher logits: right sample, right view, right bytes, or a clear refusal.

    import logitcache

    with logitcache.open("runs/cache") as cache:
        cache.verify()
        records = cache.records(samples=[0, 17, 5], view=1)

`logitcache.views` renders the views that the teacher saw, byte for byte; `logitcache.torch` has a
data set and losses for PyTorch. The format is described in docs/FORMAT.md, views in docs/VIEWS.md.
"""

from .cache import Cache, VerifyReport, open
from .errors import LogitCacheError
from .records import Columns, Records

__all__ = ["Cache", "Columns", "LogitCacheError", "Records", "VerifyReport", "open"]
