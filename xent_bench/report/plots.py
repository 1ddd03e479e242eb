"""Picture of comparisons, by Matplotlib. This module computes no statistics.

No state of pyplot is used, so that a notebook's backend and figures are left alone.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from xent_bench.comparison.compare import Comparison
from xent_bench.comparison.marginals import marginals
from xent_bench.comparison.row import Row
from xent_bench.palette import colours_of
from xent_bench.report.charts.critical_difference import draw_ranks
from xent_bench.report.charts.critical_difference import height as ranks_height
from xent_bench.report.plot_marginals import draw_marginals
from xent_bench.report.task_tables import over_title, task_parts
from xent_bench.runs.mixtures import origin_line
from xent_bench.shown_figure import ShownFigure

PANELS = (  # title, metric, factor from the metric to the number drawn
    ("top-1 error (%)", "top1", 100),
    ("NLL (nats)", "nll", 1),
    ("top-label ECE (%)", "ece", 100),
)
DPI = 110
MARGINALS_HEIGHT = 2.8  # inches of a row of panels with hyper-parameters


def draw(comparisons: Sequence[Comparison], file: Path, *, over_tasks: bool = False) -> None:
    """Write the picture of the comparisons to a png, svg or pdf."""
    picture(comparisons, over_tasks=over_tasks).savefig(file, dpi=DPI)


def picture(comparisons: Sequence[Comparison], *, over_tasks: bool = False) -> Figure:
    """Draw a row of panels for each comparison, losses one below another; smaller is better.

    Below it are the scores on val against each hyper-parameter that a search has drawn, and, with
    `over_tasks`, the mean ranks over all comparisons.
    """
    searched = [marginals(comparison) for comparison in comparisons]
    heights = []
    for comparison, by_key in zip(comparisons, searched, strict=True):
        heights += [1.4 + 0.32 * len(comparison.rows), *[MARGINALS_HEIGHT] * _lines(by_key)]
    over = task_parts(comparisons).over if over_tasks else None
    inches = [sum(heights), *([ranks_height(over)] if over else [])]
    figure = ShownFigure(figsize=(10, sum(inches)), layout="constrained")
    upper: Figure | SubFigure = figure
    if over:
        upper, lower = figure.subfigures(2, 1, height_ratios=inches, squeeze=False)[:, 0]
        draw_ranks(lower.subplots(), over, colours_of(over.losses))
        lower.suptitle(f"{over_title(over)}; bars: not shown to differ", x=0.01, ha="left")
    axes = upper.subplots(
        len(heights),
        len(PANELS),
        sharey="row",
        squeeze=False,
        height_ratios=heights if any(searched) else None,
    )
    lines = iter(axes)
    for comparison, by_key in zip(comparisons, searched, strict=True):
        _draw_scores(next(lines), comparison)
        below = [axis for _ in range(_lines(by_key)) for axis in next(lines)]
        draw_marginals(below, by_key, comparison)
    handles, labels = axes[0][1].get_legend_handles_labels()
    upper.legend(handles, labels, loc="outside upper right", ncols=2, frameon=False)
    of_runs = [comparison for comparison in comparisons if comparison.noun == "loss"]
    origins = " ".join(dict.fromkeys(origin_line(comparison.runs) for comparison in of_runs))
    figure.supxlabel(origins, fontsize=7, x=0.01, ha="left")
    return figure


def _draw_scores(axes: Sequence[Axes], comparison: Comparison) -> None:
    """Draw the row of panels with the scores of a comparison, one panel for each metric."""
    for axis, (title, metric, factor) in zip(axes, PANELS, strict=True):
        _panel(axis, comparison.rows, metric, factor)
        axis.set_xlabel(title)
    n = sorted({row.n for row in comparison.rows})
    axes[0].set_title(
        f"{comparison.experiment}: {comparison.setting}; "
        f"n = {' or '.join(map(str, n))} seeds, 95 % intervals",
        loc="left",
    )


def _lines(by_key: Mapping[str, object]) -> int:
    """Number of rows of panels that have room for so many hyper-parameters."""
    return math.ceil(len(by_key) / len(PANELS))


def _panel(axis: Axes, rows: Sequence[Row], metric: str, factor: float) -> None:
    """Draw one metric: a filled dot as trained, a hollow diamond after temperature scaling."""
    readings = [("test", "as trained", "#1f5a96", True)]
    if metric != "top1":  # scaling does not change it
        readings.append(("test_ts", "after temperature scaling", "#c4581b", False))
    for offset, (prefix, label, colour, filled) in zip((0.12, -0.12), readings, strict=False):
        first = True  # only the first dot of a reading gets an entry in the legend
        for place, row in enumerate(reversed(rows)):
            estimate = row.estimates.get(f"{prefix}/{metric}")
            if estimate is None or not math.isfinite(estimate.mean):
                continue
            mean = 1 - estimate.mean if metric == "top1" else estimate.mean
            axis.errorbar(
                factor * mean,
                place + offset,
                xerr=factor * (estimate.half_width or 0),
                fmt="o" if filled else "D",
                color=colour,
                markerfacecolor=colour if filled else "white",
                capsize=3,
                label=label if first else None,
            )
            first = False
    axis.set_yticks(range(len(rows)), [row.label for row in reversed(rows)])
    axis.set_ylim(-0.6, len(rows) - 0.4)
    axis.set_xlim(left=0)
    axis.locator_params(axis="x", nbins=4)
    axis.grid(axis="x", alpha=0.3)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
