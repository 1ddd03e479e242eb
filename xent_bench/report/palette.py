"""A colour for each loss, the same in every chart of a page."""

import colorsys
from collections.abc import Sequence

# Okabe and Ito, 2008: told apart also by the colour-blind; their yellow, unseen on paper, last
FEW = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#333333"),
    *("#8c564b", "#7f3fbf", "#b5bd00"),
)


def palette(names: Sequence[str]) -> dict[str, str]:
    """By name; of more than a few, hues all around, every other one darker."""
    if len(names) <= len(FEW):
        return dict(zip(names, FEW, strict=False))
    hues = (place / len(names) for place in range(len(names)))
    return {
        name: _hex(hue, 0.32 if place % 2 else 0.52)
        for place, (name, hue) in enumerate(zip(names, hues, strict=True))
    }


def faint(colour: str, strength: float = 0.15) -> str:
    """The same, for what lies behind."""
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},{strength})"


def _hex(hue: float, lightness: float) -> str:
    red, green, blue = colorsys.hls_to_rgb(hue, lightness, 0.75)
    return "#" + "".join(f"{round(255 * part):02x}" for part in (red, green, blue))
