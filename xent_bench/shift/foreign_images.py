"""Foreign images, brought to the size that a net takes: another data set, a folder, or noise."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from omegaconf import OmegaConf
from PIL import Image
from torch.nn import functional as F

from xent_bench.config.configure import ConfigError, configured
from xent_bench.config.schema import CONF
from xent_bench.config.shift_asked import NOISE, is_folder
from xent_bench.data.batches import pixels
from xent_bench.data.class_folders import is_image_name
from xent_bench.data.cropping import Pixels
from xent_bench.data.decoding import silence_pillow
from xent_bench.data.image_files import ImageFiles
from xent_bench.data.image_set import ImageSet
from xent_bench.data.preparation import Preparation
from xent_bench.data.split import split
from xent_bench.data.vectors import Vectors
from xent_bench.failures import DataError
from xent_bench.process.processors import processors
from xent_bench.randomness import generator
from xent_bench.trained_net.record import NetRecord
from xent_bench.types import Images

KEY = "foreign"
MOST_NOISE = 10_000  # images
GREY_MODES = ("1", "L", "LA", "I", "I;16")  # of files, as Pillow calls them


class ForeignImages(NamedTuple):
    """The images of a foreign set, and a text that says which they are and how they were resized.

    `batches` reads them as uint8 (batch, channels, h, w), in the size that the net takes.
    """

    n: int
    origin: str
    batches: Callable[[], Iterator[Images]]


def foreign_images(name: str, entry: str, record: NetRecord, n_test: int) -> ForeignImages:
    """Find the images of a set by its name and its entry in `foreign`.

    ConfigError in one line for vectors, other channels, a set whose values are not all there, and a
    folder without images; DataError for a set or a file that cannot be read.
    """
    if record.preprocessing.vectors is not None:
        raise ConfigError(
            KEY, "are images, and the run's data are vectors; expected data of images"
        )
    if entry == NOISE:
        return _noise(name, record, min(n_test, MOST_NOISE))
    if is_folder(entry):
        return _folder(Path(entry).expanduser().resolve(), record)
    return _set(entry, record)


def _noise(name: str, record: NetRecord, n: int) -> ForeignImages:
    """Pixels drawn independently, as Liang et al. draw them.  2018, arXiv:1706.02690."""
    shape = record.shape

    def batches() -> Iterator[Images]:
        for number, start in enumerate(range(0, n, record.batch_size)):
            size = (min(record.batch_size, n - start), *shape)
            rng = generator(0, name, number)
            if name.endswith("uniform"):
                yield torch.randint(256, size, generator=rng, dtype=torch.uint8)
            else:
                drawn = 0.5 + torch.randn(size, generator=rng)
                yield (255 * drawn.clamp(0, 1)).round().to(torch.uint8)

    kind = (
        "uniform in 0 to 255"
        if name.endswith("uniform")
        else "normal with mean 0.5 and standard deviation 1, cut to 0 to 1"
    )
    return ForeignImages(n, f"{n} images of independent pixels, {kind}", batches)


def _set(choice: str, record: NetRecord) -> ForeignImages:
    """The test split of a data choice with the values of its file in conf."""
    config = OmegaConf.create({"data": OmegaConf.load(CONF / "data" / f"{choice}.yaml")})
    if missing := sorted(OmegaConf.missing_keys(config)):
        raise ConfigError(KEY, f"{choice} has no images without {missing[0]}; expected a folder")
    try:
        data = configured(config, "data")()
    except ConfigError:
        raise
    except (ValueError, OSError) as error:
        raise DataError(
            f"foreign={choice} is data={choice} with the values in its file: {_one_line(error)}"
        ) from error
    if not isinstance(data, ImageSet) or isinstance(data.images, Vectors):
        raise ConfigError(KEY, f"{choice} has vectors; expected a set of images")
    _refuse_other_channels(choice, data.shape[0], record)
    ids = split(data, 0).test  # the same for every seed

    def batches() -> Iterator[Images]:
        source = data.source(ids, torch.device("cpu"), processors())
        for rows in source.batches(torch.arange(len(ids)), record.batch_size):
            yield _brought_to(pixels(rows, source.shape), record.shape[1:])

    origin = f"{len(ids)} images of test of data={choice}{_words(data.shape[1:], record)}"
    return ForeignImages(len(ids), origin, batches)


def _folder(folder: Path, record: NetRecord) -> ForeignImages:
    """All image files at or below a folder, whatever its layout, in the order of their paths."""
    names = sorted(_image_names(folder))
    if not names:
        raise ConfigError(KEY, f"expected images in {folder}, found none")
    preprocessing, channels = record.preprocessing, record.shape[0]
    as_test = preprocessing.crop in ("centre", "centre square")
    preparation = preprocessing.preparation if as_test else Preparation(None, 0, channels=channels)
    files = ImageFiles.of(folder, names, preparation)

    def batches() -> Iterator[Images]:
        silence_pillow()
        for start in range(0, len(names), record.batch_size):
            numbers = range(start, min(start + record.batch_size, len(names)))
            if channels == 1:
                _refuse_colour(folder, names, numbers)
            decoded = (
                files.decode_one(number, None) if as_test else files.reduced(number)
                for number in numbers
            )
            yield torch.stack([_resized(image, record.shape[1:]) for image in decoded])

    how = (
        ", cropped and resized as test's were"
        if as_test
        else f", {_how(record)} where their size is another"
    )
    return ForeignImages(len(names), f"{len(names)} image files of {folder}{how}", batches)


def _image_names(folder: Path) -> Iterator[str]:
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if is_image_name(name) and not name.startswith("."):
                yield os.path.relpath(os.path.join(place, name), folder)


def _refuse_colour(folder: Path, names: list[str], numbers: range) -> None:
    """Refuse files in colour where the net takes grey images."""
    for number in numbers:
        try:
            with Image.open(folder / names[number]) as image:
                mode = image.mode
        except Exception:
            continue
        if mode not in GREY_MODES:
            raise ConfigError(
                KEY, f"expected grey images, as test's are, got {folder / names[number]} in {mode}"
            )


def _refuse_other_channels(name: str, channels: int, record: NetRecord) -> None:
    if channels != record.shape[0]:
        raise ConfigError(
            KEY,
            f"expected images of {record.shape[0]} channels, as test's have, got {name} with "
            f"{channels}",
        )


def _resized(image: Pixels, size: tuple[int, ...]) -> Images:
    batch = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]
    return _brought_to(batch, size)[0]


def _brought_to(images: Images, size: tuple[int, ...]) -> Images:
    """Cut the largest central part of the wanted proportions, and resize it, with antialiasing."""
    h, w = images.shape[2:]
    if (h, w) == tuple(size):
        return images.contiguous()
    scale = min(h / size[0], w / size[1])
    height, width = max(1, round(scale * size[0])), max(1, round(scale * size[1]))
    top, left = (h - height) // 2, (w - width) // 2
    part = images[:, :, top : top + height, left : left + width].float()
    resized = F.interpolate(part, tuple(size), mode="bilinear", antialias=True)
    return resized.round().clamp(0, 255).to(torch.uint8)


def _words(size: tuple[int, ...], record: NetRecord) -> str:
    return "" if tuple(size) == tuple(record.shape[1:]) else f", {_how(record, size)}"


def _how(record: NetRecord, size: tuple[int, ...] | None = None) -> str:
    h, w = record.shape[1:]
    before = f" from {size[0]} x {size[1]}" if size else ""
    return f"their central part resized{before} to {h} x {w} pixels (bilinear, antialiased)"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
