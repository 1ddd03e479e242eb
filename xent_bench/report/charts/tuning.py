"""Charts of tuning: sensitivity to hyper-parameters, and top-1 over the number of trials."""

from collections.abc import Sequence
from statistics import fmean

import plotly.graph_objects as go

from xent_bench.comparison.compare import Comparison
from xent_bench.comparison.stats import best_of
from xent_bench.comparison.trials import Trial, number
from xent_bench.comparison.tuning import mean_cost
from xent_bench.report.charts.style import Colours, styled

REPORTED = "test/top1"


def sensitivities(comparison: Comparison, colours: Colours) -> dict[str, go.Figure]:
    """Draw for each hyper-parameter the score on val at its values, the others at their best."""
    keys = dict.fromkeys(key for trial in comparison.trials for key in trial.varied)
    figures = {key: _sensitivity(comparison, key, colours) for key in keys}
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
            error_y={"array": [score.half_width or 0 for score in scores if score], "width": 3},
            name=row.trial.loss,
            mode="lines+markers",
            line={"color": colours[row.label], "width": 2},
            hovertemplate=f"{row.trial.loss}<br>%{{x}}: %{{y:.4f}}<extra></extra>",
        )
    if not figure.data:
        return None
    every = [value for line in figure.data for value in line.x]
    is_log = min(every) > 0 and max(every) / min(every) > 5
    figure.update_xaxes(title=key, type="log" if is_log else "linear")
    if is_log:
        figure.update_xaxes(tickvals=sorted(set(every)))
    figure.update_yaxes(title=f"{metric}, ± 95 %")
    return styled(figure, 360)


def _cost(trial: Trial, metric: str) -> float:
    return mean_cost(trial, trial.seeds, metric)


def best_of_k(comparison: Comparison, colours: Colours) -> go.Figure | None:
    """Draw each loss's expected top-1 on test if it had only k of its trials, chosen by val.

    For each seed the other seeds choose, as in the table, because a run that is lucky on val is
    lucky on test.
    """
    figure = go.Figure()
    for row in comparison.rows:
        expected = _expected(row.choice.candidates, comparison.options.choose_by)
        if not expected:
            continue
        figure.add_scatter(
            x=list(range(1, len(expected) + 1)),
            y=expected,
            name=row.label,
            mode="lines+markers",
            line={"color": colours[row.label], "width": 2},
            hovertemplate=f"{row.label}<br>best of %{{x}}: %{{y:.2f}} %<extra></extra>",
        )
    figure.update_xaxes(title="k: trials of each loss, drawn at random", dtick=1)
    figure.update_yaxes(title="expected top-1 on test (%)")
    return styled(figure, 360) if figure.data else None


def _expected(trials: Sequence[Trial], choose_by: str) -> list[float]:
    """Expected top-1 in per cent of the best of 1, 2, ... trials.

    Empty for fewer than two trials or fewer than two shared seeds.
    """
    if len(trials) < 2:
        return []
    seeds = sorted(set.intersection(*(trial.seeds for trial in trials)))
    if len(seeds) < 2:
        return []
    chosen_by = {
        seed: [mean_cost(trial, {*seeds} - {seed}, choose_by) for trial in trials] for seed in seeds
    }
    scores = {seed: [100 * _score(trial, seed) for trial in trials] for seed in seeds}
    return [
        fmean(best_of(k, chosen_by[seed], scores[seed]) for seed in seeds)
        for k in range(1, len(trials) + 1)
    ]


def _score(trial: Trial, seed: int) -> float:
    """Top-1 on test of the trial's run with this seed."""
    return next(run.metrics[REPORTED] for run in trial.runs if int(run.params["seed"]) == seed)
