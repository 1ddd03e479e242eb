"""Columns of numbers that nobody has named as votes: which of them cannot be votes, and why.

A row number beside columns of votes would else be a class, and the likeliest of nearly every image.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

ROWS = 5  # fewer rows may agree with any rule by chance
MANY = 50  # rows whose whole numbers all differ: nobody has so many different numbers of votes
ROUNDING = 0.02  # shares of a row may miss their sum by so much


def no_votes(columns: Mapping[str, Sequence[float] | np.ndarray]) -> str | None:
    """Say which columns hold no votes for a class, and why; None if all of them may.

    These are row numbers and identifiers; a total of the others; what stands beside shares that sum
    to 1 in every row by themselves; and, all together, numbers with fractions whose rows have
    different sums.
    """
    names = list(columns)
    votes = np.array([columns[name] for name in names], float).T
    if len(votes) < ROWS:
        return None
    numbering = {name: "numbers the rows" for name in names if _is_numbering(votes, names, name)}
    kept = [place for place, name in enumerate(names) if name not in numbering]
    reasons = numbering | _beside_shares(votes[:, kept], [names[place] for place in kept])
    kept = [place for place, name in enumerate(names) if name not in reasons]
    reasons |= _total(votes[:, kept], [names[place] for place in kept])
    if reasons:
        return "; ".join(f"{name} {reason}" for name, reason in reasons.items())
    sums = votes.sum(axis=1)
    is_whole = bool((votes == votes.round()).all())
    if is_whole or np.ptp(sums) <= ROUNDING * sums.mean():
        return None
    return (
        f"rows hold fractions and sum to {sums.min():.4g} to {sums.max():.4g}, neither numbers of "
        "votes nor shares of one whole"
    )


def _is_numbering(votes: Float[np.ndarray, "n c"], names: list[str], name: str) -> bool:
    column = votes[:, names.index(name)]
    if not (column == column.round()).all():
        return False
    counts_on = bool((np.diff(column) == 1).all())
    return counts_on or (len(column) >= MANY and len(np.unique(column)) == len(column))


def _beside_shares(votes: Float[np.ndarray, "n c"], names: list[str]) -> dict[str, str]:
    """The columns with numbers above 1, where the others are shares of 1 in every row."""
    shares = [place for place in range(len(names)) if bool((votes[:, place] <= 1).all())]
    if len(shares) in (0, 1, len(names)):
        return {}
    sums = votes[:, shares].sum(axis=1)
    if not (abs(sums - 1) <= ROUNDING).all():
        return {}
    first, last = names[shares[0]], names[shares[-1]]
    others = [name for place, name in enumerate(names) if place not in shares]
    return dict.fromkeys(others, f"is beside {first} to {last}, which sum to 1 in every row")


def _total(votes: Float[np.ndarray, "n c"], names: list[str]) -> dict[str, str]:
    """The column that is the sum of all others in every row."""
    if len(names) < 3:
        return {}
    of_others = votes.sum(axis=1, keepdims=True) - votes
    totals = [name for place, name in enumerate(names) if _equal(votes, of_others, place)]
    return dict.fromkeys(totals[:1], "is the sum of the others")


def _equal(one: Float[np.ndarray, "n c"], other: Float[np.ndarray, "n c"], column: int) -> bool:
    return bool(np.isclose(one[:, column], other[:, column]).all())
