"""What somebody may have meant by a name that does not exist."""

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, known: Iterable[str], prefix: str = "") -> str:
    """'did you mean ...?' or, if nothing is near, what there is; `prefix` goes before each."""
    names = sorted(known)
    near = [prefix + each for each in get_close_matches(name, names, n=3, cutoff=0.6)]
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"there is {', '.join(prefix + each for each in names)}" if names else "it takes none"
