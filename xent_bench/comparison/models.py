"""Comparison of anybody's classifiers by their predictions, as losses are compared by their runs.

A model takes the place of a loss. Its nets, one for each seed, are evaluated as a run's net is, and
then all tests, corrections, verdicts and words are those of `compare`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from xent_bench.comparison.compare import Comparison, Options, compare
from xent_bench.comparison.evidence import Evidence, add_examples
from xent_bench.evaluation.as_trained import evaluate_as_trained
from xent_bench.evaluation.evaluate import Evaluation, evaluate
from xent_bench.failures import DataError
from xent_bench.runs.predictions import Predictions
from xent_bench.runs.result import Run

EXPERIMENT = "predictions"
# without calib: the primary metric, for models with and without probabilities, and the secondary
AS_TRAINED = ("test/nll", "test/top1")
COMPARED_AS_TRAINED = ("test/top1", "test/nll", "test/ece")


class Member(NamedTuple):
    """The predictions of one net of a model, and where they come from, for errors.

    `predictions.calib` has no row if no calibrator can be fitted.
    """

    model: str
    seed: int
    predictions: Predictions
    source: str

    @property
    def is_as_trained(self) -> bool:
        """Whether there are no outputs on calib, so that no temperature can be fitted."""
        return not len(self.predictions.calib.target)


class ComparedModels(NamedTuple):
    """The comparison of models, and what its charts and intervals over examples need."""

    comparison: Comparison
    evidence: Evidence


def compare_models(members: Sequence[Member], options: Options | None = None) -> ComparedModels:
    """Compare models on one test set, paired by seed.

    The first model is the baseline, unless `options` names another one. Without calib only numbers
    as trained are compared. DataError where members have different targets, numbers of classes,
    names of classes, a seed twice, or where only some have calib.
    """
    check_members(members)
    options = options or Options()
    evaluations = [_evaluated(member) for member in members]
    runs = [_run(member, result) for member, result in zip(members, evaluations, strict=True)]
    if members[0].is_as_trained:
        options = _as_trained(options, runs)
    options = options._replace(baseline=options.baseline or members[0].model)
    (comparison,) = compare(runs, options=options)
    n, classes = members[0].predictions.test.outputs.shape
    comparison = comparison._replace(
        setting=f"{n:,} example{'s' * (n > 1)} of {classes} classes", noun="model", empty_cells=[]
    )
    return ComparedModels(comparison, _evidence(members, evaluations))


def check_members(members: Sequence[Member]) -> None:
    """Raise a DataError unless the members can be compared: see `compare_models`."""
    seeds: dict[tuple[str, int], str] = {}
    for member in members:
        other = seeds.setdefault((member.model, member.seed), member.source)
        if other != member.source:
            raise DataError(
                f"expected each seed of {member.model} once, got seed {member.seed} in {other} "
                f"and in {member.source}"
            )
    if len({member.model for member in members}) < 2:
        got = members[0].model if members else "none"
        raise DataError(f"expected the predictions of two models at least, got those of {got}")
    first = members[0]
    for member in members:
        if difference := _difference(first.predictions, member.predictions):
            raise DataError(f"{member.source} differs from {first.source}: {difference}")
        if member.is_as_trained != first.is_as_trained:
            without, with_calib = sorted((first, member), key=lambda m: not m.is_as_trained)
            raise DataError(
                f"expected outputs on calib for every net or for none, got them in "
                f"{with_calib.source} and not in {without.source}"
            )


def _difference(one: Predictions, other: Predictions) -> str:
    """Say why two nets were not tested on the same examples; empty if they were."""
    (n, classes), (m, others) = one.test.outputs.shape, other.test.outputs.shape
    if classes != others:
        return f"it has {others} classes, not {classes}"
    if one.classes != other.classes and not (_are_numbers(one) or _are_numbers(other)):
        place = next(k for k in range(classes) if one.classes[k] != other.classes[k])
        return f"its class {place} is {other.classes[place]}, not {one.classes[place]}"
    if n != m:
        return f"it has {m} test examples, not {n}"
    if not np.array_equal(one.test.id, other.test.id) and not (_is_plain(one) or _is_plain(other)):
        return "it was tested on examples of other ids"
    targets = one.test.target, other.test.target
    if targets[0].ndim != targets[1].ndim:
        return "one has soft labels, the other has one class for each example"
    if not np.allclose(*targets, rtol=0, atol=1e-6):
        unequal = np.abs(targets[0] - targets[1]).reshape(n, -1).max(axis=1) > 1e-6
        return f"the label of test example {int(unequal.argmax())} is another one"
    return ""


def _are_numbers(predictions: Predictions) -> bool:
    """Whether classes have no names but their numbers."""
    return predictions.classes == tuple(map(str, range(len(predictions.classes))))


def _is_plain(predictions: Predictions) -> bool:
    """Whether test examples have no ids but their numbers."""
    return np.array_equal(predictions.test.id, np.arange(len(predictions.test.id)))


def _evaluated(member: Member) -> Evaluation:
    try:
        if member.is_as_trained:
            return evaluate_as_trained(member.predictions.test, member.predictions.link)
        return evaluate(member.predictions)
    except ValueError as error:
        raise DataError(f"{member.source}: {error}") from error


def _run(member: Member, evaluation: Evaluation) -> Run:
    """The net as a finished run, of which nothing is known but its evaluation."""
    return Run(
        name=f"{member.model}-s{member.seed}",
        experiment=EXPERIMENT,
        params={"loss": member.model, "data": "", "model": "", "seed": member.seed},
        metrics=evaluation.metrics,
        tags=evaluation.words,
        command="",
        n_test=len(member.predictions.test.target),
        seconds=0.0,
    )


def _as_trained(options: Options, runs: Sequence[Run]) -> Options:
    """Compare by metrics as trained, by the first of AS_TRAINED that every net has."""
    if options.is_primary_asked and not options.primary.startswith("test/"):
        raise DataError(
            f"{options.primary} cannot be primary: it needs outputs on calib, which were not given"
        )
    primary = next(key for key in AS_TRAINED if all(key in run.metrics for run in runs))
    if options.is_primary_asked:
        primary = options.primary
    return options._replace(primary=primary, compared=COMPARED_AS_TRAINED)


def _evidence(members: Sequence[Member], evaluations: Sequence[Evaluation]) -> Evidence:
    evidence = Evidence()
    by_model: dict[str, list[Evaluation]] = {}
    for member, evaluation in zip(members, evaluations, strict=True):
        by_model.setdefault(member.model, []).append(evaluation)
        evidence.images.setdefault(member.model, members[0].predictions.test.id)
    for model, results in by_model.items():
        add_examples(evidence, model, [result.readings for result in results])
    return evidence
