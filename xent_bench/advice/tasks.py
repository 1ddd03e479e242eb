"""The comparisons at hand, as evidence for a user's needs: which match, and how near they are."""

from collections.abc import Sequence
from math import isfinite, log2
from statistics import fmean
from typing import NamedTuple

from xent_bench.advice.needs import UNEVEN, Needs
from xent_bench.advice.typed import typed
from xent_bench.comparison.across import NO_CONDITION, parts_of
from xent_bench.comparison.compare import Comparison
from xent_bench.comparison.contrasts import Contrast
from xent_bench.comparison.trials import number, seed_of, shared_seeds
from xent_bench.comparison.untrained import untrained
from xent_bench.comparison.yardsticks import Yardstick
from xent_bench.runs.design import Design, design_of
from xent_bench.runs.result import Run

NEAR_RATE = 0.1  # largest difference of two shares of wrong labels that count as similar
NEAR_RATIO = 2.0  # largest factor between two ratios of class sizes that count as similar
ROUNDING = 1e-9
CAN = {True: "could tune a loss", False: "cannot tune a loss"}


class Conditions(NamedTuple):
    """The conditions of a comparison that a user can ask for."""

    noise: float  # share of wrong labels in train
    kind: str  # of the noise; empty without
    imbalance: float  # ratio of class sizes


class Task(NamedTuple):
    """A comparison as evidence: its name, what separates it from the needs, and its differences."""

    name: str  # data, net, epochs and conditions in words
    comparison: Comparison
    conditions: Conditions
    gaps: tuple[str, ...]  # why its conditions do not match; empty if they do
    distance: float  # of its conditions; 0 if they match
    farness: tuple[bool, bool, bool]  # other data, other net, tuned where the user cannot, or not
    unusable: str  # why it decides nothing; empty if it does
    contrasts: tuple[Contrast, ...]  # with the baseline, by the metric that decides

    @property
    def runs(self) -> list[Run]:
        """The finished runs."""
        return self.comparison.runs

    @property
    def first(self) -> Run:
        """A run that shows the setting."""
        return self.comparison.runs[0]

    @property
    def design(self) -> Design | None:
        """The sequential design that its runs declare; None without one."""
        return self.comparison.sequential.design if self.comparison.sequential else None

    @property
    def labels(self) -> list[str]:
        """Losses with a finished run, in the order of the comparison."""
        return [row.label for row in self.comparison.rows if row.n]

    @property
    def seconds(self) -> float:
        """Mean duration of a run in seconds."""
        return fmean(run.seconds for run in self.comparison.runs)

    def runs_of(self, label: str) -> list[Run]:
        """The finished runs of a loss, of all its trials."""
        return [
            run for trial in self.comparison.trials if trial.loss == label for run in trial.runs
        ]

    def seeds_of(self, label: str) -> set[int]:
        """The seeds of a loss's reported runs."""
        rows = [row for row in self.comparison.rows if row.label == label]
        return {seed_of(run) for row in rows for run in row.runs}

    @property
    def search_seeds(self) -> list[int]:
        """The seeds that every trial of a tuned loss has: by these the trials were chosen."""
        rows = self.comparison.rows
        return sorted(shared_seeds([trial for row in rows for trial in row.choice.candidates]))

    @property
    def confirmed(self) -> int:
        """The number of fresh seeds that its sweep gave each chosen trial."""
        return max(design_of(run.tags).confirm for run in self.runs)

    def lacking(self, key: str) -> list[str]:
        """Losses of which a reported run lacks a metric."""
        rows = self.comparison.rows
        return [row.label for row in rows if any(key not in run.metrics for run in row.runs)]

    def typed_loss(self, label: str) -> str | None:
        """The name by which a loss is chosen in a command; None if its runs do not tell."""
        commands = [typed(run) for run in self.runs_of(label)]
        names = {command.loss if command else None for command in commands}
        return names.pop() if len(names) == 1 else None

    @property
    def remarks(self) -> list[str]:
        """Reservations about the comparison: how it was tuned, designed and trained."""
        remarks = [] if self.comparison.is_tuned else ["not tuned"]
        if course := self.comparison.sequential:
            remarks += [f"seeds until it was decided, {course.looks[-1]} at most"]
            remarks += course.departures
        if self.comparison.falling:
            losses = ", ".join(self.comparison.falling)
            remarks.append(f"not trained to the end: {losses}")
        for sentence in untrained(self.comparison.rows):
            remarks.append(sentence[:1].lower() + sentence[1:])
        return remarks

    def differs_from(self, needs: Needs) -> list[str]:
        """The respects in which it is farther from the needs than it could be, in words."""
        data, net, tuning = self.farness
        words = [f"on other data than {needs.data}"] if data else []
        words += [f"with another net than {needs.model}"] if net else []
        if not tuning:
            return words
        is_tuned = self.comparison.is_tuned
        return [
            *words,
            f"{'' if is_tuned else 'not '}tuned, though your budget {CAN[not is_tuned]}",
        ]


def tasks_of(comparisons: Sequence[Comparison], needs: Needs, by: Yardstick) -> list[Task]:
    """Turn comparisons with a finished run into tasks, the nearest to the needs first.

    Their order does not depend on any score.
    """
    tasks = [_task(comparison, needs, by) for comparison in comparisons if comparison.runs]
    return sorted(tasks, key=lambda task: (task.distance, bool(task.unusable), task.farness))


