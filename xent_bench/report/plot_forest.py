"""Forest plot by Matplotlib: differences to the baseline with their intervals and verdicts."""

from collections.abc import Sequence
from math import isfinite

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from xent_bench.comparison.compare import Comparison
from xent_bench.comparison.contrasts import Contrast
from xent_bench.comparison.evidence import Evidence
from xent_bench.comparison.yardsticks import Yardstick, by_key
from xent_bench.palette import colours_of
from xent_bench.shown_figure import ShownFigure

GREY, LIGHT = "#666666", "#dddddd"
MARKERS = {"better": "^", "worse": "v"}  # beside the colour, for who cannot tell colours apart


def forest_figure(comparison: Comparison, evidence: Evidence) -> Figure:
    """Draw a panel for each metric that the conclusion quotes, and a line for each loss.

    Thin line: 95 % interval over seeds; broad grey line: over test images, for these nets; shaded:
    a tie. ValueError if there is nothing to compare with a baseline.
    """
    contrasts = [contrast for contrast in comparison.contrasts if not contrast.same]
    if not contrasts:
        raise ValueError(
            f"no difference to draw: there is no baseline, or one {comparison.noun} alone"
        )
    compared = {contrast.label for contrast in contrasts}
    order = [row.label for row in comparison.rows if row.label in compared]
    shown = {contrast.yardstick.key for contrast in contrasts}
    yardsticks = by_key(comparison.options.yardsticks)
    keys = [key for key in comparison.options.quoted if key in shown]
    figure = ShownFigure(
        figsize=(1.5 + 2.4 * len(keys), 1.2 + 0.34 * len(order)), layout="constrained"
    )
    panels = figure.subplots(1, len(keys), sharey=True, squeeze=False)[0]
    for axis, key in zip(panels, keys, strict=True):
        drawn = [contrast for contrast in contrasts if contrast.yardstick.key == key]
        _panel(axis, drawn, order, evidence, str(comparison.baseline))
        _frame(axis, yardsticks[key])
    panels[0].set_yticks(range(len(order)), order[::-1])
    panels[0].set_ylim(-0.6, len(order) - 0.4)
    figure.suptitle(
        f"Difference to {comparison.baseline}, {comparison.setting}", x=0.01, ha="left", fontsize=10
    )
    return figure


def _panel(
    axis: Axes,
    contrasts: Sequence[Contrast],
    order: Sequence[str],
    evidence: Evidence,
    baseline: str,
) -> None:
    colours = colours_of([*order, baseline])
    for contrast in contrasts:
        delta, by = contrast.difference, contrast.yardstick
        if not isfinite(delta.mean):
            continue
        place = len(order) - 1 - order.index(contrast.label)
        mean = by.scale * delta.mean
        over_images = evidence.image_half_width(contrast.label, baseline, by.key)
        if over_images is not None:
            half = by.scale * over_images
            axis.plot([mean - half, mean + half], [place, place], lw=7, color=LIGHT, zorder=1)
        axis.errorbar(
            mean,
            place,
            xerr=by.scale * (delta.half_width or 0),
            fmt=MARKERS.get(contrast.verdict, "o"),
            color=colours[contrast.label],
            zorder=2,
        )


def _frame(axis: Axes, by: Yardstick) -> None:
    """Mark no difference and the margin of a tie, and name the metric."""
    margin = by.scale * by.tie
    axis.axvspan(-margin, margin, color="#f2f2f2", zorder=0)
    axis.axvline(0, color=GREY, lw=0.8, zorder=0)
    axis.set_xlabel(f"{by.name}{f' ({by.unit.strip()})' if by.unit else ''}", fontsize=8)
    axis.locator_params(axis="x", nbins=4)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
