"""The runs of a sweep by setting, loss, trial and seed, read from their overrides."""

from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import NamedTuple

from xent_bench.config.choices import key_of
from xent_bench.config.design_keys import DEFAULTS
from xent_bench.designs.ledger import Overrides

# keys that change no number of a run, so that no trial differs by them
NO_SCIENCE = ("machine", "notes", "tags", "name", "experiment", "calibrator", "shift", "foreign")
SEED, LOSS = "seed", ("loss", "loss._target_")


class Trial(NamedTuple):
    """One choice of hyper-parameters of a loss: the overrides of its run for each seed."""

    hyper: Overrides  # the words that choose the hyper-parameters; none if nothing is tuned
    runs: dict[int, Overrides]  # by seed

    def with_seed(self, seed: int) -> Overrides:
        """The overrides of its run with this seed, which may be a new one."""
        return self.runs.get(seed) or reseeded(next(iter(self.runs.values())), seed)


class Cell(NamedTuple):
    """One loss in one setting, with its trials in the order of the sweep."""

    loss: str
    trials: list[Trial]

    @property
    def seeds(self) -> list[int]:
        """Seeds of any of its trials, in the order of the sweep."""
        return list(dict.fromkeys(seed for trial in self.trials for seed in trial.runs))


class Setting(NamedTuple):
    """The losses that are compared with each other, in the order of the sweep."""

    words: Overrides  # the words that all of its runs have
    cells: list[Cell]

    @property
    def epochs(self) -> int | None:
        """The number of epochs, where the overrides name it."""
        typed = [word.partition("=")[2] for word in self.words if key_of(word) == "epochs"]
        return int(typed[-1]) if typed else None

    @property
    def is_tuned(self) -> bool:
        """Whether a loss has several trials to choose from."""
        return any(len(cell.trials) > 1 for cell in self.cells)

    def apart_from(self, settings: Sequence["Setting"]) -> list[str]:
        """The words that not all of these settings have."""
        shared = set(self.words).intersection(*(setting.words for setting in settings))
        return [word for word in self.words if word not in shared]


def settings_of(combinations: Iterable[Sequence[str]], loss: str, seed: int) -> list[Setting]:
    """Group the overrides of a sweep's runs by setting, loss, trial and seed.

    `loss` and `seed` are those of runs whose overrides name none.
    """
    settings: dict[Overrides, dict[str, dict[Overrides, dict[int, Overrides]]]] = {}
    for words in map(tuple, combinations):
        name = next((_loss_of(word) for word in reversed(words) if key_of(word) in LOSS), loss)
        hyper = tuple(word for word in words if is_tuned(key_of(word)))
        setting = tuple(
            word for word in words if word not in hyper and key_of(word) not in (SEED, *LOSS)
        )
        trials = settings.setdefault(setting, {}).setdefault(name, {})
        trials.setdefault(hyper, {})[_seed_of(words, seed)] = words
    return [
        Setting(
            words,
            [
                Cell(name, [Trial(hyper, runs) for hyper, runs in trials.items()])
                for name, trials in losses.items()
            ],
        )
        for words, losses in settings.items()
    ]


def runs_of(trials: Iterable[Trial]) -> list[Overrides]:
    """The overrides of each run of these trials, trial by trial."""
    return [run for trial in trials for run in trial.runs.values()]


def mean_over_seeds(scores: Sequence[float | None]) -> float | None:
    """Mean score of the runs of a trial; None if one of them has no score, as one that failed."""
    known = [score for score in scores if score is not None]
    return fmean(known) if len(known) == len(scores) else None


def is_tuned(key: str) -> bool:
    """Whether runs that differ in this key may be trials of one loss."""
    from xent_bench.comparison.trials import is_hyper  # 150 ms, which a plain grid does not need

    top = key.replace("/", ".").partition(".")[0]
    fixed = (*NO_SCIENCE, *DEFAULTS, "hydra")
    return is_hyper(key) and top not in fixed and not key.endswith("_target_")


def reseeded(words: Sequence[str], seed: int) -> Overrides:
    """The overrides of the same run with another seed."""
    if not any(map(_seeds, words)):
        return (*words, f"{SEED}={seed}")
    return tuple(f"{SEED}={seed}" if _seeds(word) else word for word in words)


def _seeds(word: str) -> bool:
    return key_of(word) == SEED


def _loss_of(word: str) -> str:
    """The loss as a report names it: of a target its last word."""
    return word.partition("=")[2].rpartition(".")[2]


def _seed_of(words: Sequence[str], otherwise: int) -> int:
    return next((int(word.partition("=")[2]) for word in words if _seeds(word)), otherwise)
