"""The runs of a claim among those of a folder: each cell of the design has one run.

A run belongs to an arm if all of its parameters are those that the arm's words compose to, the seed
and the tuned values apart. So a run of an earlier setting, or one that was added by hand, counts in
no verdict.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from xent_bench.claims.schema import Design, Hyper, Number
from xent_bench.claims.sweep import Asked
from xent_bench.config.configure import check_sources, check_top_level
from xent_bench.config.explain import CONFIG_ERRORS, composition_error, explain
from xent_bench.config.files import register_files
from xent_bench.config.identity import science
from xent_bench.config.schema import CONF, Machine, register_schema
from xent_bench.failures import UsageError
from xent_bench.runs.begun import Unfinished
from xent_bench.runs.result import Run

Params: TypeAlias = Mapping[str, Any]
SEED = "seed"
PLACES = ("machine=", "machine.runs=")  # words that say where runs are kept


class Cell(NamedTuple):
    """The place of a run in the design."""

    arm: str
    hyper: Hyper
    seed: int


class Cells(NamedTuple):
    """The runs of a claim's design, the cells that have none, and runs that are no part of it."""

    runs: dict[Cell, Run]
    unfinished: dict[Cell, Unfinished]
    absent: list[Cell]  # in which no run was begun
    strangers: int  # runs in the folder that the design does not have

    def is_complete(self) -> bool:
        """Whether each run of the design has ended: with a result, or because it diverged."""
        return not self.open()

    def open(self) -> list[Cell]:
        """The cells whose run is missing, or was begun and may still end with a result."""
        begun = [cell for cell, run in self.unfinished.items() if not has_diverged(run)]
        return [*self.absent, *begun]


def has_diverged(run: Unfinished) -> bool:
    """Whether training stopped because the loss was infinite or NaN: it will do so again."""
    return run.reason.startswith("Diverged")


def compose_arms(asked: Asked, added: Path | None) -> dict[str, Params]:
    """The parameters that the runs of each arm have, with the first seed and tuned values.

    A UsageError names the arm and the mistake where its words do not compose, and both arms where
    two have the same runs.
    """
    arms: dict[str, Params] = {}
    for arm, config in compose_configs(asked, added).items():
        params = _plain(science(config))
        twin = next((other for other, known in arms.items() if known == params), None)
        if twin is not None:
            raise UsageError(
                f"{asked.name}: expected arms whose runs differ, got {twin} and {arm} with the "
                "same ones"
            )
        arms[arm] = params
    return arms


def compose_configs(asked: Asked, added: Path | None) -> dict[str, DictConfig]:
    """The config of a run of each arm, with the first seed and tuned values; errors as above."""
    (first, *_) = asked.design.points()
    tuned = [f"{key}={value}" for key, value in first]
    passed = [word for word in asked.words if not word.startswith("hydra")]
    configs: dict[str, DictConfig] = {}
    register_schema()
    register_files()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for arm, words in asked.claim.arms.items():
            typed = [*asked.design.setting.split(), *words.split(), *tuned, *passed]
            with _naming(f"{asked.name}, arm {arm}", typed):
                config = compose("train", [*_searched(added), *typed])
                check_top_level(config)
                check_sources(config)
                configs[arm] = config
    return configs


def runs_folder(asked: Asked, added: Path | None) -> Path:
    """The folder of the claim's runs: machine.runs as xent-train reads it, and the sweep's name.

    Only words that can say where are composed, since a list asks this of every claim.
    """
    words = [*asked.design.setting.split(), *asked.words]
    machine = [word for word in words if word.startswith(PLACES)]
    return Path(_machine_runs(tuple(machine), added), asked.sweep_name)


@cache
def _machine_runs(words: tuple[str, ...], added: Path | None) -> str:
    """The value of machine.runs with these words on the command line."""
    if not words:
        return Machine.runs
    register_schema()
    register_files()
    with initialize_config_dir(str(CONF), version_base="1.3"), _naming("the folder of runs", words):
        return str(compose("train", [*_searched(added), *words]).machine.runs)


def _searched(added: Path | None) -> list[str]:
    """The word that adds a user's folder to those in which Hydra looks for files."""
    return [] if added is None else [f"hydra.searchpath=['file://{added.resolve()}']"]


@contextmanager
def _naming(what: str, words: Sequence[str]) -> Iterator[None]:
    """A context in which a mistake in words of a config becomes a UsageError that names it."""
    try:
        yield
    except Exception as error:  # Hydra raises anything
        cause = composition_error(error)
        if not isinstance(cause, CONFIG_ERRORS):
            raise
        raise UsageError(f"{what}: {explain(cause, words)}") from error


def cells_of(
    asked: Asked,
    arms: Mapping[str, Params],
    runs: Sequence[Run],
    unfinished: Sequence[Unfinished],
) -> Cells:
    """Place the runs of a folder in the design."""
    finished = {cell: run for run in runs if (cell := _cell(asked, arms, run.params))}
    begun = {cell: run for run in unfinished if (cell := _cell(asked, arms, run.params))}
    begun = {cell: run for cell, run in begun.items() if cell not in finished}
    absent = [cell for cell in all_cells(asked) if cell not in finished and cell not in begun]
    placed = len(finished) + len(begun)
    return Cells(finished, begun, absent, len(runs) + len(unfinished) - placed)


def all_cells(asked: Asked) -> list[Cell]:
    """Every cell of the design."""
    return [
        Cell(arm, point, seed)
        for arm in asked.claim.arms
        for point in asked.design.points()
        for seed in range(asked.design.seeds)
    ]


def _cell(asked: Asked, arms: Mapping[str, Params], params: Params) -> Cell | None:
    """The cell of a run with these parameters; None if the design has no such run."""
    design, given = asked.design, _plain(params)
    tuned = {key: given.pop(key, None) for key in design.tuning}
    seed = given.pop(SEED, None)
    arm = next((arm for arm, wanted in arms.items() if given == _fixed(wanted, design)), None)
    if arm is None:
        return None
    point = next((p for p in design.points() if _equal(dict(p), tuned)), None)
    in_design = isinstance(seed, int | float) and seed in range(design.seeds)
    return Cell(arm, point, int(seed)) if point is not None and in_design else None


def _fixed(params: Params, design: Design) -> dict[str, Any]:
    """The parameters that all runs of an arm share."""
    return {key: value for key, value in params.items() if key not in (SEED, *design.tuning)}


def _equal(values: Mapping[str, Number], others: Params) -> bool:
    return all(others[key] == value for key, value in values.items())


def _plain(params: Params) -> dict[str, Any]:
    """The parameters as a result holds them, in which 2 and 2.0 are equal."""
    plain: dict[str, Any] = json.loads(json.dumps(dict(params), default=str))
    return plain
