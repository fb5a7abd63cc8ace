"""Makes a language identification job out of the translations of VLC (Debian package vlc-l10n).

Every translated message of at least 20 characters is a sample; the folder that it lies in says its language. Whether a
message is for training or for testing depends on its English original alone, so no test sentence was seen in another
language. Equal input gives equal files.

    .venv-languages/bin/python Examples/languages/extract.py runs/languages [--per-language 1000]

writes train.tsv and test.tsv (lines of label, tab, text) and classes.txt, the labels in order. Only languages that the
teacher knows are taken.
"""

import argparse
import gettext
import hashlib
import pathlib

import languages

LOCALES = pathlib.Path("/usr/share/locale")
LEAST_CHARACTERS = 20
# A language with fewer training sentences is left out.
LEAST_SENTENCES = 100
# One message in so many is for testing, so many of a language at most.
TEST_SHARE = 8
TEST_SENTENCES = 125
# Folders whose language has another name in lid.176, or none: Norwegian; Central Kurdish.
RENAMED = {"nb": "no", "ku_IQ": None}


def language(folder: str) -> str | None:
    """The language of a locale, without country and variant."""
    return RENAMED.get(folder, folder.split("_")[0].split("@")[0])


def order(*texts: str) -> bytes:
    """A place in a random order that is always the same."""
    return hashlib.sha256("\0".join(texts).encode()).digest()


def sentences(path: pathlib.Path):
    """Pairs of an English message and its translation, on one line each."""
    with open(path, "rb") as file:
        messages = gettext.GNUTranslations(file)._catalog
    for original, translation in messages.items():
        # Plural forms have a pair as key; the empty message is the file's header.
        if isinstance(original, str) and original and isinstance(translation, str):
            line = " ".join(translation.split())
            translated = line != " ".join(original.split())
            if translated and len(line) >= LEAST_CHARACTERS and line.isprintable():
                yield original, line


def collect(known: set[str]):
    """For training and for testing: {language: {text}}, without texts of two languages."""
    languages: dict[str, set[str]] = {}
    parts = {"train": {}, "test": {}}
    for path in sorted(LOCALES.glob("*/LC_MESSAGES/vlc.mo")):
        label = language(path.parts[-3])
        if label not in known:
            continue
        for original, text in sentences(path):
            languages.setdefault(text, set()).add(label)
            part = "test" if order(original)[0] % TEST_SHARE == 0 else "train"
            parts[part].setdefault(label, set()).add(text)
    for part in parts.values():
        for label, texts in part.items():
            part[label] = {text for text in texts if len(languages[text]) == 1}
    for label, texts in parts["test"].items():
        texts -= parts["train"].get(label, set())
    return parts["train"], parts["test"]


def write(path: pathlib.Path, samples: dict[str, set[str]], classes: list[str], limit: int):
    lines = []
    for label in classes:
        chosen = sorted(samples.get(label, ()), key=order)[:limit]
        lines += [f"{label}\t{text}\n" for text in chosen]
    path.write_text("".join(sorted(lines, key=order)), encoding="utf-8")
    print(f"{path}: {len(lines)} sentences in {len(classes)} languages")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--per-language", type=int, default=1000)
    options = parser.parse_args()
    train, test = collect(set(languages.load()[0].class_names))
    if not train:
        raise SystemExit(f"{LOCALES} has no translations of VLC: apt-get install vlc-l10n")
    classes = sorted(label for label in train if len(train[label]) >= LEAST_SENTENCES)
    options.folder.mkdir(parents=True, exist_ok=True)
    (options.folder / "classes.txt").write_text("".join(f"{label}\n" for label in classes))
    write(options.folder / "train.tsv", train, classes, options.per_language)
    write(options.folder / "test.tsv", test, classes, TEST_SENTENCES)


if __name__ == "__main__":
    main()
