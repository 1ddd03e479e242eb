"""A run's command in parts, from which a sweep of the same setting is typed."""

import shlex
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from xent_bench.comparison.trials import natural
from xent_bench.config.choices import key_of
from xent_bench.config.design_keys import DEFAULTS
from xent_bench.runs.design import design_of
from xent_bench.runs.result import Run

PROGRAM, FOLDER = "xent-train", "--config-dir"
DEFAULT_LOSS = "ce"  # as in conf/train.yaml
RETYPED = ("loss", "seed", *DEFAULTS)  # keys for which a sweep of the same setting has new values


class Typed(NamedTuple):
    """A run's command: options, overrides of its setting, and its loss as typed."""

    flags: list[str]
    words: list[str]
    loss: str | None  # as in loss=NAME; None for code that has no file in conf/loss
    hyper: list[str]  # overrides of the loss's own hyper-parameters
    without_design: list[str]  # overrides that undo the design of an experiment's file

    def has(self, key: str) -> bool:
        """Whether a value is typed for this key."""
        return any(key_of(word) == key for word in self.words)

    def sweep(self, *more: str, without: Iterable[str] = ()) -> str:
        """The command of a sweep: with further overrides, and without those of some groups."""
        typed_anew, groups = set(map(key_of, more)), set(without)
        words = [
            word
            for word in self.words
            if key_of(word) not in typed_anew and key_of(word).partition(".")[0] not in groups
        ]
        undone = [word for word in self.without_design if key_of(word) not in typed_anew]
        return sweep_of([*self.flags, *words, *undone, *more])


def sweep_of(words: Iterable[str]) -> str:
    """The command of a sweep, as it is typed in a shell."""
    return shlex.join([PROGRAM, "-m", *words])


def typed(run: Run) -> Typed | None:
    """Take the command of a run apart; None if a run cannot have been typed like that."""
    try:
        program, *words = shlex.split(run.command)
    except ValueError:  # no word at all, or a quote that is not closed
        return None
    flags: list[str] = []
    while len(words) > 1 and words[0] == FOLDER:
        flags, words = flags + words[:2], words[2:]
    if program != PROGRAM or not all("=" in word and word[:1] != "-" for word in words):
        return None
    hyper = [word for word in words if key_of(word).startswith("loss.")]
    names = [word.partition("=")[2] for word in words if key_of(word) == "loss"]
    is_own_code = any(key_of(word) == "loss._target_" for word in hyper)
    kept = [word for word in words if key_of(word) not in RETYPED and word not in hyper]
    loss = None if is_own_code else (names or [DEFAULT_LOSS])[-1]
    return Typed(flags, kept, loss, hyper, _without_design(run, words))


def _without_design(run: Run, words: Sequence[str]) -> list[str]:
    """The defaults of the keys of a run's design that nobody typed: an experiment's file has them.

    A sweep of another kind by the same experiment must not follow that design.
    """
    typed_keys = set(map(key_of, words))
    if "experiment" not in typed_keys:
        return []
    in_file = {
        key: default
        for key, default in DEFAULTS.items()
        if design_of(run.tags)._asdict()[key] != default and key not in typed_keys
    }
    return [f"{key}={'null' if value is None else value}" for key, value in in_file.items()]


def own_words(runs: Sequence[Run]) -> list[str]:
    """The own hyper-parameters of a loss, with each value that its runs were typed with.

    They are named for this loss alone: loss.focal.gamma=1,2.
    """
    values: dict[str, set[str]] = {}
    for command in filter(None, map(typed, runs)):
        for word in command.hyper:
            key, _, value = word.partition("=")
            plus, _, name = key.partition("loss.")
            values.setdefault(f"{plus}loss.{command.loss}.{name}", set()).add(value)
    return [f"{key}={','.join(sorted(texts, key=natural))}" for key, texts in values.items()]
