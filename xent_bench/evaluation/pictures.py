"""Pictures of one run: reliability diagram, risk-coverage curve, confusions.

The numbers are computed elsewhere. Results before and after calibration stand side by side.
"""

import textwrap
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import same_color
from matplotlib.container import Container
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

from xent_bench.arrays import Values
from xent_bench.evaluation.frames import Data, Frame, borders
from xent_bench.metrics.calibration import BINS
from xent_bench.metrics.reliability import Confusion, Reliability
from xent_bench.shown_figure import ShownFigure

GREY, BAND = "#555555", "#cccccc"
LINES = ("-", "--", "-.", ":")
MOST_CLASSES = 20  # with more, a matrix is too large to read
POINTS = 400  # drawn of a curve
FEW = 20  # points of a curve; with fewer, each is marked
STAND_IN = "#010203"  # of a loss's colour in the legend of a frame; nothing else has it
NO_BINS = "its scores are no probabilities"
LETTER = 0.075  # inches, the width of a letter in a class's name


def reliability_diagram(
    title: str, panels: Mapping[str, Reliability | None], colour: str
) -> Figure:
    """Draw accuracy against confidence for each bin, and below it the number of examples.

    Behind the accuracies, with their intervals, is the range that a calibrated net shows. A panel
    is None if there are no probabilities.
    """
    return reliability_frame(len(panels)).filled(title, panels, colour)


def reliability_frame(panels: int) -> Frame:
    """The frame of a reliability diagram: titles, the diagrams by their titles, and the colour."""
    width = 0.8 + 4.2 * panels
    figure, heading = _figure(width, 5.8)
    axes = figure.subplots(2, panels, sharey="row", squeeze=False, height_ratios=(4, 1))
    figure.subplots_adjust(0.65 / width, 0.14, 1 - 0.15 / width, 0.83, 0.08, 0.08)
    late: list[Artist] = [heading]
    names, diagonals = [], []
    for above, below in axes.T:
        names.append(above.set_title("", loc="left", fontsize=9))
        diagonals += above.plot((0, 1), (0, 1), "--", color=GREY, lw=0.8, label="calibrated")
        late += [names[-1], diagonals[-1], *borders(above), *borders(below)]
        below.set_xlabel("confidence")
        above.set(xlim=(0, 1), ylim=(0, 1.03), xticklabels=())
        below.set(xlim=(0, 1), ylim=(0, 130), yticks=(0, 50, 100))
    axes[0][0].set_ylabel("accuracy")
    axes[1][0].set_ylabel("%; number")
    points, intervals = _legend(figure, axes[0][-1])

    def fill(title: str, diagrams: Mapping[str, Reliability | None], colour: str) -> Data:
        heading.set_text(_wrapped(title, width))
        for point in points:
            point.set(color=colour, markeredgecolor=colour)
        for interval in intervals:
            interval.set(color=colour)
        data: list[Artist | Container] = []
        parts = zip(axes.T, diagrams.items(), names, diagonals, strict=True)
        for (above, below), (name, bins), shown, diagonal in parts:
            shown.set_text(name)
            diagonal.set_visible(bins is not None)
            if bins is None:
                data.append(above.text(0.5, 0.5, NO_BINS, ha="center", color=GREY))
            else:
                data += [*_accuracies(above, bins, colour), *_counts(below, bins, colour)]
        return data

    return Frame(figure, [*late, *intervals, *points], fill)


def _legend(figure: Figure, axis: Axes) -> tuple[list[Line2D], list[LineCollection]]:
    """Add the legend of a reliability diagram; returns its parts that have the loss's colour.

    They are the point with its caps, and its interval.
    """
    one = np.ones(1)
    example = Reliability(np.zeros(1, int), np.ones(1, int), *[one] * 6)
    data = _accuracies(axis, example, STAND_IN)
    diagonal, band, points = axis.get_legend_handles_labels()[0]
    handles = [band, diagonal, points]
    legend = figure.legend(handles=handles, loc="lower center", fontsize=8, frameon=False, ncols=3)
    for part in data:
        part.remove()
    lines = [
        line for line in legend.findobj(Line2D) if same_color(line.get_markeredgecolor(), STAND_IN)
    ]
    return lines, legend.findobj(LineCollection)


def _accuracies(axis: Axes, bins: Reliability, colour: str) -> Data:
    edges = np.arange(BINS + 1) / BINS
    low, high = np.full((2, BINS), np.nan)
    low[bins.bin], high[bins.bin] = bins.null_low, bins.null_high
    high = np.maximum(high, low + 0.004)  # at least a line where the band has no height
    band = axis.stairs(high, edges, baseline=low, fill=True, color=BAND, label="95 % if calibrated")
    below, above = bins.accuracy - bins.low, bins.high - bins.accuracy
    interval = (below.clip(0), above.clip(0))  # rounding can leave -1e-17
    points = axis.errorbar(
        bins.confidence,
        bins.accuracy,
        interval,
        fmt="o",
        ms=4,
        capsize=2,
        clip_on=False,  # a point at confidence 1 is on the frame
        color=colour,
        label="found, 95 %",
    )
    return [band, points]


