"""Picture of mean ranks over tasks, after Demsar (2006), with bars from pairwise tests.

His bars span a critical difference of mean ranks (Nemenyi), which depends on losses that a pair has
nothing to do with (Benavoli et al., 2016, JMLR 17(5)). Here a bar is a group within which no pair
is shown to differ by Wilcoxon's test, and a dot on it is a member. One drawing, by Matplotlib, is
for the page and for the file of --picture.
"""

import io
from itertools import pairwise

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from xent_bench.comparison.over_tasks import OverTasks
from xent_bench.report.charts.style import GREY, Colours

BAR, LABEL = 0.28, 0.42  # heights of the row of a bar, and of a label
INCHES = 0.62  # of a unit of height
WIDTH = 7.2  # inches
MOST_TICKS = 12


def height(over: OverTasks) -> float:
    """Height of the picture in inches."""
    return INCHES * (_depth(over) + 1.2)


def draw_ranks(axis: Axes, over: OverTasks, colours: Colours) -> None:
    """Draw mean ranks on a scale, the best on the left, with labels and bars below it."""
    last = len(over.losses)
    axis.set_axis_off()
    # room for labels on both sides, by the length of the longest
    room = 0.02 * (last - 1) * (3 + max(map(len, over.losses)))
    axis.set_xlim(1 - room, last + room)
    axis.set_ylim(-_depth(over), 1.2)
    _scale(axis, last)
    for row, group in enumerate(over.groups, 1):
        ranks = [over.mean_ranks[label] for label in group]
        at = [-BAR * row] * len(ranks)
        axis.plot(ranks, at, color=GREY, linewidth=3.5, alpha=0.55, solid_capstyle="round")
        axis.plot(ranks, at, "o", color="#222222", markersize=4)
    half = (last + 1) // 2
    left, right = over.losses[:half], over.losses[half:][::-1]
    for labels, side, align, edge in (
        (left, -1, "right", 1 - 0.01 * last),
        (right, 1, "left", last + 0.01 * last),
    ):
        for place, label in enumerate(labels):
            rank = over.mean_ranks[label]
            down = -_bars(over) - LABEL * (place + 0.7)
            axis.plot([rank, rank, edge], [0, down, down], color=colours[label], linewidth=1.3)
            axis.plot([rank], [0], "o", color=colours[label], markersize=5, zorder=3)
            text = f"{label} {rank:.2f} " if side < 0 else f" {rank:.2f} {label}"
            axis.text(edge, down, text, ha=align, va="center", fontsize=9)


def ranks_svg(over: OverTasks, colours: Colours) -> str:
    """The picture as an SVG element for a page; the same text for the same ranks."""
    figure = Figure(figsize=(WIDTH, height(over)), layout="constrained")
    draw_ranks(figure.subplots(), over, colours)
    file = io.StringIO()
    with rc_context({"svg.hashsalt": "xent_bench", "svg.fonttype": "path"}):
        figure.savefig(file, format="svg", metadata={"Date": None}, transparent=True)
    text = file.getvalue()
    return text[text.index("<svg") :]  # without the XML declaration, which a page has no place for


def _scale(axis: Axes, last: int) -> None:
    """Draw the scale of ranks from 1 to the number of losses."""
    axis.plot([1, last], [0, 0], color="#222222", linewidth=1)
    step = -(-(last - 1) // MOST_TICKS)
    ticks = [*range(1, last, step), last]
    if len(ticks) > 2 and ticks[-1] - ticks[-2] < step:
        ticks.pop(-2)
    for tick in ticks:
        axis.plot([tick, tick], [0, 0.15], color="#222222", linewidth=1)
        axis.text(tick, 0.22, str(tick), ha="center", va="bottom", fontsize=9)
    for one, other in pairwise(ticks):
        middle = (one + other) / 2
        axis.plot([middle, middle], [0, 0.08], color="#222222", linewidth=0.7)
    axis.text((1 + last) / 2, 0.85, "mean rank (1 is the best)", ha="center", fontsize=9)


def _bars(over: OverTasks) -> float:
    """Height that the bars take."""
    return BAR * (len(over.groups) + 0.5)


def _depth(over: OverTasks) -> float:
    """Height of bars and labels below the scale."""
    return _bars(over) + LABEL * ((len(over.losses) + 1) // 2 + 0.6)
