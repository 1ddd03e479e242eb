"""An adaptive search: after a few points of the even one, Optuna proposes points for one loss.

The sampler is the tree-structured Parzen estimator (Bergstra et al., 2011, NeurIPS 24), as Optuna
implements it. Losses then have equal numbers of trials, and each has its own points.
"""

from collections.abc import Sequence
from hashlib import sha256
from importlib.util import find_spec
from typing import Any

from xent_bench.config.configure import ConfigError
from xent_bench.designs.dimensions import Dimension, Interval, Point, Space
from xent_bench.designs.sobol import sobol_points

FIRST = 8  # trials at points of the even search: with fewer there is little to learn from
# Trials that are proposed at a time, from the scores of all before them. It does not follow the
# machine's number of jobs: another number leads to other points, so a sweep would differ elsewhere.
BATCH = 4
ATTEMPTS = 50  # to propose a point that is new


def check_installed() -> None:
    """ConfigError that names the extra where Optuna is not installed."""
    if find_spec("optuna") is None:
        raise ConfigError("sampler", "tpe needs pip install 'xent-bench[optuna]'")


def batch_after(number: int, trials: int) -> int:
    """The number of trials to begin after `number` of them, of `trials` in all."""
    return min(BATCH if number else FIRST, trials - number)


def next_points(
    space: Space,
    trials: Sequence[Sequence[str]],
    scores: Sequence[float | None],
    number: int,
    seed: int,
    larger_is_better: bool,
) -> list[Point]:
    """Propose `number` new points for a loss, from the scores of its earlier trials, in order.

    `trials` are the words of each earlier trial, among which are those of its point. A score is
    None where the trial failed, for instance diverged: it counts as worse than any score. Pure: the
    same arguments give the same points. Fewer are returned where the space has no further ones.
    """
    if len(trials) < FIRST:
        first = sobol_points(space, min(len(trials) + number, FIRST), seed)
        return first[len(trials) :]
    return _new_points(_Proposals(space, trials, scores, seed, larger_is_better), number)


class _Proposals:
    """Optuna's study of the earlier trials of a loss, which proposes one point after another."""

    def __init__(
        self,
        space: Space,
        trials: Sequence[Sequence[str]],
        scores: Sequence[float | None],
        seed: int,
        larger_is_better: bool,
    ) -> None:
        """Tell Optuna of each trial and its score."""
        import optuna  # an extra

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.space, self.seed = space, seed
        self.tried = {tuple(_word(trial, d) for d in space.dimensions) for trial in trials}
        self.distributions = {d.key: _distribution(d) for d in space.dimensions}
        text = f"{seed} {space.loss} {len(trials)}"  # else equal losses have equal proposals
        self.study = optuna.create_study(
            direction="maximize" if larger_is_better else "minimize",
            sampler=optuna.samplers.TPESampler(
                n_startup_trials=1, seed=int(sha256(text.encode()).hexdigest()[:8], 16)
            ),
        )
        for trial, score in zip(trials, scores, strict=True):
            # a trial that was pruned without a value is the worst to this sampler
            state = optuna.trial.TrialState.PRUNED if score is None else None
            values = {d.key: _value(d, _word(trial, d)) for d in space.dimensions}
            self.study.add_trial(
                optuna.trial.create_trial(
                    state=state or optuna.trial.TrialState.COMPLETE,
                    value=score,
                    params=values,
                    distributions=self.distributions,
                )
            )

    def next(self) -> Point:
        """Propose one more point.

        Optuna keeps it apart from the points that it proposed before and that have no score yet.
        """
        params: dict[str, Any] = self.study.ask(self.distributions).params
        return tuple(
            f"{d.key}={d.text(params[d.key]) if isinstance(d, Interval) else params[d.key]}"
            for d in self.space.dimensions
        )


def _new_points(proposals: _Proposals, number: int) -> list[Point]:
    """Points that were not tried yet: proposed ones, and even ones where those repeat."""
    points: list[Point] = []
    for _ in range(ATTEMPTS * number):
        if len(points) == number:
            return points
        point = proposals.next()
        if point not in proposals.tried:
            proposals.tried.add(point)
            points.append(point)
    space, wanted = proposals.space, len(proposals.tried) + number - len(points)
    even = sobol_points(space, int(min(wanted, space.size)), proposals.seed)
    others = [point for point in even if point not in proposals.tried]
    return [*points, *others[: number - len(points)]]


def _word(trial: Sequence[str], dimension: Dimension) -> str:
    return next(word for word in trial if word.startswith(f"{dimension.key}="))


def _value(dimension: Dimension, word: str) -> Any:
    text = word.partition("=")[2]
    if not isinstance(dimension, Interval):
        return text
    return int(text) if dimension.whole else float(text)


def _distribution(dimension: Dimension) -> Any:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if not isinstance(dimension, Interval):
        return CategoricalDistribution(dimension.values)
    if dimension.whole:
        return IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log)
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log)
