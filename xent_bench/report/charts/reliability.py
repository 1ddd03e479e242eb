"""Reliability diagrams, a small one for each loss."""

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from xent_bench.comparison.compare import Comparison
from xent_bench.comparison.evidence import Evidence
from xent_bench.metrics.calibration import BINS
from xent_bench.metrics.reliability import Reliability
from xent_bench.report.charts.style import GREY, LIGHT, READING_NAMES, Colours, styled

PER_ROW = 5  # diagrams
MOST_LOSSES = 15  # losses with a diagram


def diagrams(comparison: Comparison, evidence: Evidence, colours: Colours) -> go.Figure | None:
    """Draw accuracy against confidence of the first seed: as trained above, after scaling below."""
    labels = [row.label for row in comparison.rows if evidence.reliability.get(row.label)]
    labels = labels[:MOST_LOSSES]
    if not labels:
        return None
    columns = min(PER_ROW, len(labels))
    lines = 2 * -(-len(labels) // columns)
    titles = [""] * (lines * columns)
    for place, label in enumerate(labels):
        titles[2 * (place // columns) * columns + place % columns] = label
    figure = make_subplots(
        lines,
        columns,
        shared_xaxes=True,
        shared_yaxes=True,
        subplot_titles=titles,
        horizontal_spacing=0.02,
        vertical_spacing=0.25 / lines,
    )
    for place, label in enumerate(labels):
        line, column = 2 * (place // columns) + 1, place % columns + 1
        for down, prefix in enumerate(READING_NAMES):
            bins = evidence.reliability[label].get(prefix)
            if bins is not None:
                _diagram(figure, bins, colours[label], line + down, column)
        for down, reading in enumerate(READING_NAMES.values()):
            if column == 1:
                figure.update_yaxes(title=reading, row=line + down, col=1)
    figure.update_xaxes(range=[0, 1], tickvals=[0, 0.5, 1])
    figure.update_yaxes(range=[0, 1.03], tickvals=[0, 0.5, 1])
    return styled(figure, 80 + 140 * lines)


def _diagram(figure: go.Figure, bins: Reliability, colour: str, line: int, column: int) -> None:
    """Draw the bins of one diagram, with the range that a calibrated net shows by chance."""
    place = {"row": line, "col": column}
    figure.add_bar(  # the accuracy of 95 % of calibrated nets
        x=(bins.bin + 0.5) / BINS,
        base=bins.null_low,
        y=np.maximum(bins.null_high - bins.null_low, 0.01),
        width=1 / BINS,
        marker={"color": LIGHT, "line_width": 0},
        hoverinfo="skip",
        showlegend=False,
        **place,
    )
    figure.add_scatter(
        x=[0, 1],
        y=[0, 1],
        mode="lines",
        line={"color": GREY, "width": 1, "dash": "dash"},
        hoverinfo="skip",
        showlegend=False,
        **place,
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
        **place,
    )
