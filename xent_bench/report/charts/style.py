"""Style and layout that all charts of the page share."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import plotly.graph_objects as go

GREY, LIGHT = "#666666", "rgba(120,120,120,0.22)"
READING_NAMES = {"test": "as trained", "test_ts": "after scaling"}
LEAST = 300  # px that a panel needs, unless its chart says otherwise
Colours: TypeAlias = Mapping[str, str]  # '#rrggbb' by label of a loss


def styled(figure: go.Figure, height: int) -> go.Figure:
    """Set the height in pixels of a chart with one panel, and return the figure.

    Width, fonts and colours of axes are those of the reader's window and theme (page_charts.js).
    """
    figure.update_layout(template="none", height=height, showlegend=False)
    return figure


def in_panels(
    figure: go.Figure,
    titles: Iterable[str],
    height: int,
    *,
    stack: int = 1,
    least: int = LEAST,
    **others: Any,
) -> go.Figure:
    """Say how the panels of a chart are to be placed, and return the figure.

    As many columns are shown side by side as have room for `least` pixels each. A column's cell
    holds `stack` panels, one below another, each of this height in pixels. `titles` has one for
    each panel, in the order of the axes: cell by cell, within it from above. `others` go to the
    script, too: `below` pixels for the labels of the x axis, `is_shared` if panels side by side
    share their y axis, `is_titled_across` if titles are sentences, which begin at the left edge of
    the chart and take as many lines as they need.
    """
    figure.update_layout(
        template="none",
        showlegend=False,
        meta={"titles": list(titles), "height": height, "stack": stack, "least": least} | others,
    )
    return figure


def panel(place: int) -> dict[str, str]:
    """The axes of a panel, whose number counts from 0, as a trace names them."""
    number = "" if place == 0 else str(place + 1)
    return {"xaxis": f"x{number}", "yaxis": f"y{number}"}


def axis(place: int, letter: str) -> str:
    """The name of a panel's axis in the layout: 'xaxis', 'yaxis2'."""
    return f"{letter}axis{'' if place == 0 else place + 1}"
