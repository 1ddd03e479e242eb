"""Chart of accuracy and calibration against the severity of a shift."""

import numpy as np
import plotly.graph_objects as go

from xent_bench.comparison.under_shift import UnderShift
from xent_bench.report.charts.band import draw_band
from xent_bench.report.charts.style import Colours, axis, in_panels

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
    figure = go.Figure()
    severities = np.array([0, *shift.severities])
    for row in shift.rows:
        for place, key in enumerate(PANELS):
            if key in row.curves:
                draw_band(
                    figure,
                    severities,
                    100 * row.curves[key],
                    row.label,
                    colours[row.label],
                    place,
                    hover="severity %{x}: %{y:.4g}",
                    named=place == 0,  # the metric that every loss has
                )
    for place in range(len(PANELS)):
        figure.layout[axis(place, "x")] = {
            "title": {"text": "severity"},
            "tickvals": severities.tolist(),
        }
    return in_panels(figure, PANELS.values(), 280, least=240)
