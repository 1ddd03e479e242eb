"""The curve of a loss: the mean over its runs, in a band from the lowest to the highest."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from xent_bench.palette import faint
from xent_bench.report.charts.style import panel


def draw_band(
    figure: go.Figure,
    x: np.ndarray,
    values: np.ndarray,
    label: str,
    colour: str,
    place: int,
    *,
    hover: str,
    named: bool,
    texts: Sequence[str] | None = None,
) -> None:
    """Draw one loss, `values` of shape (runs, points), in the panel of this number from 0.

    `hover` is plotly's template of what stands at a point below the label, and `texts` what it
    calls customdata. `named` puts the loss into the legend.
    """
    where = panel(place) | {"legendgroup": label}
    around = np.concatenate([x, x[::-1]])
    bounds = np.concatenate([values.max(axis=0), values.min(axis=0)[::-1]])
    fill_area(figure, around, bounds, colour, **where)
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
        **where,
    )


def fill_area(
    figure: go.Figure,
    x: np.ndarray | Sequence[float],
    y: np.ndarray | Sequence[float],
    colour: str,
    **place: Any,
) -> None:
    """Fill the area within a line through these points, in a faint colour and without a legend."""
    figure.add_scatter(
        x=x,
        y=y,
        mode="lines",  # plotly marks the points of a short line
        fill="toself",
        fillcolor=faint(colour),
        line={"width": 0},
        hoverinfo="skip",
        showlegend=False,
        **place,
    )
