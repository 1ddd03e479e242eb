"""The shifts and the foreign images that a config asks for, by the names of their numbers."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig

from xent_bench.config.choices import choices_of
from xent_bench.config.nearest import nearest
from xent_bench.config.published_names import FIVE, published_severities
from xent_bench.config.schema import plain
from xent_bench.failures import DataError
from xent_bench.metrics.shifts import ALL, COMPUTED, FIFTEEN, FOUR, PUBLISHED, condition

NOISE = "noise"  # stands for both kinds of it
NOISES = ("noise_uniform", "noise_gaussian")
NAME = re.compile(r"[\w. -]{1,100}")  # of a set, as it stands in keys
LAYOUTS = (
    "NAME.npy and labels.npy (CIFAR-10-C), NAME/test_images.npy (MNIST-C) or NAME/1/CLASS/FILE "
    "(ImageNet-C)"
)
NOT_IN_NAMES = re.compile(r"[^\w.-]+")


class ShiftAsked(NamedTuple):
    """Requests to a trained net: corruptions of test's images, and foreign images."""

    conditions: tuple[str, ...]  # as 'fog/3'
    root: str | None  # the folder of published corrupted images; None: computed
    foreign: dict[str, str]  # by the name of the set: a choice of data, a folder, or 'noise'

    def __bool__(self) -> bool:
        """Whether anything is asked for."""
        return bool(self.conditions or self.foreign)


def shift_asked(config: DictConfig) -> ShiftAsked:
    """Read the requests of a config that `complaint_of_shift` has nothing against."""
    shift = config.shift
    conditions = conditions_of(shift.names, shift.severities, shift.root)
    return ShiftAsked(conditions, shift.root, foreign_of(config.foreign))


def complaint_of_shift(config: DictConfig) -> tuple[str, str] | None:
    """The key at fault and the complaint about it; None without one. Only names are looked at."""
    shift = config.shift
    if shift.root is not None and not Path(shift.root).expanduser().is_dir():
        return "shift.root", f"expected a folder of published images, got no folder {shift.root}"
    there = severities_of_each(shift.root)
    if shift.root is not None and shift.names and not there:
        return "shift.root", f"expected {LAYOUTS}, got none in {shift.root}"
    if wrong := [name for name in shift.names if name not in (ALL, *there)]:
        return (
            "shift.names",
            f"no such corruption as {wrong[0]}; {nearest(wrong[0], (ALL, *there))}",
        )
    if shift.names and not shift.severities:
        return "shift.severities", "expected one of 1 to 5 at least, got none"
    for name in shift.names:
        levels = there.get(name, tuple(level for levels in there.values() for level in levels))
        if not set(shift.severities) & set(levels):
            listed = ", ".join(map(str, sorted(set(levels))))
            return "shift.severities", f"{name} of {shift.root} has severity {listed} alone"
    return _complaint_of_foreign(config.foreign, plain(config.data))


def refuse_other_images(asked: ShiftAsked, tags: Mapping[str, str]) -> None:
    """Raise a DataError where a run has scores of the same names on other images.

    `tags` are those of its result: whether images were computed or published, and which images a
    foreign set has.
    """
    wanted = COMPUTED if asked.root is None else PUBLISHED
    earlier = tags.get("shift_images", wanted)
    if asked.conditions and earlier != wanted:
        root = "with shift.root" if earlier == PUBLISHED else "without shift.root"
        raise DataError(
            f"shift.root: the run has scores on {earlier} images, and those on {wanted} ones would "
            f"have the same names; expected it {root}, or another name=NAME for another run"
        )
    for name, entry in asked.foreign.items():
        origin = tags.get(f"foreign_{name}")
        if origin is not None and is_folder(entry):
            folder = Path(entry).expanduser().resolve()
            if f" of {folder}," not in f"{origin},":
                raise DataError(
                    f"foreign: {name} of this run is {origin}, and not {folder}; expected a folder "
                    "of another name"
                )


def conditions_of(
    names: Iterable[str], severities: Iterable[int], root: str | None = None
) -> tuple[str, ...]:
    """The corruptions at their severities, each once, in the order of the published tables.

    `all` are the fifteen; where a folder of published images lacks one of these, all it has. Of
    its severities those that it has are taken.
    """
    there = severities_of_each(root)
    every = FIFTEEN if set(FIFTEEN) <= there.keys() else tuple(there)
    wanted = {other for name in names for other in (every if name == ALL else (name,))}
    ordered = [name for name in dict.fromkeys((*FIFTEEN, *FOUR, *there)) if name in wanted]
    levels = sorted(set(severities))
    return tuple(
        condition(name, level) for name in ordered for level in levels if level in there[name]
    )


def severities_of_each(root: str | None) -> Mapping[str, tuple[int, ...]]:
    """The severities of each corruption: computed ones without a folder, else those in it."""
    if root is None:
        return dict.fromkeys((*FIFTEEN, *FOUR), FIVE)
    return published_severities(Path(root).expanduser())


def foreign_of(entries: Iterable[str]) -> dict[str, str]:
    """The foreign sets by their names: `noise` is two, and a folder has its last name."""
    sets: dict[str, str] = {}
    for entry in entries:
        if entry == NOISE:
            sets |= dict.fromkeys(NOISES, NOISE)
        else:
            sets[_name(entry)] = entry
    return sets


def is_folder(entry: str) -> bool:
    """Whether an entry of `foreign` is the path of a folder, by the look of it."""
    return "/" in entry or entry.startswith(("~", "."))


def _name(entry: str) -> str:
    if not is_folder(entry):
        return entry
    return NOT_IN_NAMES.sub("_", Path(entry).expanduser().resolve().name)


def _complaint_of_foreign(entries: Sequence[str], data: dict[str, Any]) -> tuple[str, str] | None:
    data_of_run = str(data.get("_target_", "")).rpartition(".")[2]
    names: dict[str, str] = {}
    for entry in entries:
        if complaint := _complaint_of_entry(entry, data_of_run):
            return "foreign", complaint
        for name in foreign_of([entry]):
            if names.setdefault(name, entry) != entry:
                other = f"{names[name]} and {entry} would both be called {name}"
                return "foreign", f"{other}; expected other names of folders"
    return None


def _complaint_of_entry(entry: str, data_of_run: str) -> str:
    """The complaint about one foreign set; empty without one."""
    choices = choices_of("data")
    if is_folder(entry):
        name = _name(entry)
        if not Path(entry).expanduser().is_dir():
            return f"expected a folder of images, got no folder {entry}"
        if not NAME.fullmatch(name) or name in (*NOISES, *choices):
            return f"{entry}: expected a folder whose name can be a set's, and is not one's already"
    elif entry not in (NOISE, *choices):
        a_folder = f"; a folder is typed as ./{entry}" if Path(entry).is_dir() else ""
        return f"no such data as {entry}; {nearest(entry, (NOISE, *choices))}{a_folder}"
    elif entry == data_of_run:
        return f"{entry} is the run's own data; expected images that are foreign to it"
    return ""
