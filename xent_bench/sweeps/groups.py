"""The groups of a sweep: which of its missing runs may train as one, and how they are divided."""

import hashlib
import json
import re
from collections.abc import Callable, Collection, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path

from omegaconf import DictConfig

from xent_bench.config.identity import science
from xent_bench.config.kept_state import keeps_state
from xent_bench.config.schema import Compile, plain
from xent_bench.config.together_key import most_together
from xent_bench.runs.files import has_result
from xent_bench.sweeps.plan import PlannedRun

# keys in which the runs of a group may differ; those of a choice begin with its name and a dot
FREE = ("seed", "loss")
FREE_VALUES = ("loss.", "optimizer.", "schedule.")  # of the same optimizer and schedule
TRAINED = ("loss", "model", "optimizer", "schedule")  # parts that are called in each step
STEPS = re.compile(r"step(\d+)-[0-9a-f]+\.ckpt")  # the name of a checkpoint


def grouped(
    runs: Sequence[PlannedRun], jobs: int, alone: Collection[str] = ()
) -> list[list[PlannedRun]]:
    """Divide runs into groups that may train as one, of one run where it trains alone.

    A group's runs have equal kinds and equal numbers of steps in their checkpoints, and stand in
    the order of their seeds. There are at most machine.together in a group, and so many groups that
    each of `jobs` processes has one, if there are runs enough. Groups stand in the order of their
    first runs. Runs of the kinds in `alone` train alone, and so does a run that was trained and
    lacks something else, or whose folder is that of a run before it.
    """
    together: dict[tuple[str, int], list[PlannedRun]] = {}
    singles: list[list[PlannedRun]] = []
    folders: set[Path] = set()
    keeps = cache(keeps_state)  # of hundreds of runs with one loss of the user's: 10 ms for each
    for run, config in runs:
        kind = kind_of(config, keeps)
        if kind is None or kind in alone or has_result(run.folder) or run.folder in folders:
            singles.append([(run, config)])
        else:
            together.setdefault((kind, steps_saved(run.folder)), []).append((run, config))
        folders.add(run.folder)
    alike = [sorted(members, key=_seed) for members in together.values()]
    places = {id(run): place for place, (run, _) in enumerate(runs)}
    groups = [*singles, *_divided(alike, jobs)]
    return sorted(groups, key=lambda group: min(places[id(run)] for run, _ in group))


def kind_of(config: DictConfig, keeps: Callable[..., bool] = keeps_state) -> str | None:
    """A hash of all that the runs of a group have in common; None for a run that trains alone.

    A run with code that keeps state trains alone: it would see the calls of the other runs. `keeps`
    tells whether the code behind a target does.
    """
    machine = config.machine
    if most_together(config) == 1 or machine.devices > 1 or machine.compile is not Compile.none:
        return None
    targets = {group: str(config[group]["_target_"]) for group in TRAINED}
    if any(keeps(target, in_instances=group == "model") for group, target in targets.items()):
        return None
    common = {key: value for key, value in science(config).items() if not _may_differ(key)}
    common["clip_norm"] = config.clip_norm is not None  # its value may differ
    content = json.dumps([common, plain(machine)], sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()


def _may_differ(key: str) -> bool:
    return key in FREE or key.startswith(FREE_VALUES)


def steps_saved(folder: Path) -> int:
    """The number of steps that the run's newest checkpoint has; 0 without one."""
    names = (STEPS.fullmatch(file.name) for file in folder.glob("step*.ckpt"))
    return max((int(name[1]) for name in names if name), default=0)


def of_equal_steps(runs: Sequence[PlannedRun]) -> list[list[PlannedRun]]:
    """Divide runs of one kind by the steps in their checkpoints: others cannot go on as one."""
    by_steps: dict[int, list[PlannedRun]] = {}
    for run, config in runs:
        by_steps.setdefault(steps_saved(run.folder), []).append((run, config))
    return list(by_steps.values())


def parts_of(runs: Sequence[PlannedRun], parts: int) -> list[list[PlannedRun]]:
    """Divide runs into parts of equal size, give or take one; neighbours stay together."""
    ends = [len(runs) * part // parts for part in range(parts + 1)]
    return [list(runs[begin:end]) for begin, end in pairwise(ends)]


def _divided(alike: Sequence[list[PlannedRun]], jobs: int) -> list[list[PlannedRun]]:
    """Divide each list of runs that are alike, so that no group is too large and no job idle."""
    total = sum(map(len, alike))
    share = -(-total // jobs)
    parts = [-(-len(runs) // min(share, most_together(runs[0][1]))) for runs in alike]
    while sum(parts) % jobs and any(len(runs) > n for runs, n in zip(alike, parts, strict=True)):
        # one more of the kind whose groups are largest: the jobs then end at about the same time
        largest = max(range(len(alike)), key=lambda kind: len(alike[kind]) / parts[kind])
        parts[largest] += 1
    return [
        group for runs, n in zip(alike, parts, strict=True) for group in parts_of(runs, n) if group
    ]


def _seed(member: PlannedRun) -> int:
    return int(member[1].seed)
