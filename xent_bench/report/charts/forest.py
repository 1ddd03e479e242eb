"""Forest plot: differences to the baseline by several metrics."""

from typing import Any

import numpy as np
import plotly.graph_objects as go

from xent_bench.comparison.compare import Comparison
from xent_bench.comparison.evidence import Evidence
from xent_bench.comparison.yardsticks import Yardstick, by_key
from xent_bench.report.charts.style import GREY, LIGHT, Colours, axis, in_panels, panel


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
                    **axes,
                )
        margin = by.scale * by.tie
        span: dict[str, Any] = {
            "xref": axes["xaxis"],
            "yref": f"{axes['yaxis']} domain",
            "layer": "below",
        }
        span |= {"type": "rect", "y0": 0, "y1": 1}
        figure.add_shape(x0=-margin, x1=margin, fillcolor=LIGHT, line_width=0, **span)
        figure.add_shape(x0=0, x1=0, line={"color": GREY, "width": 1}, **span)
        figure.layout[axis(place, "x")] = {"nticks": 4, "tickangle": 0, "zeroline": False}
        figure.layout[axis(place, "y")] = {
            "type": "category",
            "categoryorder": "array",
            "categoryarray": order[::-1],
            "range": [-0.6, len(order) - 0.4],
        }
    return in_panels(figure, titles, 26 + 26 * len(order), least=170, is_shared=True)


def _axis(by: Yardstick) -> str:
    reading = f", {by.below}" if by.below != "%" else ""
    return f"{by.above.removesuffix(' %')}{reading}{' (points)' if by.unit else ''}"
