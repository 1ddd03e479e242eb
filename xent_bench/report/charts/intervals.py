"""Intervals of differences in a panel, with no difference and the margin of a tie behind them."""

from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go

from xent_bench.report.charts.style import GREY, LIGHT


def add_interval(
    figure: go.Figure,
    axes: Mapping[str, str],
    at: tuple[float, float | str],
    half: float,
    *,
    colour: str,
    hover: str,
    thickness: int = 2,
    line_colour: str | None = None,
    symbol: str = "circle",
) -> None:
    """Draw a mean and its interval at `at`, a place on the x and on the y axis.

    `half` is the half-width of the interval; `thickness` of its line is in pixels.
    """
    x, y = at
    figure.add_scatter(
        x=[x],
        y=[y],
        error_x={
            "array": [half],
            "thickness": thickness,
            "width": 0,
            "color": line_colour or colour,
        },
        marker={"size": 8, "color": colour, "symbol": symbol},
        mode="markers",
        showlegend=False,
        hovertemplate=f"{hover}<extra></extra>",
        **axes,
    )


def add_tie(
    figure: go.Figure, axes: Mapping[str, str], rows: int, margin: float | None
) -> tuple[float, float]:
    """Draw a line where nothing differs, and shade the differences that are a tie, if any are.

    Returns the range of the y axis on which the rows stand at 0, 1, ...
    """
    low, high = -0.6, rows - 0.4
    # not a share of the axis: plotly.js 4.1.1 fails to draw such a shape between grid and points
    span: dict[str, Any] = {"xref": axes["xaxis"], "yref": axes["yaxis"], "type": "rect"}
    span |= {"y0": low, "y1": high}
    if margin is not None:
        figure.add_shape(
            x0=-margin, x1=margin, fillcolor=LIGHT, line_width=0, layer="below", **span
        )
    # a line below the grid is hidden by the lighter line of the grid at 0
    figure.add_shape(x0=0, x1=0, line={"color": GREY, "width": 1}, layer="between", **span)
    return low, high
