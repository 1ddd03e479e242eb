"""Forest plot: differences to the baseline by several metrics."""

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from xent_bench.comparison.compare import Comparison
from xent_bench.comparison.evidence import Evidence
from xent_bench.comparison.yardsticks import Yardstick, by_key
from xent_bench.report.charts.style import GREY, LIGHT, Colours, styled


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
    figure = make_subplots(1, len(keys), shared_yaxes=True, subplot_titles=titles)
    for column, key in enumerate(keys, 1):
        by = yardsticks[key]
        for contrast in contrasts:
            if contrast.yardstick.key != key or not np.isfinite(contrast.difference.mean):
                continue
            label = contrast.label
            error = evidence.image_error(label, comparison.baseline, key)
            images = [] if error is None else [(8, LIGHT, 1.96 * error)]
            for width, colour, half in [
                *images,
                (2, colours[label], contrast.difference.half_width or 0),
            ]:
                figure.add_scatter(
                    x=[by.scale * contrast.difference.mean],
                    y=[label],
                    error_x={
                        "array": [by.scale * half],
                        "thickness": width,
                        "width": 0,
                        "color": colour,
                    },
                    marker={"size": 8, "color": colours[label]},
                    mode="markers",
                    showlegend=False,
                    hovertemplate=f"{label}: %{{x:+.4g}} ± {by.scale * half:.3g}"
                    f"<br>{contrast.verdict}<extra></extra>",
                    row=1,
                    col=column,
                )
        margin, place = by.scale * by.tie, {"row": 1, "col": column, "layer": "below"}
        figure.add_vrect(-margin, margin, fillcolor=LIGHT, line_width=0, **place)
        figure.add_vline(0, line_color=GREY, line_width=1, **place)
    figure.update_xaxes(nticks=4, tickangle=0)
    figure.update_annotations(font_size=12)
    figure.update_yaxes(categoryorder="array", categoryarray=order[::-1])
    styled(figure, 110 + 26 * len(order))
    figure.update_layout(margin_l=20 + 7 * max(map(len, order)))
    return figure


def _axis(by: Yardstick) -> str:
    reading = f", {by.below}" if by.below != "%" else ""
    return f"{by.above.removesuffix(' %')}{reading}{' (points)' if by.unit else ''}"
