"""How often the report says what is not so: simulated through the code that users run.

Each simulation makes runs of a truth that is known and gives them to `compare`, or predictions to
`judge`, whose outcomes the report puts into words; it counts the comparisons in which one is false.
`scripts/error-rates` writes the table into xent_bench/comparison/README.md; the tests run the same
with fewer sweeps.
"""

import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import NamedTuple

import claim_errors
import numpy as np
from scipy.special import log_softmax

from xent_bench.advice.card import Card, advise
from xent_bench.advice.needs import Needs
from xent_bench.advice.offer import Offer
from xent_bench.calibrators.temperature import fit_temperature, scale
from xent_bench.comparison.across import across
from xent_bench.comparison.compare import Comparison, Options, compare
from xent_bench.comparison.evidence import Evidence, add_examples
from xent_bench.comparison.importance import importances
from xent_bench.comparison.models import AS_TRAINED, COMPARED_AS_TRAINED
from xent_bench.comparison.over_tasks import OverTasks, over_tasks
from xent_bench.comparison.sequential import LOOKS, decide, next_seeds
from xent_bench.comparison.tasks import select_tasks
from xent_bench.comparison.yardsticks import PRIMARY, YARDSTICKS, by_key
from xent_bench.evaluation.cost_file import Costs
from xent_bench.evaluation.evaluate import bins_of, judge, readings
from xent_bench.evaluation.expected_cost import PLAIN, Change, Decision, compared, cost_of
from xent_bench.links import softmax
from xent_bench.metrics.class_scores import answer_gaps
from xent_bench.metrics.examples import examine
from xent_bench.metrics.last_tenth import last_tenth
from xent_bench.metrics.score import score
from xent_bench.prediction.abstention import abstention
from xent_bench.prediction.conformal import fit_conformal
from xent_bench.runs.begun import Unfinished, pause
from xent_bench.runs.predictions import Predicted, Predictions
from xent_bench.runs.result import Run

PAGE = Path(__file__).resolve().parents[1] / "xent_bench/comparison/README.md"
BEGIN, END = "<!-- error rates: written by scripts/error-rates -->", "<!-- end of error rates -->"
TRIALS = 16  # of a search
TWO_NETS = {"one": 1.0, "other": 1.2}  # noise by net
CALIBRATED = {f"{prefix}_verdict": "within noise" for prefix in ("test", "test_ts_recipe")}
CALIBRATED_P = {f"{prefix}_null/p": 1.0 for prefix in ("test", "test_ts_recipe")}  # their p


DESIGN = {
    "design": json.dumps(
        {"until": "decided", "primary": PRIMARY, "baseline": "ce", "max_seeds": LOOKS[-1]}
    )
}


class Rate(NamedTuple):
    """How often something false was said."""

    false: int
    of: int

    @property
    def value(self) -> float:
        """The share."""
        return self.false / self.of

    @property
    def error(self) -> float:
        """The standard error of the share; of a rate of 0 that of one case."""
        p = max(self.value, 1 / self.of)
        return math.sqrt(p * (1 - p) / self.of)

    def may_be(self, bound: float) -> bool:
        """Whether a true rate of `bound` would show so much, by three standard errors."""
        return self.false <= self.of * bound + 3 * math.sqrt(self.of * bound * (1 - bound))


def run_of(loss: str, seed: int, metrics: dict[str, float], lr: float = 0.1) -> Run:
    """A finished run with these scores."""
    params = {"loss": loss, "data": "d", "model": "m", "optimizer.lr": lr, "seed": seed}
    key = f"{loss} {lr} {seed}"
    tags = {"key": key, "weights_sha256": key, **CALIBRATED}
    scores = CALIBRATED_P | metrics
    return Run(f"{loss}-s{seed}", "simulated", params, scores, tags, "xent-train", 359, 1.0)


def losses(number: int) -> list[str]:
    """Names, the baseline's first."""
    return ["ce", *(f"loss{place}" for place in range(1, number))]


def scores(rng: np.random.Generator) -> dict[str, float]:
    """Scores of one run about 0.5, each with noise of its own; val/top1 errs with test/top1."""
    noise = 0.005 * rng.standard_normal(len(YARDSTICKS))
    metrics = {by.key: 0.5 + noise[place] for place, by in enumerate(YARDSTICKS)}
    return metrics | {"val/top1": metrics["test/top1"], "val/nll": metrics["test/nll"]}


def lucky(luck: float) -> dict[str, float]:
    """Scores of a run that is by all metrics so many standard deviations better than its loss."""
    metrics = {by.key: 0.5 + 0.005 * by.better * luck for by in YARDSTICKS}
    return metrics | {"val/top1": metrics["test/top1"], "val/nll": metrics["test/nll"]}


def equal_losses(rng: np.random.Generator, number: int, seeds: int) -> Comparison:
    """Compare losses that are equally good: seeds differ, and one loss is noisier than others."""
    (comparison,) = compare(equal_runs(rng, number, seeds))
    return comparison


