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
from xent_bench.shift.images_of_test import as_images
from xent_bench.trained_net.record import NetRecord
from xent_bench.types import Images

KEY = "foreign"
MOST_NOISE = 10_000  # images
LOOKED_AT = 100  # files of a folder whose modes are looked at before a training
GREY_MODES = ("1", "L", "LA", "I", "I;16")  # of files, as Pillow calls them


class Wanted(NamedTuple):
    """Images that a net takes: their shape, and how many at a time."""

    shape: tuple[int, int, int]  # channels, height, width
    batch_size: int
    preparation: Preparation | None = None  # of files, where the net was trained on such

    @classmethod
    def by(cls, record: NetRecord) -> "Wanted":
        """The images that a trained net takes."""
        preprocessing = record.preprocessing
        preparation = preprocessing.preparation if preprocessing.takes_any_size else None
        return cls(record.shape, record.batch_size, preparation)


class ForeignImages(NamedTuple):
    """The images of a foreign set, and a text that says which they are and how they were resized.

    `batches` reads them as uint8 (batch, channels, h, w), in the size that the net takes.
    """

    n: int
    origin: str
    batches: Callable[[], Iterator[Images]]


def foreign_images(name: str, entry: str, wanted: Wanted, n_test: int) -> ForeignImages:
    """Find the images of a set by its name and its entry in `foreign`.

    ConfigError in one line for other channels, a set whose values are not all there, and a
    folder without images; DataError for a set or a file that cannot be read.
    """
    if entry == NOISE:
        return _noise(name, wanted, min(n_test, MOST_NOISE))
    if is_folder(entry):
        return _folder(Path(entry).expanduser().resolve(), wanted)
    return _set(entry, wanted)


def _noise(name: str, wanted: Wanted, n: int) -> ForeignImages:
    """Pixels drawn independently, as Liang et al. draw them.  2018, arXiv:1706.02690."""
    shape = wanted.shape

    def batches() -> Iterator[Images]:
        for number, start in enumerate(range(0, n, wanted.batch_size)):
            size = (min(wanted.batch_size, n - start), *shape)
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


def _set(choice: str, wanted: Wanted) -> ForeignImages:
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
    _refuse_other_channels(choice, data.shape[0], wanted)
    ids = split(data, 0).test  # the same for every seed

    def batches() -> Iterator[Images]:
        source = data.source(ids, torch.device("cpu"), processors())
        for rows in source.batches(torch.arange(len(ids)), wanted.batch_size):
            yield brought_to(as_images(rows, source.shape), wanted.shape[1:])

    origin = f"{len(ids)} images of test of data={choice}{_words(data.shape[1:], wanted)}"
    return ForeignImages(len(ids), origin, batches)


def _folder(folder: Path, wanted: Wanted) -> ForeignImages:
    """All image files at or below a folder, whatever its layout, in the order of their paths."""
    names = sorted(_image_names(folder))
    if not names:
        raise ConfigError(KEY, f"expected images in {folder}, found none")
    channels, as_test = wanted.shape[0], wanted.preparation is not None
    if channels not in (1, 3):
        raise ConfigError(KEY, f"files have 1 or 3 channels, and test's images {channels}")
    if channels == 1:
        _refuse_colour(folder, names[:LOOKED_AT])
    preparation = wanted.preparation or Preparation(None, 0, channels=channels)
    files = ImageFiles.of(folder, names, preparation)

    def batches() -> Iterator[Images]:
        silence_pillow()
        for start in range(0, len(names), wanted.batch_size):
            numbers = range(start, min(start + wanted.batch_size, len(names)))
            if channels == 1:
                _refuse_colour(folder, names[numbers.start : numbers.stop])
            decoded = (
                files.decode_one(number, None) if as_test else files.reduced(number)
                for number in numbers
            )
            yield torch.stack([_resized(image, wanted.shape[1:]) for image in decoded])

    how = (
        ", cropped and resized as test's were"
        if as_test
        else f", {_how(wanted)} where their size is another"
    )
    return ForeignImages(len(names), f"{len(names)} image files of {folder}{how}", batches)


def _image_names(folder: Path) -> Iterator[str]:
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if is_image_name(name) and not name.startswith("."):
                yield os.path.relpath(os.path.join(place, name), folder)


def _refuse_colour(folder: Path, names: list[str]) -> None:
    """Refuse files in colour where the net takes grey images."""
    for name in names:
        try:
            with Image.open(folder / name) as image:
                mode = image.mode
        except Exception:
            continue
        if mode not in GREY_MODES:
            raise ConfigError(
                KEY, f"expected grey images, as test's are, got {folder / name} in {mode}"
            )


def _refuse_other_channels(name: str, channels: int, wanted: Wanted) -> None:
    if channels != wanted.shape[0]:
        raise ConfigError(
            KEY,
            f"expected images of {wanted.shape[0]} channels, as test's have, got {name} with "
            f"{channels}",
        )


def _resized(image: Pixels, size: tuple[int, ...]) -> Images:
    batch = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]
    return brought_to(batch, size)[0]


def brought_to(images: Images, size: tuple[int, ...]) -> Images:
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


def _words(size: tuple[int, ...], wanted: Wanted) -> str:
    return "" if tuple(size) == tuple(wanted.shape[1:]) else f", {_how(wanted, size)}"


def _how(wanted: Wanted, size: tuple[int, ...] | None = None) -> str:
    h, w = wanted.shape[1:]
    before = f" from {size[0]} x {size[1]}" if size else ""
    return f"their central part resized{before} to {h} x {w} pixels (bilinear, antialiased)"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
