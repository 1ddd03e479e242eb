"""Style that all charts of the page share."""

from collections.abc import Mapping
from typing import TypeAlias

import plotly.graph_objects as go

WIDTH = 690  # px; also fits on A4 paper
GREY, LIGHT = "#666666", "rgba(120,120,120,0.22)"
FONT = {"family": "system-ui, sans-serif", "size": 12, "color": "#222222"}
READING_NAMES = {"test": "as trained", "test_ts": "after scaling"}
Colours: TypeAlias = Mapping[str, str]  # '#rrggbb' by label of a loss


def styled(figure: go.Figure, height: int) -> go.Figure:
    """Set the page's style and a height in pixels, and return the figure."""
    figure.update_layout(
        width=WIDTH,
        height=height,
        font=FONT,
        template="plotly_white",
        margin={"l": 60, "r": 15, "t": 40, "b": 50},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
    )
    return figure
