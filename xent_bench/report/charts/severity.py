"""Chart of accuracy and calibration against the severity of a shift."""

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from xent_bench.comparison.under_shift import UnderShift
from xent_bench.report.charts.band import draw_band
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
                draw_band(
                    figure,
                    severities,
                    100 * row.curves[key],
                    row.label,
                    colours[row.label],
                    (1, column),
                    hover="severity %{x}: %{y:.4g}",
                    named=column == 1,  # the metric that every loss has
                )
    figure.update_xaxes(title="severity", tickvals=severities)
    styled(figure, 380)
    figure.update_layout(legend_y=1.12, margin_t=85)  # above the titles of the panels
    return figure
