"""Frames of pictures: what is alike in all pictures of a kind is built and drawn once.

Axes, ticks and legends take most of the time of a picture. A frame keeps them, drawn; the data of
a run are drawn over them and taken away again (Matplotlib's manual calls it blitting). The picture
has the pixels of a figure that is drawn anew.
"""

from collections.abc import Callable, Sequence
from io import BytesIO
from threading import Lock
from typing import Any

import numpy as np
from matplotlib import __version__
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.container import Container
from matplotlib.figure import Figure
from PIL import Image, PngImagePlugin

FASTEST = 1  # of zlib: a file is as large as with its usual level and an alpha channel

Data = Sequence[Artist | Container]


class Frame:
    """A figure without data, and the function that adds those of a run to it.

    `fill` returns what it has added. `late` are the parts of the frame that are drawn with the
    data, by their zorder: lines that cross them, and texts that `fill` changes.
    """

    def __init__(self, figure: Figure, late: Sequence[Artist], fill: Callable[..., Data]) -> None:
        """Keep the parts; nothing is drawn before the first picture."""
        self.figure, self.late, self.fill = figure, late, fill
        self.lock = Lock()  # a frame holds the data of one picture at a time
        self.drawn: tuple[Any, Any] | None = None  # as `_drawn` returns it

    def filled(self, *content: Any) -> Figure:
        """Add the content, and return the figure: it has no other."""
        self.fill(*content)
        return self.figure

    def png(self, *content: Any) -> bytes:
        """Draw the content over the frame, and return the picture as PNG."""
        with self.lock:
            canvas: Any  # in part without types
            canvas, pixels = self._drawn()
            data = self.fill(*content)
            try:
                canvas.restore_region(pixels)
                for artist in sorted([*self.late, *_artists(data)], key=Artist.get_zorder):
                    artist.draw(canvas.get_renderer())
                return _png(canvas)
            finally:
                for part in data:
                    part.remove()

    def _drawn(self) -> tuple[Any, Any]:
        """The canvas, and the pixels of what does not change."""
        if self.drawn is None:
            canvas: Any = FigureCanvasAgg(self.figure)
            for artist in self.late:
                artist.set_visible(False)
            canvas.draw()
            for artist in self.late:
                artist.set_visible(True)
            self.drawn = canvas, canvas.copy_from_bbox(self.figure.bbox)
        return self.drawn


def borders(axis: Axes) -> list[Artist]:
    """The lines around the axes, which are drawn over the data; ticks are drawn below them."""
    axis.set_axisbelow(True)
    return [*axis.spines.values()]


def _artists(data: Data) -> list[Artist]:
    lists = (_children(part) if isinstance(part, Container) else [part] for part in data)
    return [artist for parts in lists for artist in parts]


def _children(container: Container) -> list[Artist]:
    """The parts of a container, in the order in which their axes draw them."""
    parts = container.get_children()
    axes = parts[0].axes
    assert axes is not None
    return [artist for artist in axes.get_children() if artist in parts]


def _png(canvas: Any) -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_text("Software", f"Matplotlib version {__version__}, https://matplotlib.org/")
    opaque = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
    png, dpi = BytesIO(), canvas.figure.dpi
    opaque.save(png, "png", pnginfo=info, dpi=(dpi, dpi), compress_level=FASTEST)
    return png.getvalue()
