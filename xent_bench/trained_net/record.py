"""The record of what a net was trained with, beside its weights: without it they are numbers.

`net.json` lies in the folder of every finished run and among its artifacts in MLflow. It is read
back as data, and checked; `net_code.py` has what may be looked up by a name in it.
"""

import json
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from omegaconf import DictConfig

from xent_bench.config.schema import chosen_values
from xent_bench.data.batches import Batches
from xent_bench.data.image_files import SEEN, ImageFiles
from xent_bench.data.image_set import ImageSet
from xent_bench.failures import DataError
from xent_bench.links import BoundLink
from xent_bench.process.provenance import PACKAGES
from xent_bench.ranges import Positive, PositiveFraction, PositiveInt, ThreadCount
from xent_bench.runs.files import NET
from xent_bench.runs.whole_files import write_lasting

NUMERIC = ("pillow", "scipy")  # they decode images, and compute links


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes what the net takes: (x - mean) / std for each channel.

    `crop`, `crop_fraction` and `interpolation` say how an image file becomes `size` pixels; None
    for sets that lie in memory, whose images have that size.
    """

    size: tuple[PositiveInt, PositiveInt]  # height, width
    channels: PositiveInt
    mean: tuple[float, ...]  # of each channel, in units of uint8
    std: tuple[Positive, ...]
    crop: Literal["centre square"] | None = None
    crop_fraction: PositiveFraction | None = None  # of the shorter side
    interpolation: Literal["bilinear"] | None = None


@dataclass(frozen=True)
class StoredLink:
    """How outputs become probabilities: a function's dotted name, and its hyper-parameters."""

    function: str
    values: dict[str, Any]


@dataclass(frozen=True)
class NetRecord:
    """The content of `net.json`."""

    key: str  # the run's
    weights_sha256: str
    model: dict[str, Any]  # `_target_` and arguments, as in config.yaml
    loss: dict[str, Any]
    shape: tuple[PositiveInt, PositiveInt, PositiveInt]  # channels, height, width
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    link: StoredLink
    temperature: Positive
    scaled_map: str  # what the temperature divides, as 'softmax(z / T)'
    precision: Literal["fp32", "tf32", "bf16"]
    layout: Literal["channels_last"]  # in memory, of images and weights
    device: str  # the type of it: cpu, cuda
    deterministic: bool
    threads: ThreadCount  # by which numbers round, as by the three that follow
    processes: ThreadCount  # that evaluated the run together, each a part of test
    batch_size: PositiveInt  # of evaluation
    versions: dict[str, str]


def net_record(
    config: DictConfig,
    data: ImageSet,
    test: Batches,
    link: BoundLink,
    metrics: dict[str, float],
    tags: dict[str, str],
    *,
    threads: int,
    processes: int,
) -> NetRecord:
    """Collect it at a run's end; `tags` hold its key, the versions and the hash of the weights."""
    packages = {name: tags[name] for name in (*PACKAGES, "python")}
    return NetRecord(
        key=tags["key"],
        weights_sha256=tags["weights_sha256"],
        model=chosen_values(config, "model"),
        loss=chosen_values(config, "loss"),
        shape=data.shape,
        classes=data.classes,
        preprocessing=_preprocessing(data, test),
        link=_stored_link(link),
        temperature=metrics["test_ts/temperature"],
        scaled_map=tags["scaled_map"],
        precision=config.precision.value,
        layout="channels_last",
        device=test.source.device.type,
        deterministic=config.machine.deterministic,
        threads=threads,
        processes=processes,
        batch_size=test.batch_size,
        versions=packages | {name: version(name) for name in NUMERIC},
    )


def save_record(record: NetRecord, folder: Path) -> None:
    """Write `net.json`, which appears whole; a float32 in it comes back as it was."""
    write_lasting(folder / NET, json.dumps(asdict(record), indent=2, default=str))


def load_record(folder: Path) -> NetRecord:
    """Read a folder's `net.json`. A DataError of one line where it is not there, or damaged."""
    from pydantic import TypeAdapter, ValidationError  # half a second, for who reads one

    file = folder / NET
    try:
        record = TypeAdapter(NetRecord).validate_json(file.read_bytes(), strict=True)
        _check(record)
    except FileNotFoundError:
        raise DataError(
            f"expected what a net was trained with: no {file}; a run has it when it has finished"
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        reason = f"{place}: {first['msg']}" if place else first["msg"]
        raise DataError(f"cannot read {file}: {reason}") from None
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {file}: {error}") from error
    return record


def _preprocessing(data: ImageSet, test: Batches) -> Preprocessing:
    channels, *size = data.shape
    # repeated for each pixel of a row
    mean, std = (tuple(moment[:channels].tolist()) for moment in test.normalise)
    how = Preprocessing((size[0], size[1]), channels, mean, std)
    if isinstance(data.images, ImageFiles):
        how = replace(how, crop="centre square", crop_fraction=SEEN, interpolation="bilinear")
    return how


def _stored_link(link: BoundLink) -> StoredLink:
    values = {k: v.tolist() if hasattr(v, "tolist") else v for k, v in link.keywords.items()}
    return StoredLink(f"{link.func.__module__}.{link.func.__qualname__}", values)


def _check(record: NetRecord) -> None:
    """Refuse what contradicts itself, or what this version of the package would do otherwise."""
    how = record.preprocessing
    if record.shape != (how.channels, *how.size):
        raise ValueError(f"shape: expected {(how.channels, *how.size)}, got {record.shape}")
    for name, moment in (("mean", how.mean), ("std", how.std)):
        if len(moment) != how.channels:
            got = f"{how.channels} numbers as {name}, got {len(moment)}"
            raise ValueError(f"preprocessing: expected {got}")
    if len(record.classes) < 2:
        raise ValueError(f"classes: expected two at least, got {len(record.classes)}")
    if how.crop_fraction not in (None, SEEN):
        raise ValueError(f"crop_fraction: expected {SEEN}, got {how.crop_fraction}")
