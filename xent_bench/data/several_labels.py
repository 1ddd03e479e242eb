"""Labels that look like several for each image, which are refused: a class is one of many here.

Read as votes, or as the names of classes, they would train without an error and mean nothing.
"""

from collections.abc import Collection

import numpy as np

MARKS = "|;,"  # what stands between the labels of an image, where a text holds several
GLANCE = 1000  # rows that are looked at before all are
FEW = 20  # one row in so many may hold several ones, and still be of votes
QUESTION = (
    "this tool is for one class an image; several labels an image are a yes-or-no question for "
    "each class (binary cross-entropy)"
)


def hint_in_rows(rows: np.ndarray) -> str | None:
    """Say why rows (n, c) of numbers look like yes or no for each class; None if they do not.

    All numbers are 0 or 1, and one row in 20 or more, at least two, holds several ones: people who
    vote agree somewhere, so their votes hold a 2. Rows of one 1 each are classes.
    """
    if rows.ndim != 2 or not len(rows):
        return None
    for part in (rows[:GLANCE], rows):  # shares are known by the first rows, which saves the memory
        if not ((part == 0) | (part == 1)).all():
            return None
    several = int(((rows == 1).sum(axis=1) > 1).sum())
    if several < max(2, len(rows) / FEW):
        return None
    return (
        f"{several:,} of {len(rows):,} rows of labels hold several ones, and none holds more than "
        f"1, as votes would: {QUESTION}; shares of votes (0.5, 0.5) are read"
    )


def hint_in_texts(labels: Collection[str]) -> str | None:
    """Say why texts look like lists of labels; None if they do not."""
    text = text_with_several(labels)
    return None if text is None else f"{text!r} looks like several labels: {QUESTION}"


def text_with_several(labels: Collection[str]) -> str | None:
    """The first text that looks like a list of labels, such as 'cat|dog'; None without one.

    Each part of a text that holds a mark is a label by itself too. One such text is enough.
    """
    names = set(labels)
    for mark in MARKS:
        lists = [name for name in names if mark in name]
        parts = {part.strip() for name in lists for part in name.split(mark)} - {""}
        if lists and len(parts) > 1 and parts <= names:
            return min(lists)
    return None
