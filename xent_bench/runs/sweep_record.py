"""The record of a sweep's runs, kept beside them as `.sweep.json`.

It is that of the sweep that was typed last there, as Hydra's `multirun.yaml` is.
"""

import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from xent_bench.metrics.reported import PREFIXES
from xent_bench.runs.files import DAMAGED, has_result
from xent_bench.runs.lacking import Asked, has_ended, lacking
from xent_bench.runs.reading import read_json, read_sealed, sealed
from xent_bench.runs.whole_files import write_whole

RECORD = ".sweep.json"
SEED_IN_NAME = re.compile(r"-s(\d+)-[0-9a-f]{10}$")  # of a run's folder


class Planned(NamedTuple):
    """One run of a sweep, and the requests to it beside its training."""

    name: str  # to show: focal-s0 loss.gamma=2
    command: str  # to train this run alone
    overrides: list[str]
    folder: Path
    calibrator: str
    weights: bool
    offline: bool
    shift: tuple[str, ...] = ()  # corruptions at severities
    foreign: tuple[str, ...] = ()  # names of foreign sets
    pause_after: int | None = None  # the epoch after which it pauses
    model: bool = False  # as an MLflow model
    pictures: bool = False

    @property
    def asked(self) -> Asked:
        """Requests to the run beside its training."""
        return Asked(
            *(self.calibrator, self.weights, self.offline, self.shift, self.foreign),
            model=self.model,
            pictures=self.pictures,
            pause_after=self.pause_after,
        )

    def is_done(self) -> bool:
        """Whether its folder lacks nothing of what is asked."""
        return not lacking(self.folder, self.asked)


class Beginning(NamedTuple):
    """A sweep whose later runs follow from the results of earlier ones, as it was typed."""

    design: str  # its keys, as in the tag of a run
    combinations: list[list[str]]  # the overrides of each run that it begins with
    loss: str  # of runs whose overrides name none
    seed: int  # of these, too
    epochs: int  # likewise


class Sweep(NamedTuple):
    """A sweep with all of its runs that are known by now."""

    key: str | None  # a hash of all that decided which runs there are; None if not only files did
    command: str
    runs: list[Planned]
    news: tuple[str, ...] = ()  # sentences on what its design has decided
    further: tuple[str, ...] = ()  # what may follow when these runs have ended; none: nothing does
    earlier: tuple[tuple[int, ...], ...] = ()  # seeds that each other sweep before it had finished
    began: Beginning | None = None  # from which its runs follow; None: they are all listed


def save_sweep(folder: Path, sweep: Sweep) -> None:
    """Write the record of a sweep to the folder of its runs."""
    write_whole(folder / RECORD, sealed(sweep._asdict()))


def load_sweep(folder: Path) -> Sweep | None:
    """Load the record; None where there is none or it is damaged, as it is only a shortcut."""
    try:
        content = _fields(folder / RECORD)
        key = content["key"]
        if not isinstance(key, str | None):
            return None
        return Sweep(
            key,
            str(content["command"]),
            [_read(*run) for run in content["runs"]],
            tuple(map(str, content.get("news", ()))),
            tuple(map(str, content.get("further", ()))),
            tuple(tuple(map(_seed, seeds)) for seeds in content.get("earlier", ())),
            _beginning(content.get("began")),
        )
    except DAMAGED:
        return None


def _beginning(content: Any) -> Beginning | None:
    """The beginning of a sweep from its field in the record; a ValueError if it is damaged."""
    if content is None:
        return None
    design, combinations, loss, seed, epochs = content
    if type(epochs) is not int or epochs < 1:
        raise ValueError(f"expected a number of epochs, got {epochs!r}"[:200])
    words = [[str(word) for word in combination] for combination in combinations]
    return Beginning(str(design), words, str(loss), _seed(seed), epochs)


def steps_before(record: Sweep | None, command: str) -> tuple[tuple[int, ...], ...]:
    """The seeds that each sweep before this command had finished; one with no new seed is left out.

    `record` is the one that the command finds in its folder.
    """
    if record is None or record.command == command:
        return () if record is None else record.earlier
    finished = tuple(sorted({seed for run in record.runs for seed in _finished_seeds(run.folder)}))
    known = {seed for seeds in record.earlier for seed in seeds}
    return (*record.earlier, finished) if set(finished) - known else record.earlier


def _finished_seeds(folder: Path) -> list[int]:
    """The seed in the name of a run's folder, if the run has a result."""
    match = SEED_IN_NAME.search(folder.name)
    return [int(match[1])] if match and has_result(folder) else []


def _seed(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"expected a seed, got {value!r}"[:200])
    return value


def without_result(folders: Iterable[Path]) -> list[str]:
    """Say of which folders the last sweep has runs without a result, and how many."""
    lines = []
    for folder in folders:
        sweep = load_sweep(folder)
        planned = [] if sweep is None else sweep.runs
        open_runs = sum(not has_ended(folder / run.folder.name, run.pause_after) for run in planned)
        if open_runs:
            lines.append(
                f"Of the {len(planned)} runs of the last sweep in {folder} {open_runs} have no "
                f"result yet and are not reported: xent-status {shlex.quote(str(folder))}"
            )
    return lines


def _fields(file: Path) -> dict[str, Any]:
    """The fields of the record; it was a list without a checksum before."""
    content = read_json(file)
    if isinstance(content, list):
        key, command, runs = content
        return {"key": key, "command": command, "runs": runs}
    return read_sealed(file)


def _read(
    name: str,
    command: str,
    overrides: Any,
    folder: str,
    calibrator: str,
    weights: Any,
    offline: Any,
    shift: Any = (),
    foreign: Any = (),
    pause_after: Any = None,
    model: Any = False,
    pictures: Any = False,
) -> Planned:
    PREFIXES[calibrator]  # a KeyError: it was edited
    if not isinstance(pause_after, int | None):
        raise ValueError(f"expected an epoch to pause after, got {pause_after!r}"[:200])
    typed = [str(override) for override in overrides]
    return Planned(
        *(str(name), str(command), typed, Path(folder)),
        *(calibrator, bool(weights), bool(offline)),
        shift=tuple(map(str, shift)),
        foreign=tuple(map(str, foreign)),
        pause_after=pause_after,
        model=bool(model),
        pictures=bool(pictures),
    )
