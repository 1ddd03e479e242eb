"""The setting of a comparison: what all its runs share, such as data, model and epochs."""

from collections.abc import Sequence
from typing import TypeAlias

from xent_bench.comparison.trials import SETTING, Natural, natural
from xent_bench.runs.begun import Unfinished
from xent_bench.runs.result import Run
from xent_bench.runs.start import CONDITIONS

Setting: TypeAlias = tuple[str, ...]

NET = "model.name="  # which of a library's nets it is


def setting_of(run: Run | Unfinished) -> Setting:
    """The setting of a run: experiment, data, model, the other parameters that `trials.SETTING`
    names as `key=value`, and last the hash of the images ('' if the run did not record it).

    The hash is part of it because different images are different data, even under one name.
    """
    keys = sorted(key for key in run.params if key.partition(".")[0] in SETTING)
    parts = [f"{key}={run.params[key]}" for key in keys]
    sha256 = run.tags.get("data_sha256", "") if isinstance(run, Run) else ""
    return run.experiment, run.params["data"], run.params["model"], *parts, sha256


def in_order_of_numbers(setting: Setting) -> tuple[list[tuple[str, Natural]], ...]:
    """Sort key of a setting that orders numbers by size: 2 epochs come before 10.

    Conditions of the data, such as noise, come last: data as they are stand before noisy ones.
    """
    parts = [(name, natural(value)) for name, _, value in (p.partition("=") for p in setting)]
    conditions = [part for part in parts if part[0].partition(".")[0] in CONDITIONS]
    return [part for part in parts if part not in conditions], conditions


def identity_of(run: Run | Unfinished) -> tuple[str, list[tuple[str, Natural]]]:
    """Sort key of a run; the order is the same for runs read from folders and from MLflow."""
    params = sorted((key, natural(str(value))) for key, value in run.params.items())
    return run.params["loss"], params


def name_of(setting: Setting, settings: Sequence[Setting]) -> str:
    """Name of a setting: data and model, and what differs from settings of the same two.

    A library's net is named with its library.
    """
    namesakes = {other for other in settings if other[:3] == setting[:3]}
    common = set.intersection(*map(set, namesakes))
    net = next((part for part in setting[3:-1] if part.startswith(NET)), "")
    distinguishing = [part for part in setting[3:-1] if part not in common and part != net]
    if len({other[:-1] for other in namesakes}) < len(namesakes):
        distinguishing.append(f"images {setting[-1][:8]}")
    model = f"{setting[2]} {net.removeprefix(NET)}" if net else setting[2]
    return ", ".join([f"{setting[1]} with {model}", *distinguishing])
