"""The record that says how to use a net's weights, as `net.json` beside them.

It lies in the folder of every finished run and among its artifacts in MLflow. It is read back as
data, and checked; `code.py` has what may be looked up by a name in it.
"""

from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from omegaconf import DictConfig

from xent_bench.config.configure import function_values
from xent_bench.config.schema import chosen_values
from xent_bench.data.batches import Batches
from xent_bench.data.image_files import ImageFiles
from xent_bench.data.image_set import ImageSet
from xent_bench.data.preparation import SEEN, Interpolation, Preparation
from xent_bench.data.vectors import Normalise, Vectors
from xent_bench.failures import DataError
from xent_bench.links import BoundLink, name_of
from xent_bench.process.provenance import PACKAGES
from xent_bench.ranges import Positive, PositiveFraction, PositiveInt, ThreadCount
from xent_bench.runs.files import NET, write_json
from xent_bench.runs.reading import LARGEST_CONFIG, read_bytes, read_sealed

NUMERIC = ("pillow", "scipy")  # they decode images, and compute links


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes the net's input: (x - mean) / std for each channel.

    `crop`, `crop_fraction`, `shorter_side` and `interpolation` say how an image file becomes `size`
    pixels; all are None for sets in memory that were read from no files of images. 'centre': the
    file is reduced to `shorter_side` and its central `size` is taken. 'centre square': the central
    square, `crop_fraction` wide, is resized. 'original': the file has that size.
    """

    size: tuple[PositiveInt, PositiveInt]  # height, width
    channels: PositiveInt
    mean: tuple[float, ...]  # of each channel, in units of uint8
    std: tuple[Positive, ...]
    crop: Literal["centre", "centre square", "original"] | None = None
    crop_fraction: PositiveFraction | None = None  # of the shorter side
    interpolation: Interpolation | None = None
    shorter_side: PositiveInt | None = None  # pixels
    vectors: Normalise | None = None  # of vectors: how each is normalised before; None: of images

    @property
    def takes_any_size(self) -> bool:
        """Whether it says how an image of any size becomes one of the net's size."""
        return self.crop in ("centre", "centre square")

    @property
    def preparation(self) -> Preparation:
        """The preparation of files that this stands for."""
        return Preparation(
            None if self.crop == "original" else self.size[0],
            self.shorter_side or 0,
            self.interpolation or "bilinear",
            self.channels,
        )


@dataclass(frozen=True)
class StoredLink:
    """How outputs become probabilities: a function's dotted name and its hyper-parameters."""

    function: str
    values: dict[str, Any]


@dataclass(frozen=True)
class NetRecord:
    """The content of `net.json`: model, preprocessing, link, temperature and arithmetic."""

    key: str  # of the run
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
    device: str  # its type: cpu or cuda
    deterministic: bool
    threads: ThreadCount  # it and the next three decide how numbers are rounded
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
    """Collect the record at a run's end; `tags` hold key, versions and the hash of the weights."""
    packages = {name: tags[name] for name in (*PACKAGES, "python")}
    return NetRecord(
        key=tags["key"],
        weights_sha256=tags["weights_sha256"],
        model={"_target_": config.model["_target_"], **function_values(config, "model")},
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
    """Write `net.json`, which appears whole; floats in it are read back bit for bit."""
    write_json(folder / NET, asdict(record))


def load_record(folder: Path) -> NetRecord:
    """Read a folder's `net.json`. A DataError of one line where it is missing or damaged."""
    file = folder / NET
    try:
        content = read_bytes(file, LARGEST_CONFIG)
        record = parsed_record(content, str(file))
        read_sealed(file)  # its checksum
    except FileNotFoundError:
        raise DataError(
            f"expected a net's record, got no {file}; a run has it when it has finished"
        ) from None
    except DataError:
        raise
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {file}: {error}") from error
    return record


def parsed_record(content: str | bytes, place: str) -> NetRecord:
    """Read the JSON of a record, from the file that `place` names.

    A DataError of one line where it is damaged, or contradicts itself.
    """
    from pydantic import TypeAdapter, ValidationError  # takes half a second, for readers only

    try:
        record = TypeAdapter(NetRecord).validate_json(content, strict=True)
        _check(record)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        reason = f"{key}: {first['msg']}" if key else first["msg"]
        raise DataError(f"cannot read {place}: {reason}") from None
    except ValueError as error:
        raise DataError(f"cannot read {place}: {error}") from error
    return record


def _preprocessing(data: ImageSet, test: Batches) -> Preprocessing:
    channels, *size = data.shape
    # `test.normalise` repeats the moments for each pixel of a row
    mean, std = (tuple(moment[:channels].tolist()) for moment in test.normalise)
    preprocessing = Preprocessing((size[0], size[1]), channels, mean, std)
    if isinstance(data.images, Vectors):
        return replace(preprocessing, vectors=data.images.normalise)
    files = data.files if data.files is not None else data.images
    if not isinstance(files, ImageFiles):
        return preprocessing
    chosen = files.preparation
    if chosen.size is None:
        return replace(preprocessing, crop="original")
    preprocessing = replace(preprocessing, interpolation=chosen.interpolation)
    if not chosen.shorter_side:
        return replace(preprocessing, crop="centre square", crop_fraction=SEEN)
    return replace(preprocessing, crop="centre", shorter_side=chosen.shorter_side)


def _stored_link(link: BoundLink) -> StoredLink:
    values = {k: v.tolist() if hasattr(v, "tolist") else v for k, v in link.keywords.items()}
    return StoredLink(name_of(link.func), values)


def _check(record: NetRecord) -> None:
    """Refuse a record that contradicts itself, or that this version would not follow."""
    preprocessing = record.preprocessing
    channels = preprocessing.channels
    shape = (channels, *preprocessing.size)
    if record.shape != shape:
        raise ValueError(f"shape: expected {shape}, got {record.shape}")
    for name, moment in (("mean", preprocessing.mean), ("std", preprocessing.std)):
        if len(moment) != channels:
            raise ValueError(
                f"preprocessing: expected {channels} numbers as {name}, got {len(moment)}"
            )
    if len(record.classes) < 2:
        raise ValueError(f"classes: expected two at least, got {len(record.classes)}")
    if preprocessing.crop_fraction not in (None, SEEN):
        raise ValueError(f"crop_fraction: expected {SEEN}, got {preprocessing.crop_fraction}")
    if (preprocessing.crop == "centre") != (preprocessing.shorter_side is not None):
        raise ValueError("shorter_side: expected it where crop is 'centre', and nowhere else")
