"""The description of an exported net: what it takes, what it gives, and what is known about it.

It is written as `model.json`, and into the exported file itself.
"""

import math
from collections.abc import Sequence
from typing import Any

from xent_bench.metrics.reported import METRICS, RECIPE
from xent_bench.runs.result import Run
from xent_bench.trained_net.record import NetRecord

NOT_STATED = "not stated"
CALIBRATED = "test_ts"  # prefix of the numbers of what the file gives
COLOURS = {1: "grey", 3: "RGB"}
NORMAL_95 = 1.959964  # half-width of a 95 % interval, in standard errors


def describe(run: Run, record: NetRecord, licence: str | None) -> dict[str, Any]:
    """The description of a run's net as JSON has it. No part of it depends on time or machine."""
    return {
        "name": run.name,
        "task": "classification",
        "input": input_of(record),
        "output": {
            "name": "probabilities",
            "dtype": "float32",
            "shape": ["n", len(record.classes)],
            "content": "calibrated probabilities of the classes, which sum to 1",
        },
        "classes": list(record.classes),
        "metrics": metrics_of(run),
        "calibration": calibration_of(run, record),
        "n_test": run.n_test,
        "data": {"name": run.params.get("data"), "sha256": run.tags.get("data_sha256")},
        "licence": licence or NOT_STATED,
        "command": run.command,
        "run": {"key": record.key, "experiment": run.experiment},
        "weights_sha256": record.weights_sha256,
        "commit": run.tags.get("commit", "unknown"),
        "versions": record.versions,
    }


def input_of(record: NetRecord) -> dict[str, Any]:
    """The form of the input: its type, shape and range, and what happens to it inside."""
    channels, h, w = record.shape
    preprocessing = record.preprocessing
    if preprocessing.vectors is not None:
        return {
            "name": "images",
            "dtype": "float32",
            "shape": ["n", channels],
            "content": "vectors of features, as they are stored",
            "inside": f"normalisation: {preprocessing.vectors}",
        }
    sides = ("height", "width") if preprocessing.takes_any_size else (h, w)
    side = preprocessing.shorter_side  # to which a JPEG may be decoded
    return {
        "name": "images",
        "dtype": "uint8",
        "shape": ["n", channels, *sides],
        "content": f"pixels from 0 to 255, {COLOURS.get(channels, f'{channels} channels')}, "
        "upright, channels before rows before columns",
        "inside": f"{_resizing(record)}normalisation by the mean and deviation of each channel",
        **({"decoded_to": side} if side else {}),
    }


def shape_text(shape: Sequence[int | str]) -> str:
    """A shape in brackets, such as (n, 3, height, width)."""
    return f"({', '.join(map(str, shape))})"


def metrics_of(run: Run) -> dict[str, dict[str, Any]]:
    """The numbers on test after temperature scaling, with their standard errors over the images.

    Right answers have an interval too, where every label is one class. There is no standard error
    where no image differs from another, as if all answers are right: 0 would be wrong.
    """
    metrics: dict[str, dict[str, Any]] = {}
    for name, metric in METRICS.items():
        value = run.metrics.get(f"{CALIBRATED}/{name}")
        if value is None:
            continue
        metrics[name] = {"value": value, "meaning": metric.meaning}
        error = run.metrics.get(f"{CALIBRATED}_se/{name}")
        if error:
            metrics[name]["standard_error"] = error
    if "label_entropy" not in metrics:
        metrics["top1"]["interval_95"] = list(wilson(metrics["top1"]["value"], run.n_test))
    return metrics


def calibration_of(run: Run, record: NetRecord) -> dict[str, Any]:
    """The temperature with its error, and the verdict: can the probabilities be trusted?"""
    metrics = run.metrics
    ends = ("ece_low", "ece_high", "overconfidence_low", "overconfidence_high")
    return {
        "temperature": record.temperature,
        "temperature_standard_error": metrics.get(f"{CALIBRATED}_se/temperature"),
        "map": record.scaled_map,
        "link": record.link.function.rpartition(".")[2],
        "verdict": run.tags.get(f"{CALIBRATED}_verdict"),
        "verdict_on_the_recipe": run.tags.get(f"{RECIPE}_verdict"),
        "by_chance": {
            end: metrics[key] for end in ends if (key := f"{CALIBRATED}_null/{end}") in metrics
        },
    }


def wilson(share: float, n: int) -> tuple[float, float]:
    """The 95 % interval of a share of n, within 0 and 1.  Wilson, 1927."""
    z = NORMAL_95
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def _resizing(record: NetRecord) -> str:
    """The steps from an image of any size to the net's, in words; empty for nets of one size."""
    preprocessing = record.preprocessing
    size = " x ".join(map(str, preprocessing.size))
    method = f"{preprocessing.interpolation}, antialiased"
    if preprocessing.crop == "centre":
        return (
            f"reduced to {preprocessing.shorter_side} pixels on the shorter side ({method}), the "
            f"central {size} pixels taken; "
        )
    if preprocessing.crop == "centre square":
        return f"the central square, 7/8 wide, resized to {size} pixels ({method}); "
    return ""
