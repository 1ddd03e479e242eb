"""Reliability diagrams, a small one for each loss."""

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from xent_bench.comparison.compare import Comparison
from xent_bench.comparison.evidence import Evidence
from xent_bench.metrics.calibration import BINS
from xent_bench.metrics.reliability import Reliability
from xent_bench.report.charts.style import GREY, LIGHT, READINGS, Colours, styled

PER_ROW = 5
MOST = 15  # losses


def diagrams(comparison: Comparison, evidence: Evidence, colours: Colours) -> go.Figure | None:
    """Accuracy against confidence, as trained above, after scaling below; of the first seed."""
    labels = [row.label for row in comparison.rows if evidence.reliability.get(row.label)]
    labels = labels[:MOST]
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
        for down, prefix in enumerate(READINGS):
            found = evidence.reliability[label].get(prefix)
            if found is not None:
                _diagram(figure, found, colours[label], line + down, column)
        for down, reading in enumerate(READINGS.values()):
            if column == 1:
                figure.update_yaxes(title=reading, row=line + down, col=1)
    figure.update_xaxes(range=[0, 1], tickvals=[0, 0.5, 1])
    figure.update_yaxes(range=[0, 1.03], tickvals=[0, 0.5, 1])
    return styled(figure, 80 + 140 * lines)


def _diagram(figure: go.Figure, found: Reliability, colour: str, line: int, column: int) -> None:
    place = {"row": line, "col": column}
    figure.add_bar(  # where a calibrated net's accuracy would be
        x=(found.bin + 0.5) / BINS,
        base=found.null_low,
        y=np.maximum(found.null_high - found.null_low, 0.01),
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
        x=found.confidence,
        y=found.accuracy,
        error_y={
            "array": found.high - found.accuracy,
            "arrayminus": found.accuracy - found.low,
            "width": 0,
            "thickness": 1,
        },
        mode="markers",
        marker={"color": colour, "size": 5},
        customdata=found.n,
        hovertemplate="confidence %{x:.3f}<br>accuracy %{y:.3f}<br>n=%{customdata}<extra></extra>",
        showlegend=False,
        **place,
    )
