"""Suggestions for a name that does not exist, such as a misspelt key."""

from collections.abc import Iterable
from difflib import get_close_matches


def hint(name: str, names: Iterable[str]) -> str:
    """'; did you mean A?' for names that are listed already; empty if none is similar."""
    suggestion = nearest(name, names)
    return f"; {suggestion}" if suggestion.startswith("did you mean") else ""


def nearest(name: str, names: Iterable[str], prefix: str = "") -> str:
    """'did you mean A or B?' or, if no name is similar, 'there is ...' with all names.

    `prefix` is put before each name. Without names: 'it takes none'.
    """
    candidates = sorted(names)
    similar = [prefix + match for match in get_close_matches(name, candidates, n=3, cutoff=0.6)]
    if similar:
        return f"did you mean {' or '.join(similar)}?"
    if candidates:
        return f"there is {', '.join(prefix + candidate for candidate in candidates)}"
    return "it takes none"
