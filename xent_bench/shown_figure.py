"""A Matplotlib figure that a notebook shows, although pyplot does not know of it."""

from io import BytesIO

from matplotlib.figure import Figure


class ShownFigure(Figure):
    """A figure without pyplot's state: nothing has to be closed, and no backend is chosen.

    A notebook shows figures of pyplot by itself; of others it asks for `_repr_png_`.
    """

    def _repr_png_(self) -> bytes:
        """Return the picture as PNG, for a notebook."""
        png = BytesIO()
        self.savefig(png, format="png")
        return png.getvalue()
