"""The one exception of this package."""


class LogitCacheError(Exception):
    """Says in a sentence what is wrong, where, and what to do."""


def demand(condition, message: str) -> None:
    """Raises `LogitCacheError(message)` unless the condition holds."""
    if not condition:
        raise LogitCacheError(message)
