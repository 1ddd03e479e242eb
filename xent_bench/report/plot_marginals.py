"""Panels of a picture with scores on val against the hyper-parameters that a search has drawn."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import LogFormatterMathtext, LogLocator, NullFormatter

from xent_bench.comparison.compare import Comparison
from xent_bench.comparison.marginals import Marginal
from xent_bench.comparison.spent import State
from xent_bench.palette import colours_of


def draw_marginals(
    axes: Sequence[Axes], by_key: Mapping[str, Sequence[Marginal]], comparison: Comparison
) -> None:
    """Draw a panel for each hyper-parameter, and hide the panels that are left over."""
    colours = colours_of(row.label for row in comparison.rows)
    chosen = {id(row.trial) for row in comparison.rows}
    for axis, (key, drawn) in zip(axes, by_key.items(), strict=False):
        for marginal in drawn:
            _draw(axis, marginal, colours[marginal.loss], chosen)
        if all(marginal.axis.is_log for marginal in drawn):
            axis.set_xscale("log")
            axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
            axis.xaxis.set_major_formatter(LogFormatterMathtext(labelOnlyBase=False))
            axis.xaxis.set_minor_formatter(NullFormatter())  # labels would overlap
        axis.set_xlabel(key)
        axis.grid(alpha=0.3)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    if by_key:
        axes[0].set_ylabel(comparison.options.choose_by)
        axes[0].legend(frameon=False, fontsize=8, title="large: chosen", title_fontsize=8)
    for axis in axes[len(by_key) :]:
        axis.set_visible(False)


def _draw(axis: Axes, marginal: Marginal, colour: str, chosen: set[int]) -> None:
    """Draw the trials of one loss, paused ones hollow, and the curve with its band."""
    axis.scatter(
        [point.value for point in marginal.points],
        [point.score for point in marginal.points],
        s=[70 if id(point.trial) in chosen else 14 for point in marginal.points],
        facecolors=["none" if point.state is State.PAUSED else colour for point in marginal.points],
        edgecolors=colour,
    )
    axis.plot([], [], "o", color=colour, label=marginal.loss)  # for the legend
    if marginal.values:
        bounds = list(zip(marginal.means, marginal.deviations, strict=True))
        axis.plot(marginal.values, marginal.means, color=colour)
        axis.fill_between(
            marginal.values,
            [mean - far for mean, far in bounds],
            [mean + far for mean, far in bounds],
            color=colour,
            alpha=0.15,
            linewidth=0,
        )
