"""Charts of tuning: sensitivity to hyper-parameters, and top-1 over the number of trials."""

import plotly.graph_objects as go

from xent_bench.comparison.best_of_k import best_of_k
from xent_bench.comparison.compare import Comparison
from xent_bench.comparison.marginals import is_drawn_key
from xent_bench.comparison.trials import Trial, number
from xent_bench.comparison.tuned_space import MANY, spans_ratio
from xent_bench.comparison.tuning import mean_cost
from xent_bench.report.bounds import within_bounds
from xent_bench.report.charts.band import fill_area
from xent_bench.report.charts.style import Colours, styled


def sensitivities(comparison: Comparison, colours: Colours) -> dict[str, go.Figure]:
    """Draw for each hyper-parameter the score on val at its values, the others at their best.

    Hyper-parameters whose values were drawn are left out: see charts/marginals.py.
    """
    keys = dict.fromkeys(key for trial in comparison.trials for key in trial.varied)
    listed = [key for key in keys if not is_drawn_key(comparison, key)]
    figures = {key: _sensitivity(comparison, key, colours) for key in listed}
    return {key: figure for key, figure in figures.items() if figure is not None}


def _sensitivity(comparison: Comparison, key: str, colours: Colours) -> go.Figure | None:
    metric, figure = comparison.options.choose_by, go.Figure()
    for row in comparison.rows:
        best: dict[float, Trial] = {}
        for trial in comparison.trials:
            value = number(trial.varied.get(key))
            if trial.loss != row.trial.loss or value is None or trial.score is None:
                continue
            if value not in best or _cost(trial, metric) < _cost(best[value], metric):
                best[value] = trial
        if len(best) < 2:
            continue
        values = sorted(best)
        scores = [best[value].score for value in values]
        figure.add_scatter(
            x=values,
            y=[score.mean for score in scores if score],
            error_y={
                "array": [within_bounds(score, metric).up for score in scores if score],
                "arrayminus": [within_bounds(score, metric).down for score in scores if score],
                "width": 3,
            },
            name=row.trial.loss,
            mode="lines+markers",
            line={"color": colours[row.label], "width": 2},
            hovertemplate=f"{row.trial.loss}<br>%{{x}}: %{{y:.4f}}<extra></extra>",
        )
    if not figure.data:
        return None
    every = [value for line in figure.data for value in line.x]
    is_log = spans_ratio(every)
    figure.update_xaxes(title=key, type="log" if is_log else "linear")
    if is_log:
        figure.update_xaxes(tickvals=sorted(set(every)))
    figure.update_yaxes(title=f"{metric}, ± 95 %")
    return styled(figure, 360)


def _cost(trial: Trial, metric: str) -> float:
    return mean_cost(trial, trial.seeds, metric)


def best_of_k_chart(comparison: Comparison, colours: Colours) -> go.Figure | None:
    """Draw each loss's top-1 on test if it had only k of its trials: the mean, and a band."""
    figure = go.Figure()
    for row in comparison.rows:
        reached = best_of_k(comparison, row)
        if reached is None:
            continue
        x = list(range(1, len(reached.expected) + 1))
        bounds = [*reached.high, *reached.low[::-1]]
        fill_area(figure, [*x, *x[::-1]], bounds, colours[row.label], legendgroup=row.label)
        figure.add_scatter(
            x=x,
            y=reached.expected,
            name=row.label,
            mode="lines+markers",
            line={"color": colours[row.label], "width": 2},
            legendgroup=row.label,
            hovertemplate=f"{row.label}<br>best of %{{x}}: %{{y:.2f}} %<extra></extra>",
        )
    ticks = {"dtick": 1} if all(len(line.x) <= 2 * MANY for line in figure.data) else {}
    figure.update_xaxes(title="k: trials of each loss, drawn at random", **ticks)
    figure.update_yaxes(title="expected top-1 on test (%)")
    return styled(figure, 360) if figure.data else None
