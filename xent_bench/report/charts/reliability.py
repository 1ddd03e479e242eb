"""Reliability diagrams, a small one for each loss."""

from itertools import product

import numpy as np
import plotly.graph_objects as go

from xent_bench.comparison.compare import Comparison
from xent_bench.comparison.evidence import Evidence
from xent_bench.metrics.calibration import BINS
from xent_bench.metrics.reliability import Reliability
from xent_bench.report.charts.style import (
    GREY,
    LIGHT,
    READING_NAMES,
    Colours,
    axis,
    in_panels,
    panel,
)

MOST_LOSSES = 15  # losses with a diagram


def diagrams(comparison: Comparison, evidence: Evidence, colours: Colours) -> go.Figure | None:
    """Draw accuracy against confidence of the first seed: as trained above, after scaling below."""
    labels = [row.label for row in comparison.rows if evidence.reliability.get(row.label)]
    labels = labels[:MOST_LOSSES]
    if not labels:
        return None
    figure = go.Figure()
    for place, (label, (prefix, reading)) in enumerate(product(labels, READING_NAMES.items())):
        bins = evidence.reliability[label].get(prefix)
        if bins is not None:
            _diagram(figure, bins, colours[label], place)
        ticks = {"tickvals": [0, 0.5, 1]}
        figure.layout[axis(place, "x")] = {"range": [0, 1]} | ticks
        figure.layout[axis(place, "y")] = {"range": [0, 1.03], "title": {"text": reading}} | ticks
    titles = [title for label in labels for title in (label, "")]
    return in_panels(figure, titles, 120, stack=2, least=150, is_shared=True)


def _diagram(figure: go.Figure, bins: Reliability, colour: str, place: int) -> None:
    """Draw the bins of one diagram, with the range that a calibrated net shows by chance."""
    axes = panel(place)
    figure.add_bar(  # the accuracy of 95 % of calibrated nets
        x=(bins.bin + 0.5) / BINS,
        base=bins.null_low,
        y=np.maximum(bins.null_high - bins.null_low, 0.01),
        width=1 / BINS,
        marker={"color": LIGHT, "line_width": 0},
        hoverinfo="skip",
        showlegend=False,
        **axes,
    )
    figure.add_scatter(
        x=[0, 1],
        y=[0, 1],
        mode="lines",
        line={"color": GREY, "width": 1, "dash": "dash"},
        hoverinfo="skip",
        showlegend=False,
        **axes,
    )
    figure.add_scatter(
        x=bins.confidence,
        y=bins.accuracy,
        error_y={
            "array": bins.high - bins.accuracy,
            "arrayminus": bins.accuracy - bins.low,
            "width": 0,
            "thickness": 1,
        },
        mode="markers",
        marker={"color": colour, "size": 5},
        customdata=bins.n,
        hovertemplate="confidence %{x:.3f}<br>accuracy %{y:.3f}<br>n=%{customdata}<extra></extra>",
        showlegend=False,
        **axes,
    )
