"""Replaces the labels of sentences by the teacher's first choice: hard targets where the cache has soft ones.

    .venv-languages/bin/python Examples/languages/relabel.py runs/languages

reads train.tsv and classes.txt in that folder and writes taught.tsv beside them.
"""

import pathlib
import sys

import languages
import numpy as np

BYTES = 128  # of a sample, as train.yaml has it
BATCH = 256


def main():
    folder = pathlib.Path(sys.argv[1])
    classes = (folder / "classes.txt").read_text().split()
    lines = (folder / "train.tsv").read_text(encoding="utf-8").splitlines()
    texts = [line.partition("\t")[2] for line in lines]
    # What a cut leaves of a character is dropped.
    cut = [text.encode()[:BYTES].decode(errors="ignore").encode() for text in texts]
    classify, _ = languages.load()
    columns = [classify.class_names.index(name) for name in classes]
    labels = []
    for start in range(0, len(cut), BATCH):
        part = b"".join(text.ljust(BYTES, b"\0") for text in cut[start : start + BATCH])
        rows = classify(np.frombuffer(part, np.uint8).reshape(-1, BYTES))
        labels += [classes[best] for best in rows[:, columns].argmax(axis=1)]
    taught = "".join(f"{label}\t{text}\n" for label, text in zip(labels, texts))
    (folder / "taught.tsv").write_text(taught, encoding="utf-8")


if __name__ == "__main__":
    main()