def equal_runs(rng: np.random.Generator, number: int, seeds: int) -> list[Run]:
    """Runs of losses that are equally good: seeds differ, and one loss is noisier than others."""
    runs = []
    hard = 0.01 * rng.standard_normal(seeds)
    for place, loss in enumerate(losses(number)):
        for seed in range(seeds):
            metrics = scores(rng)
            spread = 1 + 3 * (place == 1)
            noisy = {
                key: 0.5 + hard[seed] + spread * (score - 0.5) for key, score in metrics.items()
            }
            runs.append(run_of(loss, seed, noisy))
    return runs


def equal_trials(rng: np.random.Generator, number: int, seeds: int, trials: int) -> Comparison:
    """Compare losses that are tuned over equally good learning rates, where luck is the same by
    every metric: then the choice is by nothing but luck on test.
    """
    runs = [
        run_of(loss, seed, lucky(rng.standard_normal()), 0.1 * (1 + trial))
        for loss in losses(number)
        for trial in range(trials)
        for seed in range(seeds)
    ]
    (comparison,) = compare(runs)
    return comparison


def until_decided(number: int, metrics_of: Callable[[str, int], dict[str, float]]) -> Comparison:
    """Compare losses that get seeds until each is decided, as a sweep with until=decided does.

    `metrics_of` draws the scores of a loss with a seed.
    """
    by = by_key()[PRIMARY]
    runs: dict[str, list[Run]] = {loss: [] for loss in losses(number)}
    while True:
        values = {loss: [run.metrics[PRIMARY] for run in group] for loss, group in runs.items()}
        decisions = decide(values, "ce", LOOKS, by.tie, by.better)
        needed = next_seeds(values, "ce", LOOKS, decisions)
        if not needed:
            break
        for loss, seeds in needed.items():
            for seed in range(len(runs[loss]), seeds):
                run = run_of(loss, seed, metrics_of(loss, seed))
                runs[loss].append(replace(run, tags=run.tags | DESIGN))
    (comparison,) = compare([run for group in runs.values() for run in group])
    return comparison


def equal_until_decided(rng: np.random.Generator, number: int) -> Comparison:
    """Compare equally good losses until they are decided; all metrics are nearly one and the same.

    Seeds differ, one loss is noisier than others, and errors are so large that hardly any loss is a
    tie. As metrics go together, a stop by one of them is a stop by luck for the others.
    """
    hard = 0.5 * rng.standard_normal(LOOKS[-1])

    def metrics_of(loss: str, seed: int) -> dict[str, float]:
        luck = rng.standard_normal() * (1 + 3 * (loss == "loss1"))
        return {
            by.key: 5 + hard[seed] + 0.1 * by.better * (luck + 0.1 * rng.standard_normal())
            for by in YARDSTICKS
        }

    return until_decided(number, metrics_of)


def at_the_margin_until_decided(rng: np.random.Generator, number: int) -> Comparison:
    """Compare losses that are worse than the baseline by just the margin, until decided."""

    def metrics_of(loss: str, _: int) -> dict[str, float]:
        return {
            by.key: 0.5 - by.better * (loss != "ce") * by.tie + by.tie * rng.standard_normal()
            for by in YARDSTICKS
        }

    return until_decided(number, metrics_of)


def missed_difference(comparison: Comparison, effect: float = 0.0) -> list[bool]:
    """Whether the interval of a loss's difference misses the truth, by the primary metric."""
    return [
        abs(contrast.difference.mean - effect) > (contrast.difference.half_width or math.inf)
        for contrast in comparison.contrasts
        if contrast.yardstick.key == PRIMARY
    ]


def missed_mean(comparison: Comparison) -> list[bool]:
    """Whether the interval of a loss's mean misses the truth; seeds have no share in it here."""
    estimates = [row.estimates[PRIMARY] for row in comparison.rows]
    truths = [0.5 + (row.label != "ce") * by_key()[PRIMARY].tie for row in comparison.rows]
    return [
        abs(estimate.mean - truth) > (estimate.half_width or math.inf)
        for estimate, truth in zip(estimates, truths, strict=True)
    ]


