"""The curve of a loss: the mean over its runs, in a band from the lowest to the highest."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from xent_bench.palette import faint


def draw_band(
    figure: go.Figure,
    x: np.ndarray,
    values: np.ndarray,
    label: str,
    colour: str,
    panel: tuple[int, int],
    *,
    hover: str,
    named: bool,
    texts: Sequence[str] | None = None,
) -> None:
    """Draw one loss, `values` of shape (runs, points), in a panel given by its row and column.

    `hover` is plotly's template of what stands at a point below the label, and `texts` what it
    calls customdata. `named` puts the loss into the legend.
    """
    place = {"row": panel[0], "col": panel[1], "legendgroup": label}
    figure.add_scatter(
        x=np.concatenate([x, x[::-1]]),
        y=np.concatenate([values.max(axis=0), values.min(axis=0)[::-1]]),
        mode="lines",  # plotly marks the points of a short band
        fill="toself",
        fillcolor=faint(colour),
        line={"width": 0},
        hoverinfo="skip",
        showlegend=False,
        **place,
    )
    figure.add_scatter(
        x=x,
        y=values.mean(axis=0),
        name=label,
        mode="lines+markers",
        marker={"size": 4},
        line={"color": colour, "width": 2},
        showlegend=named,
        customdata=texts,
        hovertemplate=f"{label}<br>{hover}<extra></extra>",
        **place,
    )
