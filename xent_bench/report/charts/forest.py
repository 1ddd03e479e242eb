"""Forest plot: differences to the baseline by several metrics."""

import numpy as np
import plotly.graph_objects as go

from xent_bench.comparison.compare import Comparison
from xent_bench.comparison.evidence import Evidence
from xent_bench.comparison.yardsticks import Yardstick, by_key
from xent_bench.report.charts.intervals import add_interval, add_tie
from xent_bench.report.charts.style import LIGHT, Colours, axis, in_panels, panel


def forest(comparison: Comparison, evidence: Evidence, colours: Colours) -> go.Figure | None:
    """Draw differences to the baseline with their intervals over seeds and over test images."""
    contrasts = [contrast for contrast in comparison.contrasts if not contrast.same]
    if not contrasts or comparison.baseline is None:
        return None
    compared = {contrast.label for contrast in contrasts}
    order = [row.label for row in comparison.rows if row.label in compared]
    yardsticks = by_key(comparison.options.yardsticks)
    keys = comparison.options.quoted
    titles = [_axis(yardsticks[key]) for key in keys]
    figure = go.Figure()
    for place, key in enumerate(keys):
        axes = panel(place)
        by = yardsticks[key]
        for contrast in contrasts:
            if contrast.yardstick.key != key or not np.isfinite(contrast.difference.mean):
                continue
            label = contrast.label
            over_images = evidence.image_half_width(label, comparison.baseline, key)
            images = [] if over_images is None else [(8, LIGHT, over_images)]
            for width, colour, half in [
                *images,
                (2, colours[label], contrast.difference.half_width or 0),
            ]:
                add_interval(
                    figure,
                    axes,
                    (by.scale * contrast.difference.mean, label),
                    by.scale * half,
                    colour=colours[label],
                    hover=f"{label}: %{{x:+.4g}} ± {by.scale * half:.3g}<br>{contrast.verdict}",
                    thickness=width,
                    line_colour=colour,
                )
        span = add_tie(figure, axes, len(order), by.scale * by.tie)
        figure.layout[axis(place, "x")] = {"nticks": 4, "tickangle": 0, "zeroline": False}
        figure.layout[axis(place, "y")] = {
            "type": "category",
            "categoryorder": "array",
            "categoryarray": order[::-1],
            "range": span,
        }
    return in_panels(figure, titles, 26 + 26 * len(order), least=170, is_shared=True)


def _axis(by: Yardstick) -> str:
    reading = f", {by.below}" if by.below != "%" else ""
    return f"{by.above.removesuffix(' %')}{reading}{' (points)' if by.unit else ''}"