def _counts(axis: Axes, bins: Reliability, colour: str) -> Data:
    share = np.zeros(BINS)
    share[bins.bin] = 100 * bins.n / bins.n.sum()
    shares = axis.stairs(share, np.arange(BINS + 1) / BINS, fill=True, color=colour)
    numbers = [
        axis.text((place + 0.5) / BINS, 106, n, ha="center", fontsize=6, color=GREY)
        for place, n in zip(bins.bin, bins.n, strict=True)
    ]
    return [shares, *numbers]


def risk_frame() -> Frame:
    """The frame of risk-coverage curves: title, the curves by their names, and the colour."""
    width = 6.4
    figure, heading = _figure(width, 4.4)
    axis = figure.subplots()
    figure.subplots_adjust(0.11, 0.12, 0.97, 0.87)
    axis.set_xlabel("coverage: share of the answers, the most certain first (%)")
    axis.set(xlim=(0, 100), ylabel="risk: share of wrong ones among them (%)")
    axis.grid(alpha=0.3)

    def fill(title: str, curves: Mapping[str, Values], colour: str) -> Data:
        heading.set_text(_wrapped(title, width))
        lines = []
        for (name, risks), line in zip(curves.items(), cycle(LINES), strict=False):
            n = len(risks)
            shown = np.unique(np.linspace(0, n - 1, POINTS).astype(int))
            marker = "." if n < FEW else None  # a line needs two points to be seen
            coverage = 100 * (shown + 1) / n
            values = 100 * risks[shown]
            lines += axis.plot(coverage, values, line, marker=marker, color=colour, label=name)
        axis.relim()  # without the lines of an earlier picture
        axis.set_autoscaley_on(True)
        axis.autoscale_view(scalex=False)
        axis.set_ylim(bottom=0)
        return [*lines, axis.legend(loc="upper left", fontsize=8, frameon=False)]

    # the scale of the risk is that of the data
    return Frame(figure, [heading, *borders(axis), axis.yaxis], fill)


def matrix_frame(classes: tuple[str, ...]) -> Frame:
    """The frame of a matrix of confusions between these classes: title and matrix."""
    names = [_short(name) for name in classes]
    side = 0.45 * len(classes)
    margin = 0.6 + LETTER * max(map(len, names))
    width, height = max(side + margin + 0.3, 5.0), side + margin + 0.7
    figure, heading = _figure(width, height)
    axis = figure.add_axes((margin / width, margin / height, side / width, side / height))
    none = np.zeros((len(classes), len(classes)))
    image = axis.imshow(none, cmap="Greys", vmin=0, vmax=1, zorder=1)
    axis.set_xticks(range(len(classes)), names, rotation=90, fontsize=8, parse_math=False)
    axis.set_yticks(range(len(classes)), names, fontsize=8, parse_math=False)
    axis.set(xlabel="answered", ylabel="true class")

    def fill(title: str, matrix: np.ndarray) -> Data:
        heading.set_text(_wrapped(title, width))
        share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
        image.set_data(share)
        numbers = []
        for i, j in np.argwhere(matrix):
            colour = "white" if share[i, j] > 0.5 else "black"
            if shown := _count(matrix[i, j]):
                centred: dict[str, Any] = {"ha": "center", "va": "center"}
                numbers.append(axis.text(j, i, shown, **centred, fontsize=8, color=colour))
        return numbers

    return Frame(figure, [heading, *borders(axis), image], fill)


def confusions_frame(number: int) -> Frame:
    """The frame of so many frequent confusions: title, confusions and names of the classes."""
    width, height = 7.2, 1.2 + 0.26 * max(number, 1)
    figure, heading = _figure(width, height)
    axis = figure.add_axes((0.46, 0.6 / height, 0.51, 1 - 1.1 / height))
    axis.set_xlabel("test images (true class → answer)")

    def fill(title: str, top: Sequence[Confusion], classes: Sequence[str]) -> Data:
        heading.set_text(_wrapped(title, width))
        names = [f"{_short(classes[pair.true])} → {_short(classes[pair.answer])}" for pair in top]
        bars = axis.barh(range(len(top)), [pair.n for pair in top], color=GREY)
        axis.set_yticks(range(len(top)), names, fontsize=8, parse_math=False)
        axis.relim()  # without the bars of an earlier picture
        axis.set_autoscale_on(True)
        axis.autoscale_view()
        axis.yaxis.set_inverted(True)
        return [bars]

    return Frame(figure, [heading, *borders(axis), axis.xaxis, axis.yaxis], fill)


def _figure(width: float, height: float) -> tuple[Figure, Text]:
    """An empty figure, and the text above it that is to hold its title."""
    figure = ShownFigure(figsize=(width, height), dpi=100)
    x, y = 0.1 / width, 1 - 0.1 / height
    return figure, figure.text(x, y, "", fontsize=10, va="top", parse_math=False)


def _wrapped(title: str, width: float) -> str:
    """The title in lines that fit into so many inches."""
    return textwrap.fill(title, int(12 * width))


def _count(n: float) -> str:
    """Number of images as text; a sum of soft labels with one decimal, empty if that is 0."""
    if isinstance(n, np.integer):
        return str(n)
    return f"{n:.1f}" if n >= 0.05 else ""


def _short(name: str) -> str:
    """Name of at most 20 letters: the middle is cut out, since names often differ at their ends."""
    return name if len(name) <= 20 else f"{name[:9]}…{name[-10:]}"
