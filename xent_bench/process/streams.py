"""Output that cannot fail: what a terminal or a file cannot show is written in ASCII."""

import codecs
import os
import sys
from io import TextIOWrapper

IN_ASCII = {"→": "->", "±": "+-", "≈": "~", "↑": "^", "↓": "v", "↕": "x", "∞": "inf", "·": "*"}


def replace_what_cannot_be_shown() -> None:
    """Print in ASCII, or as '?', each character that the encoding of the output lacks.

    An error there would end a command whose work is done. The encoding is that of the terminal or
    of PYTHONIOENCODING. A stream that was closed is replaced by one that shows nothing.
    """
    codecs.register_error("in_ascii", _in_ascii)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed, as by >&-
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  open until the end
        elif isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="in_ascii")


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    characters = error.object[error.start : error.end]
    return "".join(IN_ASCII.get(character, "?") for character in characters), error.end
