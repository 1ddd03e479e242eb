"""The keys of a sweep's design: which runs it consists of. They count in no run's key.

A run keeps the design under which it was trained as its tag `design`: a JSON text of the keys that
differ from their defaults. A report reads it, to state the design and its rates of error.
"""

import json
from enum import Enum
from typing import Any

from omegaconf import DictConfig

from xent_bench.config.nearest import hint
from xent_bench.metrics.reported import METRICS

DESIGN = "design"  # the tag
DEFAULTS: dict[str, Any] = {
    "trials": None,
    "sampler": "sobol",
    "sampler_seed": 0,
    "search_by": "val/top1",
    "rungs": 1,
    "confirm": 0,
    "until": "once",
    "primary": "test_ts/nll",
    "baseline": "ce",
    "max_seeds": 30,
}
DECLARED = ("primary", "baseline", "max_seeds")  # that until=decided states, also by default
# the metrics that can choose among trials: what every run may have on val, whatever its labels
CHOOSING = tuple(
    f"val/{metric.name}"
    for metric in METRICS.values()
    if metric.better is not None and "val" in metric.prefixes and not metric.needs_soft_labels
)
# the metrics that can decide between losses: those by which a report compares them
DECIDING = (
    *("test/top1", "test/top5", "test/nll", "test_ts/nll", "test/brier", "test_ts/brier"),
    *("test/ece", "test_ts/ece", "test_pc/top1", "test_pc/nll"),
)


def design_values(config: DictConfig) -> dict[str, Any]:
    """The keys of the design as plain values."""
    values = {key: config[key] for key in DEFAULTS}
    return {key: value.name if isinstance(value, Enum) else value for key, value in values.items()}


def design_tag(config: DictConfig) -> dict[str, str]:
    """The tag of a run that says to which design it belongs; empty without a design."""
    values = design_values(config)
    stated = {key: value for key, value in values.items() if value != DEFAULTS[key]}
    if values["until"] == "once":
        stated = {key: value for key, value in stated.items() if key not in DECLARED}
    else:
        stated |= {key: values[key] for key in DECLARED}
    if stated.keys() <= {"search_by", "sampler_seed"}:
        return {}
    return {DESIGN: json.dumps(stated, sort_keys=True)}


def complaint_of_design(config: DictConfig) -> tuple[str, str] | None:
    """A key of the design that is wrong or would do nothing, and why; None if all are right."""
    values = design_values(config)
    for key, metrics in (("search_by", CHOOSING), ("primary", DECIDING)):
        if values[key] not in metrics:
            expected = f"expected one of {', '.join(metrics)}, got {values[key]!r}"
            return key, f"{expected}{hint(values[key], metrics)}"
    for key, text in _idle(values).items():
        if values[key] != DEFAULTS[key]:
            return key, f"does nothing {text}"
    if values["max_seeds"] < 2:
        return "max_seeds", f"expected at least 2, got {values['max_seeds']}"
    return None


def _idle(values: dict[str, Any]) -> dict[str, str]:
    """The keys that do nothing beside the others, and why."""
    idle: dict[str, str] = {}
    if values["trials"] is None:
        idle |= dict.fromkeys(
            ("sampler", "sampler_seed"),
            "without a search; expected trials=16 or the like beside it",
        )
    elif values["sampler"] != "sobol":
        idle["rungs"] = (
            f"beside sampler={values['sampler']}, which needs whole trials to learn from"
        )
    if values["until"] == "decided":
        idle["confirm"] = "beside until=decided, which adds fresh seeds by itself"
    else:
        for key in DECLARED:
            other = "" if key == "max_seeds" else f", or xent-report --{key}"
            idle[key] = f"without until=decided; expected that beside it{other}"
    return idle