def deciding(tasks: Sequence[Task]) -> list[Task]:
    """The tasks that decide: of those that match and can decide, the nearest ones."""
    usable = [task for task in tasks if not task.gaps and not task.unusable]
    nearest = min((task.farness for task in usable), default=None)
    return [task for task in usable if task.farness == nearest]


def conditions_of(runs: Sequence[Run]) -> Conditions:
    """The conditions of runs of one setting.

    Noise without a rate of its own (a matrix, a file) counts with the share that was measured.
    """
    params = runs[0].params
    kind = str(params.get("noise", ""))
    rates = [params.get("noise.rate", run.tags.get("noise_rate")) for run in runs] if kind else []
    ratio = _number(params.get("imbalance.ratio")) or 1.0
    numbers = [rate for text in rates if (rate := _number(text)) is not None]
    return Conditions(fmean(numbers) if numbers else 0.0, kind, ratio)


def gaps(conditions: Conditions, needs: Needs) -> list[str]:
    """The ways in which conditions do not match the needs, in words; empty if they do."""
    words = []
    if not _is_near_noise(conditions, needs):
        words.append(f"{_noise(conditions)}, not {100 * needs.noise:g} %")
    elif needs.noise and needs.noise_kind not in (None, conditions.kind):
        words.append(f"{conditions.kind} noise, not {needs.noise_kind}")
    if not _is_near_ratio(conditions, needs):
        words.append(f"{_classes(conditions.imbalance)}, not {_classes(needs.imbalance)}")
    return words


def _noise(conditions: Conditions) -> str:
    return (
        f"{100 * conditions.noise:g} % of wrong labels" if conditions.noise else "no wrong labels"
    )


def _classes(ratio: float) -> str:
    return f"class sizes of 1:{ratio:g}" if ratio >= UNEVEN else "classes of about one size"


def _is_near_noise(conditions: Conditions, needs: Needs) -> bool:
    both = (conditions.noise > 0) == (needs.noise > 0)
    return both and abs(conditions.noise - needs.noise) <= NEAR_RATE + ROUNDING


def _is_near_ratio(conditions: Conditions, needs: Needs) -> bool:
    if (conditions.imbalance >= UNEVEN) != needs.is_uneven:
        return False
    return not needs.is_uneven or (_octaves(conditions, needs) <= log2(NEAR_RATIO) + ROUNDING)


def _octaves(conditions: Conditions, needs: Needs) -> float:
    """Factor between the two ratios of class sizes, as a power of two."""
    return abs(log2(conditions.imbalance / needs.imbalance))


def _distance(conditions: Conditions, needs: Needs) -> float:
    """How far conditions are from the needs, in units of what counts as similar; 0 if they match.

    It only orders what is told to the user as the nearest that was measured.
    """
    if not gaps(conditions, needs):
        return 0.0
    noise = abs(conditions.noise - needs.noise) / NEAR_RATE
    kind = needs.noise > 0 and needs.noise_kind not in (None, conditions.kind)
    return noise + kind + _octaves(conditions, needs)


def _task(comparison: Comparison, needs: Needs, by: Yardstick) -> Task:
    conditions = conditions_of(comparison.runs)
    contrasts = tuple(
        contrast for contrast in comparison.contrasts if contrast.yardstick.key == by.key
    )
    return Task(
        name_of(comparison.runs[0]),
        comparison,
        conditions,
        tuple(gaps(conditions, needs)),
        _distance(conditions, needs),
        _farness(comparison, needs),
        _unusable(comparison, contrasts, needs, by),
        contrasts,
    )


def name_of(run: Run) -> str:
    """A setting in words: 'digits with cnn, 6 epochs, symmetric noise 0.4'."""
    net = " ".join(nets_of(run))
    epochs = run.params.get("epochs")
    parts = [f"{run.params['data']} with {net}"]
    parts += [] if epochs is None else [f"{epochs} epoch{'s' * (str(epochs) != '1')}"]
    return ", ".join(parts + [part for part in parts_of(run.params) if part != NO_CONDITION])


def nets_of(run: Run) -> list[str]:
    """The net's name, and that in its library, if it is of one: ['timm', 'convnext_atto']."""
    names = [run.params["model"], run.params.get("model.name")]
    return [str(name) for name in names if name is not None]


def _farness(comparison: Comparison, needs: Needs) -> tuple[bool, bool, bool]:
    run = comparison.runs[0]
    return (
        needs.data not in (None, run.params["data"]),
        needs.model is not None and needs.model not in nets_of(run),
        needs.can_tune not in (None, comparison.is_tuned),
    )


def _unusable(
    comparison: Comparison, contrasts: Sequence[Contrast], needs: Needs, by: Yardstick
) -> str:
    """The reason why a comparison decides nothing for these needs; empty if it does.

    A loss that was not compared for want of seeds counts too: nothing depends on scores.
    """
    labels = [row.label for row in comparison.rows if row.n]
    if comparison.unranked:
        return f"losses are not ranked ({comparison.unfair})"
    if needs.baseline not in labels:
        return f"no finished run of {needs.baseline}"
    if len(labels) < 2:
        return f"no other loss than {needs.baseline}"
    if not contrasts:
        return f"no {by.name} that two losses share with a seed"
    tested = [contrast for contrast in contrasts if not contrast.same]
    if not tested:
        return f"no other loss than {needs.baseline}, in two formats of label"
    if all(contrast.difference.n < 2 for contrast in tested):
        return "one seed, which cannot tell losses from seeds"
    return ""


def _number(value: object) -> float | None:
    share = number(str(value))
    return None if share is None or not isfinite(share) else share
