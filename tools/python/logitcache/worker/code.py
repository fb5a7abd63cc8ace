"""Code of the user's: what `module:function` names, and its digest."""

import hashlib
import importlib
import inspect
import json

from ..errors import LogitCacheError, demand


class Factory:
    """The function that `module:function` names."""

    def __init__(self, place: str):
        module, _, name = place.partition(":")
        demand(module and name, f"'{place}' must read MODULE:FUNCTION")
        self.place = place
        function = importlib.import_module(module)
        for part in name.split("."):
            demand(hasattr(function, part), f"the module {module} has no '{name}'")
            function = getattr(function, part)
        demand(callable(function), f"'{place}' is no function")
        self.function = function

    def make(self, parameters: dict):
        """Calls the function with the configuration's parameters."""
        return self.function(**parameters)

    def identity(self, parameters: dict) -> dict[str, str]:
        """The file that defines the function, and the parameters."""
        try:
            path = inspect.getsourcefile(inspect.unwrap(self.function))
        except TypeError:  # of a module that is not written in Python
            path = None
        identity = {"parameters": json.dumps(parameters, sort_keys=True)}
        if path is not None:
            identity["code"] = file_digest(path)
        return identity


def file_digest(path: str) -> str:
    """SHA-256 of a file."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise LogitCacheError(f"cannot read {path}: {error.strerror}") from None


def callable_and_identity(made, place: str):
    """What a factory made that is not a PyTorch module, and how it identifies itself."""
    run, identity = made if isinstance(made, tuple) else (made, getattr(made, "identity", None))
    demand(callable(run), f"{place} returned {type(run).__name__}, which cannot be called")
    demand(
        isinstance(identity, dict) and identity,
        f"{place} returned a callable without identity: return a pair of it and a dict that says "
        "what decides its rows, such as {'weights': DIGEST}, or give it an attribute 'identity'",
    )
    return run, identity
