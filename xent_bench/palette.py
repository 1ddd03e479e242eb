"""A colour for each loss, the same in pictures of runs, on a report's page, for runs in MLflow.

The losses that are compared most have a colour of their own in TABLE, and every other one has one
of the rest of the ten by a hash of its name. Where two losses that are shown together would have
one colour, one of them keeps it, a loss of the table before any other and otherwise the first in
the alphabet, and only the later one moves, to the next colour that none of them has: so up to ten
losses are shown in the ten colours. A picture of a run shows one loss, in its own colour.
"""

import colorsys
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, count

# Okabe and Ito, 2008: told apart also by the colour-blind; their yellow, unseen on paper, last
TABLE = {
    "ce": "#0072b2",
    "focal": "#d55e00",
    "hinge": "#009e73",
    "mse": "#cc79a7",
    "sparse_ce": "#56b4e9",  # beside ce, with whose weights it ends
}
OTHERS = ("#e69f00", "#333333", "#8c564b", "#7f3fbf", "#b5bd00")
DARK_PAGE = (0x14, 0x18, 0x1F)  # the background in page.css
GOLDEN = 0.618034  # of a turn: steps of it fill a circle evenly, however many there are


def colour_of(loss: str) -> str:
    """The loss's own colour, as '#rrggbb'."""
    if loss in TABLE:
        return TABLE[loss]
    return OTHERS[int.from_bytes(hashlib.sha256(loss.encode()).digest()[:4]) % len(OTHERS)]


def colours_of(losses: Iterable[str]) -> dict[str, str]:
    """The colours of losses that are shown together, all different, whatever their order."""
    names = sorted(set(losses), key=lambda name: (name not in TABLE, name))
    owners: dict[str, str] = {}  # by colour
    for name in names:
        owners.setdefault(colour_of(name), name)
    colours = {name: colour for colour, name in owners.items()}
    free = (colour for colour in chain(TABLE.values(), OTHERS, _hues()) if colour not in owners)
    return colours | {name: next(free) for name in names if name not in colours}


def faint(colour: str, strength: float = 0.15) -> str:
    """The colour for an area that lies behind lines of the same colour."""
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},{strength})"


def on_dark(colour: str, contrast: float = 4.5) -> str:
    """The colour mixed with white until it has this contrast to a dark page, as WCAG counts it."""
    channels = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    for step in range(101):
        mixed = [round(channel + (255 - channel) * step / 100) for channel in channels]
        if (_luminance(mixed) + 0.05) / (_luminance(DARK_PAGE) + 0.05) >= contrast:
            break
    return "#" + "".join(f"{channel:02x}" for channel in mixed)


def _luminance(channels: Sequence[int]) -> float:
    """Relative luminance of a colour of sRGB, from 0 to 1."""
    shares = [channel / 255 for channel in channels]
    red, green, blue = (
        share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _hues() -> Iterator[str]:
    """Colours without end for more losses than ten, every other one darker."""
    for place in count():
        rgb = colorsys.hls_to_rgb(place * GOLDEN % 1, 0.32 if place % 2 else 0.52, 0.75)
        yield "#" + "".join(f"{round(255 * part):02x}" for part in rgb)
