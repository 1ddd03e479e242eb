"""Chart of accuracy and calibration against the severity of a shift."""

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from xent_bench.arrays import Values
from xent_bench.comparison.under_shift import UnderShift
from xent_bench.palette import faint
from xent_bench.report.charts.style import Colours, styled

PANELS = {
    "shift/top1": "top-1 (%)",
    "shift/ece": "ECE, as trained (%)",
    "shift_ts/ece": "ECE, after scaling (%)",
}


def severity_chart(shift: UnderShift | None, colours: Colours) -> go.Figure | None:
    """Draw each loss's mean over corruptions at each severity, in a band of all seeds.

    Severity 0 is test as it is. None where no loss was scored under shift.
    """
    if shift is None:
        return None
    figure = make_subplots(1, 3, subplot_titles=list(PANELS.values()), horizontal_spacing=0.08)
    severities = np.array([0, *shift.severities])
    for row in shift.rows:
        for column, key in enumerate(PANELS, 1):
            if key in row.curves:
                _band(figure, severities, 100 * row.curves[key], row.label, colours, column)
    figure.update_xaxes(title="severity", tickvals=severities)
    styled(figure, 380)
    figure.update_layout(legend_y=1.12, margin_t=85)  # above the titles of the panels
    return figure


def _band(
    figure: go.Figure,
    severities: np.ndarray,
    values: Values,
    label: str,
    colours: Colours,
    column: int,
) -> None:
    """Draw one loss's curves, `values` of shape (seeds, severities): their mean and their range."""
    figure.add_scatter(
        x=np.concatenate([severities, severities[::-1]]),
        y=np.concatenate([values.max(axis=0), values.min(axis=0)[::-1]]),
        mode="lines",  # plotly marks the points of a short band
        fill="toself",
        fillcolor=faint(colours[label]),
        line={"width": 0},
        legendgroup=label,
        hoverinfo="skip",
        showlegend=False,
        row=1,
        col=column,
    )
    figure.add_scatter(
        x=severities,
        y=values.mean(axis=0),
        name=label,
        mode="lines+markers",
        marker={"size": 4},
        line={"color": colours[label], "width": 2},
        legendgroup=label,
        showlegend=column == 1,  # the metric that every loss has
        hovertemplate=f"{label}<br>severity %{{x}}: %{{y:.4g}}<extra></extra>",
        row=1,
        col=column,
    )
