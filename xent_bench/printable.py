"""Text of a file as it may be shown: what would steer a terminal is written out."""

import re
from typing import Any

# Control characters but for tab and newline (so every escape sequence), the signs that turn the
# direction of writing, by which a line can read otherwise than it is, and halves of characters,
# which no encoding can print.
STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def printable(text: str) -> str:
    """Return the text with each steering character written out, as in `\\x1b[31m`."""
    return STEERING.sub(lambda sign: ascii(sign[0])[1:-1], text)


def all_printable(content: Any) -> Any:
    """Return what JSON holds with every text in it printable, keys too."""
    if isinstance(content, str):
        return printable(content)
    if isinstance(content, dict):
        return {all_printable(key): all_printable(value) for key, value in content.items()}
    if isinstance(content, list):
        return [all_printable(value) for value in content]
    return content
