"""Pictures of one run: reliability diagram, risk-coverage curve, confusions.

The numbers are computed elsewhere. Results before and after calibration stand side by side.
"""

import textwrap
from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from xent_bench.arrays import Values
from xent_bench.metrics.calibration import BINS
from xent_bench.metrics.reliability import Confusion, Reliability
from xent_bench.shown_figure import ShownFigure

GREY, BAND = "#555555", "#cccccc"
LINES = ("-", "--", "-.", ":")
MOST_CLASSES = 20  # with more, a matrix is too large to read
POINTS = 400  # drawn of a curve
FEW = 20  # points of a curve; with fewer, each is marked
LETTER = 0.075  # inches, the width of a letter in a class's name


def reliability_diagram(
    title: str, panels: Mapping[str, Reliability | None], colour: str
) -> Figure:
    """Draw accuracy against confidence for each bin, and below it the number of examples.

    Behind the accuracies, with their intervals, is the range that a calibrated net shows. A panel
    is None if there are no probabilities.
    """
    width = 0.8 + 4.2 * len(panels)
    figure = _figure(title, width, 5.8)
    axes = figure.subplots(2, len(panels), sharey="row", squeeze=False, height_ratios=(4, 1))
    figure.subplots_adjust(0.65 / width, 0.14, 1 - 0.15 / width, 0.83, 0.08, 0.08)
    for (above, below), (name, bins) in zip(axes.T, panels.items(), strict=True):
        above.set_title(name, loc="left", fontsize=9)
        below.set_xlabel("confidence")
        if bins is None:
            above.text(0.5, 0.5, "its scores are no probabilities", ha="center", color=GREY)
        else:
            _accuracies(above, bins, colour)
            _counts(below, bins, colour)
        above.set(xlim=(0, 1), ylim=(0, 1.03), xticklabels=())
        below.set(xlim=(0, 1), ylim=(0, 130), yticks=(0, 50, 100))
    axes[0][0].set_ylabel("accuracy")
    axes[1][0].set_ylabel("%; number")
    # the last panel is after calibration, so it has probabilities and every label of the legend
    handles = axes[0][-1].get_legend_handles_labels()
    figure.legend(*handles, loc="lower center", fontsize=8, frameon=False, ncols=3)
    return figure


def _accuracies(axis: Axes, bins: Reliability, colour: str) -> None:
    edges = np.arange(BINS + 1) / BINS
    low, high = np.full((2, BINS), np.nan)
    low[bins.bin], high[bins.bin] = bins.null_low, bins.null_high
    high = np.maximum(high, low + 0.004)  # at least a line where the band has no height
    axis.stairs(high, edges, baseline=low, fill=True, color=BAND, label="95 % if calibrated")
    axis.plot((0, 1), (0, 1), "--", color=GREY, lw=0.8, label="calibrated")
    below, above = bins.accuracy - bins.low, bins.high - bins.accuracy
    interval = (below.clip(0), above.clip(0))  # rounding can leave -1e-17
    axis.errorbar(
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


def _counts(axis: Axes, bins: Reliability, colour: str) -> None:
    share = np.zeros(BINS)
    share[bins.bin] = 100 * bins.n / bins.n.sum()
    axis.stairs(share, np.arange(BINS + 1) / BINS, fill=True, color=colour)
    for place, n in zip(bins.bin, bins.n, strict=True):
        axis.text((place + 0.5) / BINS, 106, n, ha="center", fontsize=6, color=GREY)


def risk_coverage(title: str, curves: Mapping[str, Values], colour: str) -> Figure:
    """Draw the share of errors among the most certain answers against how many are taken."""
    figure = _figure(title, 6.4, 4.4)
    axis = figure.subplots()
    figure.subplots_adjust(0.11, 0.12, 0.97, 0.87)
    for (name, risks), line in zip(curves.items(), cycle(LINES), strict=False):
        n = len(risks)
        shown = np.unique(np.linspace(0, n - 1, POINTS).astype(int))
        marker = "." if n < FEW else None  # a line needs two points to be seen
        coverage = 100 * (shown + 1) / n
        axis.plot(coverage, 100 * risks[shown], line, marker=marker, color=colour, label=name)
    axis.set_xlabel("coverage: share of the answers, the most certain first (%)")
    axis.set(xlim=(0, 100), ylabel="risk: share of wrong ones among them (%)")
    axis.set_ylim(bottom=0)
    axis.grid(alpha=0.3)
    axis.legend(loc="upper left", fontsize=8, frameon=False)
    return figure


def confusions(
    title: str, matrix: np.ndarray, top: Sequence[Confusion], classes: Sequence[str]
) -> Figure:
    """Draw the whole matrix if there are few classes, else the most frequent confusions."""
    if len(classes) > MOST_CLASSES:
        return _bars(title, top, classes)
    names = [_short(name) for name in classes]
    side = 0.45 * len(classes)
    margin = 0.6 + LETTER * max(map(len, names))
    width, height = max(side + margin + 0.3, 5.0), side + margin + 0.7
    figure = _figure(title, width, height)
    axis = figure.add_axes((margin / width, margin / height, side / width, side / height))
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axis.imshow(share, cmap="Greys", vmin=0, vmax=1)
    for i, j in np.argwhere(matrix):
        colour = "white" if share[i, j] > 0.5 else "black"
        if shown := _count(matrix[i, j]):
            axis.text(j, i, shown, ha="center", va="center", fontsize=8, color=colour)
    axis.set_xticks(range(len(classes)), names, rotation=90, fontsize=8, parse_math=False)
    axis.set_yticks(range(len(classes)), names, fontsize=8, parse_math=False)
    axis.set(xlabel="answered", ylabel="true class")
    return figure


def _bars(title: str, top: Sequence[Confusion], classes: Sequence[str]) -> Figure:
    height = 1.2 + 0.26 * max(len(top), 1)
    figure = _figure(title, 7.2, height)
    axis = figure.add_axes((0.46, 0.6 / height, 0.51, 1 - 1.1 / height))
    names = [f"{_short(classes[pair.true])} → {_short(classes[pair.answer])}" for pair in top]
    axis.barh(range(len(top)), [pair.n for pair in top], color=GREY)
    axis.set_yticks(range(len(top)), names, fontsize=8, parse_math=False)
    axis.invert_yaxis()
    axis.set_xlabel("test images (true class → answer)")
    return figure


def _figure(title: str, width: float, height: float) -> Figure:
    figure = ShownFigure(figsize=(width, height), dpi=100)
    lines = textwrap.fill(title, int(12 * width))
    figure.text(0.1 / width, 1 - 0.1 / height, lines, fontsize=10, va="top", parse_math=False)
    return figure


def _count(n: float) -> str:
    """Number of images as text; a sum of soft labels with one decimal, empty if that is 0."""
    if isinstance(n, np.integer):
        return str(n)
    return f"{n:.1f}" if n >= 0.05 else ""


def _short(name: str) -> str:
    """Name of at most 20 letters: the middle is cut out, since names often differ at their ends."""
    return name if len(name) <= 20 else f"{name[:9]}…{name[-10:]}"
