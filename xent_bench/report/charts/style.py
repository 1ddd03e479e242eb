"""What the charts of the page have in common."""

from collections.abc import Mapping
from typing import TypeAlias

import plotly.graph_objects as go

WIDTH = 690  # px: what fits on A4 paper too
GREY, LIGHT = "#666666", "rgba(120,120,120,0.22)"
FONT = {"family": "system-ui, sans-serif", "size": 12, "color": "#222222"}
READINGS = {"test": "as trained", "test_ts": "after scaling"}
Colours: TypeAlias = Mapping[str, str]  # by label


def styled(figure: go.Figure, height: int) -> go.Figure:
    """As all charts of the page look."""
    figure.update_layout(
        width=WIDTH,
        height=height,
        font=FONT,
        template="plotly_white",
        margin={"l": 60, "r": 15, "t": 40, "b": 50},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
    )
    return figure
