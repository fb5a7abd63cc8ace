"""The n-gram student in PyTorch, with the choices that were open: what an n-gram is, the first weights, the normalisation.

    .venv-bench/bin/python Benchmarks/Peers/ngrams.py runs/languages Benchmarks/runs/ngrams.json

Trains on hard labels from what Examples/languages/extract.py wrote, whole sentences, one seed, one thread; says the test
accuracy. The first row is what was chosen (Sources/Networks/NGramMean.swift).
"""

import json
import math
import pathlib
import sys

import numpy as np
import torch

BUCKETS, WIDTH, LONGEST, BYTES = 8192, 24, 4, 128
EPOCHS, BATCH, WARM_UP, MOMENTUM = 5, 128, 200, 0.9
CHOSEN = {"grams": "bytes", "bound": 0.05, "normalised": True, "rate": 0.2}
CHANGES = [
    {},
    {"grams": "bytes at characters"},
    {"grams": "characters"},
    {"bound": 0.5},
    {"bound": 0.005},
    {"normalised": False, "rate": 0.2},
    {"normalised": False, "rate": 10},
]


def units(text: bytes, grams: str) -> list[bytes]:
    if grams == "characters":
        return [character.encode() for character in text.decode()]
    return [text[place : place + 1] for place in range(len(text))]


def places(text: bytes, grams: str) -> np.ndarray:
    """The buckets of all n-grams: the high word of a mixed FNV-1a hash times the number of buckets."""
    parts, found = units(text, grams), []
    for start, first in enumerate(parts):
        if grams == "bytes at characters" and first[0] & 0xC0 == 0x80:
            continue
        value = 0x811C9DC5
        for part in parts[start : start + LONGEST]:
            for byte in part:
                value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
            found.append((value * 0x9E3779B1 & 0xFFFFFFFF) * BUCKETS >> 32)
    return np.array(found, np.int64)


def read(path: pathlib.Path, classes: list[str]) -> tuple[np.ndarray, list[bytes]]:
    lines = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    texts = [text.encode()[:BYTES].decode(errors="ignore").encode() for _, text in lines]
    return np.array([classes.index(label) for label, _ in lines]), texts


class Student(torch.nn.Module):
    def __init__(self, classes: int, bound: float, normalised: bool):
        super().__init__()
        self.mean = torch.nn.EmbeddingBag(BUCKETS, WIDTH, mode="mean")
        self.norm = torch.nn.BatchNorm1d(WIDTH) if normalised else torch.nn.Identity()
        self.classifier = torch.nn.Linear(WIDTH, classes)
        torch.nn.init.uniform_(self.mean.weight, -bound, bound)
        limit = math.sqrt(6 / WIDTH)
        torch.nn.init.uniform_(self.classifier.weight, -limit, limit)
        torch.nn.init.zeros_(self.classifier.bias)

    def forward(self, grams: list[np.ndarray]) -> torch.Tensor:
        starts = np.cumsum([0] + [len(g) for g in grams[:-1]])
        mean = self.mean(torch.from_numpy(np.concatenate(grams)), torch.from_numpy(starts))
        return self.classifier(self.norm(mean))


def train(choice: dict, train_set, test_set, classes: int) -> dict:
    torch.manual_seed(1)
    (labels, grams), (test_labels, test_grams) = train_set, test_set
    student = Student(classes, choice["bound"], choice["normalised"])
    optimizer = torch.optim.SGD(student.parameters(), 1, MOMENTUM, nesterov=True)
    steps = EPOCHS * math.ceil(len(grams) / BATCH)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: choice["rate"] * min(1, (step + 1) / WARM_UP)
        * (1 + math.cos(math.pi * step / steps)) / 2,
    )
    for epoch in range(EPOCHS):
        order = np.random.default_rng(epoch).permutation(len(grams))
        for batch in np.split(order, range(BATCH, len(order), BATCH)):
            logits = student([grams[i] for i in batch])
            loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels[batch]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    student.eval()
    with torch.no_grad():
        named = student(test_grams).argmax(1).numpy()
    return {"accuracy": float(np.mean(named == test_labels))}


def main():
    folder, result = map(pathlib.Path, sys.argv[1:])
    torch.set_num_threads(1)
    classes = (folder / "classes.txt").read_text().split()
    parts = [read(folder / name, classes) for name in ("train.tsv", "test.tsv")]
    rows, latest = [], None
    for change in CHANGES:
        choice = CHOSEN | change
        if latest != choice["grams"]:
            latest = choice["grams"]
            sets = [(labels, [places(text, latest) for text in texts]) for labels, texts in parts]
        rows.append(choice | train(choice, *sets, len(classes)))
        print(rows[-1], file=sys.stderr, flush=True)
    report = {
        "torch": torch.__version__,
        "sentences": len(parts[0][1]),
        "testSentences": len(parts[1][1]),
        "epochs": EPOCHS,
        "rows": rows,
    }
    result.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