def halved_trials(rng: np.random.Generator, number: int, seeds: int) -> Comparison:
    """Compare losses that are searched over 16 equally good learning rates, halved twice.

    Luck is the same by every metric. The score on val at an early rung has a correlation of 0.8
    with the last one, and one loss is four times as noisy as the others.
    """
    runs, paused = [], []
    for place, loss in enumerate(losses(number)):
        luck = rng.standard_normal((TRIALS, seeds))
        trials = list(range(TRIALS))
        for epoch in (3, 6):
            early = 0.8 * luck + 0.6 * rng.standard_normal(luck.shape)
            trials.sort(key=early.mean(axis=1).__getitem__)
            lost = trials[: len(trials) // 2]
            trials = trials[len(trials) // 2 :]
            for trial, seed in product(lost, range(seeds)):
                ended = run_of(loss, seed, {}, 0.1 * (1 + trial))
                reason = pause(epoch, 9)
                paused.append(Unfinished(ended.name, ended.experiment, ended.params, "", reason))
        for trial, seed in product(trials, range(seeds)):
            metrics = lucky((1 + 3 * (place == 1)) * luck[trial, seed])
            runs.append(run_of(loss, seed, metrics, 0.1 * (1 + trial)))
    (comparison,) = compare(runs, paused)
    return comparison


def confirmed_trials(rng: np.random.Generator, number: int, fresh: int) -> Comparison:
    """Compare losses that are searched over 16 equally good learning rates with one seed.

    The trial that it chooses is trained with fresh seeds. Luck is the same by every metric.
    """
    runs = []
    for loss in losses(number):
        luck = rng.standard_normal(TRIALS)
        rates = [0.1 * (1 + trial) for trial in range(TRIALS)]
        runs += [run_of(loss, 0, lucky(z), lr) for z, lr in zip(luck, rates, strict=True)]
        best = rates[int(luck.argmax())]
        for seed in range(1, fresh + 1):
            runs.append(run_of(loss, seed, lucky(rng.standard_normal()), best))
    (comparison,) = compare(runs)
    assert comparison.is_confirmed
    return comparison


def idle_keys(rng: np.random.Generator, number: int, trials: int) -> Comparison:
    """Compare losses that are searched over two hyper-parameters that do nothing."""
    points = rng.random((trials, 2))
    names = ("optimizer.weight_decay", "clip_norm")
    runs = []
    for loss in losses(number):
        for point in points:
            run = run_of(loss, 0, lucky(rng.standard_normal()))
            params = run.params | dict(zip(names, map(float, point), strict=True))
            runs.append(replace(run, params=params))
    (comparison,) = compare(runs)
    return comparison


def said_to_matter(comparison: Comparison) -> list[bool]:
    """Whether a hyper-parameter of any loss is said to matter."""
    return [any(entry.is_shown for entry in importances(comparison))]


def scaled_alike(rng: np.random.Generator, number: int, seeds: int) -> Comparison:
    """Compare losses that surely differ in NLL as trained, and not at all after scaling."""
    runs = [
        run_of(loss, seed, scores(rng) | {"test/nll": 0.5 + place + 0.005 * rng.standard_normal()})
        for place, loss in enumerate(losses(number))
        for seed in range(seeds)
    ]
    (comparison,) = compare(runs)
    return comparison


def at_the_margin(rng: np.random.Generator, number: int, seeds: int) -> Comparison:
    """Compare losses that are worse than the baseline by just the margin of a tie."""
    runs = [
        run_of(
            loss,
            seed,
            {
                by.key: 0.5 + (loss != "ce") * by.tie + 0.2 * by.tie * rng.standard_normal()
                for by in YARDSTICKS
            },
        )
        for loss in losses(number)
        for seed in range(seeds)
    ]
    (comparison,) = compare(runs)
    return comparison


def orders_that_hold(
    rng: np.random.Generator, number: int, seeds: int, conditions: int
) -> list[Comparison]:
    """Compare losses that surely differ from the baseline on the data as it is, and not at all
    under each of several conditions: then no order is turned round.
    """
    runs = []
    for place, loss in enumerate(losses(number)):
        for rate in range(conditions + 1):
            for seed in range(seeds):
                sure = 0.0 if rate else 0.1 * place
                noisy = {key: score + sure for key, score in scores(rng).items()}
                run = run_of(loss, seed, noisy)
                noise = {"noise": "symmetric", "noise.rate": rate / 10} if rate else {}
                runs.append(replace(run, params=run.params | noise))
    return compare(runs)


def changed_places(comparisons: list[Comparison]) -> list[bool]:
    """Whether a loss is said to have changed places with the baseline."""
    (conditions,) = across(comparisons)
    return [bool(conditions.changes)]


class Tasks(NamedTuple):
    """Tasks on which losses are equally good on average, though each suits some of them better."""

    losses: int
    data_sets: int
    nets: int = 1  # on each data set; what suits a loss belongs to the data set
    dependence: float = 1.0  # how much more one loss depends on the data set than others do
    last_is_worse: bool = False  # the last loss is surely worse than all others


def over_equal_tasks(rng: np.random.Generator, tasks: Tasks) -> OverTasks:
    """Rank the losses over such tasks; differences in NLL are larger on hard data sets."""
    runs = []
    names = losses(tasks.losses)
    for data_set in range(tasks.data_sets):
        hard = rng.uniform(0.5, 2)
        for place, loss in enumerate(names):
            suited = 0.02 * hard * (tasks.dependence if place == 1 else 1) * rng.standard_normal()
            worse = tasks.last_is_worse and loss == names[-1]
            for net in range(tasks.nets):
                for seed in range(2):
                    nll = 0.5 * hard + suited + worse + 0.005 * rng.standard_normal()
                    run = run_of(loss, seed, {PRIMARY: nll, "val/top1": 0.5})
                    task = {"data": f"d{data_set}", "model": f"m{net}"}
                    runs.append(replace(run, params=run.params | task))
    return over_tasks(select_tasks(compare(runs)))


def ranks_said_to_differ(over: OverTasks) -> list[bool]:
    """Whether mean ranks are said to differ by more than chance."""
    return [over.rejects]


def false_verdict_over_tasks(over: OverTasks, equal: int) -> list[bool]:
    """Whether one of the first losses, which are equally good, is called better or worse."""
    return [any(over.against[loss].verdict != "inconclusive" for loss in losses(equal)[1:])]


def false_pair_over_tasks(over: OverTasks, equal: int) -> list[bool]:
    """Whether two of the first losses, which are equally good, are shown to differ."""
    names = set(losses(equal))
    return [any(names - {loss, *over.not_shown_to_differ(loss)} for loss in names)]


def marks(comparison: Comparison) -> list[bool]:
    """Whether a best is marked, column by column."""
    return [bool(leaders.best) for leaders in comparison.leaders.values()]


def marks_of_one(comparison: Comparison) -> list[bool]:
    """Whether a best is marked in one column, where all columns have the same luck."""
    return [bool(comparison.leaders[PRIMARY].best)]


def false_verdict(comparison: Comparison, *, primary: bool) -> list[bool]:
    """Whether a loss is called better or worse, by the primary or by a secondary metric."""
    return [
        any(
            contrast.verdict in ("better", "worse")
            for contrast in comparison.contrasts
            if (contrast.yardstick.key == comparison.options.primary) is primary
        )
    ]


def false_in_each_family(comparison: Comparison) -> list[bool]:
    """Whether a loss is called better or worse, in each of the two families of tests."""
    return [
        *false_verdict(comparison, primary=True),
        *false_verdict(comparison, primary=False),
    ]


def false_tie(comparison: Comparison) -> list[bool]:
    """Whether a loss is called a tie by the primary metric."""
    return [
        any(
            contrast.verdict.startswith("tie")
            for contrast in comparison.contrasts
            if contrast.yardstick.key == PRIMARY
        )
    ]


def false_order(comparison: Comparison) -> list[bool]:
    """Whether the order of two losses is shown to turn with scaling."""
    return [any(flip.shown for flip in comparison.flips)]


def card_of_equals(rng: np.random.Generator, number: int, seeds: int, tasks: int = 1) -> Card:
    """Ask for advice where losses are equally good on each task, and calibrators change nothing."""
    runs = [
        replace(
            run,
            params=run.params | {"data": f"d{task}"},
            tags={name: f"{tag} {task}" for name, tag in run.tags.items()} | CALIBRATED,
        )
        for task in range(tasks)
        for run in equal_runs(rng, number, seeds)
    ]
    return advise(runs, [], Needs(), Offer(losses(number), [], [], {}))


def card_of_harm(rng: np.random.Generator, number: int, seeds: int) -> Card:
    """Ask for advice where losses are equally good, and a temperature makes all of them worse, by
    so much that about half of the cards compare them as trained.
    """
    harm = 0.025
    runs = [
        replace(run, metrics=run.metrics | {PRIMARY: run.metrics[PRIMARY] + harm})
        for run in equal_runs(rng, number, seeds)
    ]
    return advise(runs, [], Needs(), Offer(losses(number), [], [], {}))


def card_of_equal_trials(rng: np.random.Generator, number: int, seeds: int, trials: int) -> Card:
    """Ask for advice where equal losses were tuned over equal trials, chosen by luck on test."""
    runs = equal_trials(rng, number, seeds, trials).runs
    return advise(runs, [], Needs(), Offer(losses(number), [], [], {}))


def another_loss(card: Card) -> list[bool]:
    """Whether the card recommends another loss than the baseline."""
    return [card.pick is not None and card.pick.displaces]


def helpful_calibrator(card: Card) -> list[bool]:
    """Whether the card says that a calibrator helps."""
    return [card.calibration is not None and card.calibration.is_shown]


def stopped_falling(rng: np.random.Generator, number: int, seeds: int) -> Comparison:
    """Compare losses whose val/nll has come to rest: noise alone, of 20 epochs."""
    runs = []
    for loss in losses(number):
        for seed in range(seeds):
            course = 0.5 + 0.02 * rng.standard_normal(20)
            curve = {step: {"val/nll": value} for step, value in enumerate(course, 1)}
            runs.append(run_of(loss, seed, scores(rng) | last_tenth(curve)))
    (comparison,) = compare(runs)
    return comparison


def named_as_falling(comparison: Comparison) -> list[bool]:
    """Whether a loss is named as not trained to the end."""
    return [bool(comparison.falling)]


def calibrated(
    rng: np.random.Generator, n_calib: int, n_test: int, temperature: float = 1.7
) -> Predictions:
    """Predictions of a net that is exactly calibrated at one temperature."""
    n, c = n_calib + n_test, 10
    outputs = 3 * rng.standard_normal((n, c))
    outputs[np.arange(n), rng.integers(c, size=n)] += 8
    cumulated = np.exp(log_softmax(outputs / temperature, axis=1)).cumsum(axis=1)
    labels = np.minimum((rng.random((n, 1)) > cumulated).sum(axis=1), c - 1)
    parts = (slice(0, n_calib), slice(n_calib, n))
    calib, test = (
        Predicted(split, outputs[part], labels[part], np.arange(n)[part])
        for split, part in zip(("calib", "test"), parts, strict=True)
    )
    return Predictions(calib, test, partial(softmax), tuple(map(str, range(c))))


def judged(predictions: Predictions) -> tuple[dict[str, float], dict[str, str]]:
    """The verdicts on a net as `evaluate` finds them, without its other metrics."""
    fitted = fit_temperature(predictions.calib, predictions.link)
    by_prefix = readings(predictions, fitted)
    return judge(predictions, fitted, by_prefix, bins_of(by_prefix))


def false_alarm(predictions: Predictions, prefix: str) -> list[bool]:
    """Whether the net is called miscalibrated."""
    _, words = judged(predictions)
    return [words[f"{prefix}_verdict"] != "within noise"]


def starred_classes(predictions: Predictions) -> list[bool]:
    """Whether each class of a net is said to have answers of wrong confidence, as trained."""
    test, link = predictions.test, predictions.link
    gaps = answer_gaps(examine(test.outputs, test.target, link), len(predictions.classes))
    assert gaps is not None
    return [bool(is_outside) for is_outside in gaps.is_outside]


def calibrated_losses(
    rng: np.random.Generator, number: int, seeds: int, temperature: float
) -> Comparison:
    """Compare losses whose nets are calibrated at one temperature."""
    runs = []
    for loss in losses(number):
        for seed in range(seeds):
            numbers, words = judged(calibrated(rng, 216, 359, temperature))
            run = run_of(loss, seed, scores(rng) | numbers)
            runs.append(replace(run, tags=run.tags | words))
    (comparison,) = compare(runs)
    return comparison


def called_miscalibrated(comparison: Comparison, reading: str) -> list[bool]:
    """Whether one of the losses is called miscalibrated."""
    return [set(comparison.trust[reading].values()) != {"within noise"}]


def lacks_the_class(predictions: Predictions, coverage: float) -> list[bool]:
    """Whether the set of a new image lacks its class."""
    calib, test = predictions.calib, predictions.test
    sets = fit_conformal(calib.outputs, calib.target, coverage).sets(test.outputs)
    return [not sets[place, label] for place, label in enumerate(test.target.tolist())]


def misses_the_risk(predictions: Predictions, confidence: float) -> list[bool]:
    """Whether the interval of the wrong answers on calib misses the share of them on test.

    The temperature is fitted on the same calib; test is so large that its share is nearly exact.
    """
    calib, test = predictions.calib, predictions.test
    temperature = fit_temperature(calib, predictions.link).value
    scaled = partial(scale, link=predictions.link, temperature=temperature)
    on_calib, on_test = (
        abstention(scaled(part.outputs), part.target, confidence, part.split)
        for part in (calib, test)
    )
    if not (on_calib.answered and on_test.answered):
        return []
    low, high = on_calib.interval()
    return [not low <= on_test.wrong / on_test.answered <= high]


def outputs_of(rng: np.random.Generator, target: np.ndarray, noise: float) -> np.ndarray:
    """Outputs of a net for 3 classes, which is wrong more often with more noise."""
    return 2 * np.eye(3)[target] + noise * rng.standard_normal((len(target), 3))


def equal_models(rng: np.random.Generator, number: int, seeds: int) -> Comparison:
    """Compare equal models as trained: only the noise of the seeds differs between their nets.

    The tests and families are those of `compare_models`; the nets have the metrics that it judges.
    """
    target = rng.integers(3, size=100)
    runs = []
    for model in losses(number):
        for seed in range(seeds):
            outputs = outputs_of(rng, target, 1 + 0.1 * rng.standard_normal())
            values = score(outputs, target)
            metrics = {key: values[key.partition("/")[2]] for key in COMPARED_AS_TRAINED}
            runs.append(run_of(model, seed, metrics))
    options = Options(primary=AS_TRAINED[0], compared=COMPARED_AS_TRAINED)
    (comparison,) = compare(runs, options=options)
    return comparison


def two_nets(rng: np.random.Generator) -> Evidence:
    """The numbers by example of two nets of different noise, on other examples each time."""
    target = rng.integers(3, size=500)
    evidence = Evidence()
    for model, noise in TWO_NETS.items():
        evidence.images[model] = np.arange(500)
        examples = examine(outputs_of(rng, target, noise), target, softmax)
        add_examples(evidence, model, [{"test": examples}])
    return evidence


@cache
def true_difference() -> float:
    """Expected NLL of the second of the two nets minus that of the first, by a million examples."""
    rng = np.random.default_rng(0)
    target = rng.integers(3, size=1_000_000)
    first, second = (
        -log_softmax(outputs_of(rng, target, noise), axis=1)[np.arange(len(target)), target].mean()
        for noise in TWO_NETS.values()
    )
    return float(second - first)


def missed_over_examples(evidence: Evidence) -> list[bool]:
    """Whether the interval over test examples does not hold the true difference of the nets."""
    (first, second), key = TWO_NETS, "test/nll"
    by_image = evidence.by_image
    difference = float((by_image[second][key] - by_image[first][key]).mean())
    half_width = evidence.image_half_width(second, first, key)
    assert half_width is not None
    return [abs(difference - true_difference()) > half_width]


def rules_that_cost_the_same(
    rng: np.random.Generator, images: int, ratio: float, share: float
) -> list[tuple[Decision, Decision, Change]]:
    """Compare rules of the same expected cost, where one mistake costs `ratio` times the other.

    They differ on a share of the images, which are ill with the probability at which both answers
    cost the same: as trained these are called healthy, after scaling ill.
    """
    costs = Costs(("healthy", "ill"), np.array([[0.0, 1.0], [ratio, 0.0]]))
    edge = 1 / (1 + ratio)
    is_on_edge = rng.random(images) < share
    p = np.where(is_on_edge, edge, rng.choice([edge / 10, 1 - edge / 10], images))
    ill = (rng.random(images) < p).astype(np.int64)
    clear = (p > 0.5).astype(np.int64)
    plain, raw = (
        Decision(rule, "test", cost_of(clear, ill, costs), 0.0)
        for rule in (PLAIN, "least cost, as trained")
    )
    answers = np.where(is_on_edge, 1, clear)
    scaled = Decision("least cost, scaled", "test_ts", cost_of(answers, ill, costs), 0.0)
    return compared([plain, raw, scaled], costs)


def said_to_change_the_cost(comparisons: list[tuple[Decision, Decision, Change]]) -> list[bool]:
    """Whether one of the rules is said to cost less or more than another."""
    return [any(change.word != "not shown to differ" for _, _, change in comparisons)]


SECONDARY = partial(false_verdict, primary=False)


def rate(
    simulate: Callable[[np.random.Generator], object],
    is_false: Callable[..., list[bool]],
    repeats: int,
    seed: int = 0,
) -> Rate:
    """Simulate so often, and count what is false."""
    rng = np.random.default_rng(seed)
    outcomes = [outcome for _ in range(repeats) for outcome in is_false(simulate(rng))]
    return Rate(sum(outcomes), len(outcomes))


class Claim(NamedTuple):
    """One row of the table: a claim of the report, the truth, and how to simulate it."""

    claim: str
    truth: str
    simulate: Callable[[np.random.Generator], object]
    is_false: Callable[..., list[bool]]
    repeats: int


def claims(share: float = 1.0) -> list[Claim]:
    """Every claim; with a smaller share of the repeats."""
    rows = [
        *claims_at_one_setting(),
        *tuned_claims(),
        *claims_on_ties_and_orders(),
        *advice_claims(),
        *published_claims(),
        *calibration_claims(),
        *prediction_claims(),
        *model_claims(),
        *until_decided_claims(),
        *over_tasks_claims(),
    ]
    return [row._replace(repeats=max(20, round(share * row.repeats))) for row in rows]


def claims_at_one_setting() -> list[Claim]:
    """Claims on equal losses that are not tuned."""
    rows = [
        Claim(
            "a best is marked in a column",
            f"{number} equal losses, {seeds} seeds",
            partial(equal_losses, number=number, seeds=seeds),
            marks,
            {2: 2000, 5: 1000, 20: 200, 40: 60}[number],
        )
        for number in (2, 5, 20, 40)
        for seeds in (3, 5)
    ]
    rows += [
        Claim(
            f"better or worse, {name}",
            f"{number} equal losses, {seeds} seeds",
            partial(equal_losses, number=number, seeds=seeds),
            partial(false_verdict, primary=name == "primary metric"),
            2000 if number == 5 else 200,
        )
        for name in ("primary metric", "secondary metrics together")
        for number, seeds in ((5, 3), (5, 5), (20, 5))
    ]
    return rows


def tuned_claims() -> list[Claim]:
    """Claims on equal losses that are tuned or searched, and on what a search says."""
    rows = [
        Claim(
            "better or worse, primary metric, tuned",
            f"5 equal losses, {trials} equal trials each, {seeds} seeds",
            partial(equal_trials, number=5, seeds=seeds, trials=trials),
            partial(false_verdict, primary=True),
            1000,
        )
        for trials, seeds in ((3, 3), (5, 3), (5, 5))
    ]
    rows += [
        Claim(
            "better or worse, primary metric, searched",
            "5 equal losses, one of them noisier, 16 equal trials each, 3 seeds, halved in 3 rungs",
            partial(halved_trials, number=5, seeds=3),
            partial(false_verdict, primary=True),
            1000,
        ),
        Claim(
            "better or worse, primary metric, searched",
            "5 equal losses, 16 equal trials each, chosen by 1 seed, 5 fresh seeds",
            partial(confirmed_trials, number=5, fresh=5),
            partial(false_verdict, primary=True),
            1000,
        ),
        Claim(
            "a hyper-parameter matters",
            "3 losses, 16 trials over two hyper-parameters without effect, 1 seed",
            partial(idle_keys, number=3, trials=16),
            said_to_matter,
            500,
        ),
    ]
    rows += [
        Claim(
            "a best is marked in a column, tuned",
            f"{number} equal losses, {trials} equal trials each, 3 seeds",
            partial(equal_trials, number=number, seeds=3, trials=trials),
            marks_of_one,
            repeats,
        )
        for number, trials, repeats in ((2, 10, 4000), (5, 5, 1000))
    ]
    return rows


def claims_on_ties_and_orders() -> list[Claim]:
    """Claims on ties, on orders that change, and on losses that still learn."""
    return [
        Claim(
            "tie, primary metric",
            "5 losses, 4 of them worse by the margin, 5 seeds",
            partial(at_the_margin, number=5, seeds=5),
            false_tie,
            2000,
        ),
        Claim(
            "scaling turns an order (!)",
            "5 losses that differ as trained and are equal after scaling, 5 seeds",
            partial(scaled_alike, number=5, seeds=5),
            false_order,
            2000,
        ),
        Claim(
            "a loss and the baseline change places",
            "5 losses that differ as the data is and are equal under 4 conditions, 3 seeds",
            partial(orders_that_hold, number=5, seeds=3, conditions=4),
            changed_places,
            1000,
        ),
        Claim(
            "not trained to the end",
            "5 losses at rest, 3 seeds, 20 epochs",
            partial(stopped_falling, number=5, seeds=3),
            named_as_falling,
            2000,
        ),
    ]


def advice_claims() -> list[Claim]:
    """Claims of the decision card."""
    rows = [
        Claim(
            "xent-advise: another loss than the baseline",
            f"{number} equal losses, {seeds} seeds, {tasks} task{'s' * (tasks > 1)}",
            partial(card_of_equals, number=number, seeds=seeds, tasks=tasks),
            another_loss,
            repeats,
        )
        for number, seeds, tasks, repeats in (
            (5, 3, 1, 2000),
            (5, 5, 1, 1000),
            (20, 5, 1, 200),
            (5, 3, 4, 400),
        )
    ]
    rows += [
        Claim(
            "xent-advise: another loss than the baseline, compared as trained or scaled",
            "5 equal losses, 3 seeds, a temperature that does harm",
            partial(card_of_harm, number=5, seeds=3),
            another_loss,
            1000,
        ),
        Claim(
            "xent-advise: another loss than the baseline, tuned",
            "5 equal losses, 5 equal trials each, 3 seeds",
            partial(card_of_equal_trials, number=5, seeds=3, trials=5),
            another_loss,
            300,
        ),
    ]
    rows += [
        Claim(
            "xent-advise: a calibrator helps",
            f"5 equal losses, 3 seeds, {where}, calibrators that change nothing",
            partial(card_of_equals, number=5, seeds=3, tasks=tasks),
            helpful_calibrator,
            repeats,
        )
        for tasks, where, repeats in ((1, "1 task", 1000), (4, "4 tasks", 300))
    ]
    return rows


def published_claims() -> list[Claim]:
    """Claims on published claims: verdicts of xent-claim where the truth is another."""
    return [
        Claim(
            f"xent-claim: {case.said()}",
            case.truth,
            partial(claim_errors.judged, asked=case.asked, worse_by=case.worse_by),
            partial(claim_errors.is_called, verdict=case.verdict, protocol=case.protocol),
            1000,
        )
        for case in claim_errors.cases()
    ]


def calibration_claims() -> list[Claim]:
    """Claims on nets that are calibrated."""
    rows = [
        Claim(
            "miscalibrated after scaling",
            f"a net calibrated at its best T, {n_calib:,} images of calib, {n_test:,} of test",
            partial(calibrated, n_calib=n_calib, n_test=n_test),
            partial(false_alarm, prefix="test_ts_recipe"),
            repeats,
        )
        for n_calib, n_test, repeats in ((216, 359, 2000), (1000, 2000, 1000), (5000, 10_000, 300))
    ]
    rows += [
        Claim(
            "xent-rescore --classes: a class has a star",
            f"a calibrated net, 10 classes, {n_test:,} images of test",
            partial(calibrated, n_calib=10, n_test=n_test, temperature=1.0),
            starred_classes,
            repeats,
        )
        for n_test, repeats in ((359, 1000), (10_000, 100))
    ]
    rows += [
        Claim(
            "xent-rescore --costs: answers cost less or more",
            f"{images:,} images, {100 * share:.0f} % of them of equal cost either way, one mistake "
            f"costs {ratio:g} times the other",
            partial(rules_that_cost_the_same, images=images, ratio=ratio, share=share),
            said_to_change_the_cost,
            2000,
        )
        for images, ratio, share in (
            *((1000, 1, 0.2), (1000, 10, 0.05), (1000, 10, 1.0)),
            *((1000, 100, 0.05), (5000, 100, 0.2)),
        )
    ]
    rows += [
        Claim(
            f"miscalibrated {when}",
            "5 losses of such nets, 3 seeds, 216 and 359 images",
            partial(calibrated_losses, number=5, seeds=3, temperature=temperature),
            partial(called_miscalibrated, reading=reading),
            300,
        )
        for when, reading, temperature in (
            ("as trained", "test", 1.0),
            ("after scaling, any loss", "test_ts", 1.7),
        )
    ]
    return rows


def prediction_claims() -> list[Claim]:
    """Claims beside predictions: of sets, and of answers above a confidence."""
    rows = [
        Claim(
            "xent-predict: the class is in the set",
            f"coverage 0.95, {n:,} images of calib, a new image",
            partial(calibrated, n_calib=n, n_test=1),
            partial(lacks_the_class, coverage=0.95),
            4000,
        )
        for n in (50, 216)
    ]
    rows += [
        Claim(
            "xent-predict: interval of the wrong answers",
            f"T fitted on the same {n} images of calib, confidence {confidence}",
            partial(calibrated, n_calib=n, n_test=20_000),
            partial(misses_the_risk, confidence=confidence),
            600,
        )
        for n in (50, 216)
        for confidence in (0.6, 0.9)
    ]
    return rows


def model_claims() -> list[Claim]:
    """Claims on models that are given by their predictions."""
    return [
        Claim(
            "better or worse by the primary metric, or by a secondary one",
            "3 equal models by their outputs on 100 examples, as trained, 3 seeds",
            partial(equal_models, number=3, seeds=3),
            false_in_each_family,
            2000,
        ),
        Claim(
            "an interval over test examples misses the difference",
            "2 nets, 500 examples, NLL as trained",
            two_nets,
            missed_over_examples,
            4000,
        ),
    ]


def until_decided_claims() -> list[Claim]:
    """The claims about sweeps that add seeds until their losses are decided."""
    margin = by_key()[PRIMARY].tie
    rows = [
        Claim(
            "better or worse, primary metric, until decided",
            f"{number} equal losses, 3 to 30 seeds",
            partial(equal_until_decided, number=number),
            partial(false_verdict, primary=True),
            {2: 6000, 5: 400, 20: 200}[number],
        )
        for number in (2, 5, 20)
    ]
    rows += [
        Claim(
            claim,
            "5 equal losses, 3 to 30 seeds, metrics that go together",
            partial(equal_until_decided, number=5),
            is_false,
            200,
        )
        for claim, is_false in (
            ("better or worse, secondary metrics together, until decided", SECONDARY),
            ("a best is marked in a column, until decided", marks_of_one),
            ("an interval misses the difference, until decided", missed_difference),
        )
    ]
    at_margin = partial(at_the_margin_until_decided, number=5)
    truth = "5 losses, 4 of them worse by the margin, 3 to 30 seeds"
    rows += [
        Claim(claim, truth, at_margin, is_false, repeats)
        for claim, is_false, repeats in (
            ("tie, primary metric, until decided", false_tie, 400),
            (
                "an interval misses the difference, until decided",
                partial(missed_difference, effect=margin),
                200,
            ),
            ("an interval misses the mean, until decided", missed_mean, 200),
        )
    ]
    return rows


def over_tasks_claims() -> list[Claim]:
    """Claims on losses over several tasks."""
    rows = [
        Claim(
            "mean ranks over tasks differ",
            f"{number} equal losses, {data_sets} data sets",
            partial(over_equal_tasks, tasks=Tasks(number, data_sets)),
            ranks_said_to_differ,
            1000,
        )
        for number, data_sets in ((3, 3), (5, 5), (5, 10), (5, 20))
    ]
    rows += [
        Claim(
            claim,
            truth,
            partial(over_equal_tasks, tasks=tasks),
            partial(is_false, equal=equal),
            400,
        )
        for claim, is_false in (
            ("better or worse over tasks", false_verdict_over_tasks),
            ("two losses differ over tasks", false_pair_over_tasks),
        )
        for truth, equal, tasks in (
            *((f"5 equal losses, {n} data sets", 5, Tasks(5, n)) for n in (5, 10, 20)),
            ("5 equal losses, 10 data sets with 2 nets each", 5, Tasks(5, 10, nets=2)),
            (
                "5 equal losses, 10 data sets, one loss depends on them more",
                5,
                Tasks(5, 10, dependence=4.0),
            ),
            (
                "5 losses, one of them surely worse, 10 data sets",
                4,
                Tasks(5, 10, last_is_worse=True),
            ),
        )
    ]
    return rows


def table(rows: Sequence[Claim]) -> str:
    """The table in Markdown: claim, what was simulated, and the rate with its Monte Carlo error."""
    lines = [
        "| said | simulated | how often, % |",
        "|---|---|--:|",
    ]
    for row in rows:
        wrong = rate(row.simulate, row.is_false, row.repeats)
        shown = f"{100 * wrong.value:.1f} ± {100 * wrong.error:.1f}"
        lines.append(f"| {row.claim} | {row.truth} | {shown} |")
        print(lines[-1], file=sys.stderr, flush=True)
    return "\n".join(lines)


def main() -> None:
    """Write the table between its marks in the page."""
    with_table(PAGE.read_text(encoding="utf-8"), "")  # marks that are missing show now
    rates = table(claims())  # takes minutes, in which the page may be edited: it is read again
    page = with_table(PAGE.read_text(encoding="utf-8"), rates)
    PAGE.write_text(page, encoding="utf-8")


def with_table(page: str, rates: str) -> str:
    """Return the page with this table between its marks; ValueError where a mark is missing."""
    before, begin, inside = page.partition(BEGIN)
    _, end, after = inside.partition(END)
    if not (begin and end):
        raise ValueError(f"{PAGE}: expected the lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{rates}\n\n{END}{after}"


if __name__ == "__main__":
    main()
