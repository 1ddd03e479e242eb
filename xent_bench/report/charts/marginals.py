"""Charts of drawn hyper-parameters: scores on val against each, one panel a hyper-parameter."""

import plotly.graph_objects as go

from xent_bench.comparison.compare import Comparison
from xent_bench.comparison.marginals import Marginal, marginals
from xent_bench.comparison.spent import State
from xent_bench.report.bounds import bounds
from xent_bench.report.charts.band import fill_area
from xent_bench.report.charts.style import Colours, styled

SYMBOLS = {State.FINISHED: "circle", State.PAUSED: "circle-open"}


def marginal_charts(comparison: Comparison, colours: Colours) -> dict[str, go.Figure]:
    """Draw for each drawn hyper-parameter the trials of all losses, with a curve and a band."""
    return {
        key: _chart(key, drawn, comparison, colours) for key, drawn in marginals(comparison).items()
    }


def _chart(key: str, drawn: list[Marginal], comparison: Comparison, colours: Colours) -> go.Figure:
    figure = go.Figure()
    chosen = {id(row.trial) for row in comparison.rows}
    for marginal in drawn:
        _add(figure, marginal, colours[marginal.loss], chosen, bounds(comparison.options.choose_by))
    is_log = all(marginal.axis.is_log for marginal in drawn)
    figure.update_xaxes(title=key, type="log" if is_log else "linear", exponentformat="power")
    figure.update_yaxes(title=comparison.options.choose_by)
    return styled(figure, 360)


def _add(
    figure: go.Figure,
    marginal: Marginal,
    colour: str,
    chosen: set[int],
    possible: tuple[float, float],
) -> None:
    """Draw the trials of one loss, the chosen one larger, and the curve through them.

    The band around the curve ends at the `possible` values, the smallest and the largest.
    """
    group = {"legendgroup": marginal.loss}
    if marginal.values:
        deviations = list(zip(marginal.means, marginal.deviations, strict=True))
        around = [*marginal.values, *marginal.values[::-1]]
        low, high = possible
        edges = [min(high, mean + far) for mean, far in deviations]
        edges += [max(low, mean - far) for mean, far in deviations[::-1]]
        fill_area(figure, around, edges, colour, **group)
        figure.add_scatter(
            x=marginal.values,
            y=marginal.means,
            mode="lines",
            line={"color": colour, "width": 2},
            hoverinfo="skip",
            showlegend=False,
            **group,
        )
    figure.add_scatter(
        x=[point.value for point in marginal.points],
        y=[point.score for point in marginal.points],
        name=marginal.loss,
        mode="markers",
        marker={
            "color": colour,
            "symbol": [SYMBOLS[point.state] for point in marginal.points],
            "size": [12 if id(point.trial) in chosen else 6 for point in marginal.points],
        },
        customdata=[f"{point.trial.label} {_paused(point.state)}" for point in marginal.points],
        hovertemplate="%{customdata}<br>%{y:.4f}<extra></extra>",
        **group,
    )


def _paused(state: State) -> str:
    return "(paused)" if state is State.PAUSED else ""
