"""Notes on labels that train without an error and may mean something else than classes."""

import re
import unicodedata
from collections.abc import Callable, Hashable, Iterable, Sequence

import numpy as np

from xent_bench.data.table_columns import number_of

EXAMPLES = 3  # that a note names
SINGLE = 10  # classes of one image, below which a set is only a small one
SCALE = 10  # more numbers than these, fractions among them, are a scale and no classes
DATE = re.compile(r"(\d{4}[-/.]\d\d?[-/.]\d\d?|\d\d?[-/.]\d\d?[-/.]\d{4})\b")
# texts in small letters that people and programs write where there is no label
MISSING = {
    *("?", "-", "--", "#n/a", "<na>", "n/a", "na", "nan", "nat", "none", "null", "nil", "missing"),
    *("not available", "undefined", "unknown", "unlabeled", "unlabelled", "no label"),
}

# names of folders and values of columns that are parts of a set, where two or more are classes
PARTS = {
    *("images", "imgs", "jpegimages", "masks", "mask", "annotations", "labels", "segmentations"),
    *("train", "training", "val", "valid", "validation", "dev", "test", "testing", "holdout"),
}


def odd_labels(classes: Sequence[str], counts: np.ndarray | None) -> dict[str, str]:
    """Notes, by what they speak of, on names of classes that may be a mistake; empty without any.

    `counts` (c,) are the images of each class, None where labels are votes.
    """
    notes = {
        "classes that differ by case only": _pairs(classes, str.casefold),
        "classes spelt alike": _pairs(classes, _spelling, but=str.casefold),
        "classes that are one number": _pairs(classes, number_of, but=_spelling),
        "labels that may mean none": _missing(classes, counts),
        "classes called as parts of a set": _parts(classes),
        "labels on a scale": _scale(classes),
        "classes of one image": _alone(counts),
    }
    return {name: note for name, note in notes.items() if note}


def _pairs(
    classes: Sequence[str],
    key: Callable[[str], Hashable],
    but: Callable[[str], Hashable] | None = None,
) -> str:
    """The classes that share a key and, if `but` is given, differ in that one, in words."""
    by_key: dict[Hashable, list[str]] = {}
    for name in classes:
        if (of_name := key(name)) is not None:
            by_key.setdefault(of_name, []).append(name)
    pairs = [
        " and ".join(map(_visible, names))
        for names in by_key.values()
        if len(names) > 1 and (but is None or len({but(name) for name in names}) > 1)
    ]
    return _some(pairs)


def _spelling(name: str) -> str:
    """A name without what is hard to see: case, quotes, kinds of blanks, forms of Unicode."""
    text = unicodedata.normalize("NFKC", name).casefold()
    text = "".join(char for char in text if unicodedata.category(char) != "Cf")
    return re.sub(r"(?<=[^\W_])[\s_\-]+(?=[^\W_])", " ", text.strip().strip("'\"")).strip()


def _missing(classes: Sequence[str], counts: np.ndarray | None) -> str:
    """Classes called as no label is; -1 and its like beside three classes that count from 0."""
    missing = {place for place, name in enumerate(classes) if _spelling(name) in MISSING}
    numbers = [number_of(name) for name in classes]
    whole = [number for number in numbers if number is not None and number.is_integer()]
    if len(whole) == len(classes) > 3 and len([number for number in whole if number < 0]) == 1:
        missing.add(whole.index(min(whole)))
    names = [classes[place] for place in sorted(missing)]
    if counts is None:
        return _some(names)
    n = [int(counts[place]) for place in sorted(missing)]
    return _some(f"{name} ({m:,} image{'s' * (m != 1)})" for name, m in zip(names, n, strict=True))


def _parts(classes: Sequence[str]) -> str:
    """The classes that are called as splits or as folders beside images are, if two are."""
    parts = [name for name in classes if name.casefold() in PARTS]
    return " and ".join(parts) if len(parts) > 1 else ""


def _scale(classes: Sequence[str]) -> str:
    """Say that the classes are many numbers, fractions among them, or many dates."""
    if len(classes) > SCALE and all(DATE.match(name) for name in classes):
        return f"{len(classes):,} dates, each a class by itself"
    numbers = [number for name in classes if (number := number_of(name)) is not None]
    if len(numbers) < len(classes) or len(set(numbers)) <= SCALE:
        return ""
    if all(number.is_integer() for number in numbers):
        return ""
    return (
        f"{len(classes):,} numbers from {min(numbers):g} to {max(numbers):g}, each a class by "
        "itself: to predict a quantity is no classification"
    )


def _alone(counts: np.ndarray | None) -> str:
    """Say that half of the classes, and at least ten, have a single image."""
    if counts is None:
        return ""
    single = int((counts == 1).sum())
    if single < SINGLE or 2 * single < len(counts):
        return ""
    return f"{single:,} of {len(counts):,}: are the labels names, dates or quantities of images?"


def _visible(name: str) -> str:
    """A name as it is, or with its characters spelt out where it would look like another."""
    is_plain = name.isascii() and name == name.strip()
    return name if is_plain else ascii(name)


def _some(texts: Iterable[str]) -> str:
    listed = list(texts)
    return ", ".join(listed[:EXAMPLES]) + ", ..." * (len(listed) > EXAMPLES)
