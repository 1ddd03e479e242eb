"""The setting of a comparison: an experiment, images, a net, and how long and on what it trains."""

from collections.abc import Sequence
from typing import TypeAlias

from xent_bench.comparison.trials import SETTING, Natural, natural
from xent_bench.runs.begun import Unfinished
from xent_bench.runs.result import Run

Setting: TypeAlias = tuple[str, ...]


def setting_of(run: Run | Unfinished) -> Setting:
    """Experiment, data, model, all other parameters of the setting (`trials.SETTING`), and last the
    hash of the images, if it is known.

    Other images are other data, whatever they are called.
    """
    keys = sorted(key for key in run.params if key.partition(".")[0] in SETTING)
    parts = [f"{key}={run.params[key]}" for key in keys]
    sha256 = run.tags.get("data_sha256", "") if isinstance(run, Run) else ""
    return run.experiment, run.params["data"], run.params["model"], *parts, sha256


def in_order_of_numbers(setting: Setting) -> list[tuple[str, Natural]]:
    """A key to sort settings by: 2 epochs come before 10."""
    parts = [part.partition("=") for part in setting]
    return [(name, natural(value)) for name, _, value in parts]


def identity_of(run: Run | Unfinished) -> tuple[str, list[tuple[str, Natural]]]:
    """A run's place in an order that is the same for runs of folders and of a store."""
    params = sorted((key, natural(str(value))) for key, value in run.params.items())
    return run.params["loss"], params


def name_of(setting: Setting, settings: Sequence[Setting]) -> str:
    """Data and model, and whatever else tells this setting from one that is called the same."""
    namesakes = {other for other in settings if other[:3] == setting[:3]}
    common = set.intersection(*map(set, namesakes))
    own = [part for part in setting[3:-1] if part not in common]
    if len({other[:-1] for other in namesakes}) < len(namesakes):
        own.append(f"images {setting[-1][:8]}")
    return ", ".join([f"{setting[1]} with {setting[2]}", *own])
