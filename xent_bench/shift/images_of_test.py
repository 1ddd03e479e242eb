"""The images of test on which a finished run was tested, read again and checked to be the same."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from xent_bench.conditions.conditioned import conditioned
from xent_bench.config.schema import Train
from xent_bench.data.image_cache import kept
from xent_bench.data.image_set import ImageSet
from xent_bench.data.split import split
from xent_bench.failures import DataError
from xent_bench.process.processors import processors
from xent_bench.runs.files import CONFIG, RESULT
from xent_bench.runs.reading import read_config
from xent_bench.runs.result import load_run
from xent_bench.trained_net.code import resolved
from xent_bench.types import Images, Index, Rows


class Block(NamedTuple):
    """A block of test's images, with their ids and their places in test."""

    images: Images
    ids: Index
    places: slice


class ImagesOfTest(NamedTuple):
    """The images of test, in the order of their ids."""

    data: ImageSet
    ids: Index  # of test

    def blocks(self, size: int) -> int:
        """The number of blocks of so many images."""
        return -(-len(self.ids) // size)

    def batches(self, size: int) -> Iterator[Block]:
        """Read the images in blocks of so many; the last may be smaller."""
        device = torch.device("cpu")
        source = self.data.source(self.ids, device, processors())
        rows = source.batches(torch.arange(len(self.ids)), size)
        for start, batch in zip(range(0, len(self.ids), size), rows, strict=True):
            places = slice(start, start + len(batch))
            images = as_images(batch, source.shape)
            yield Block(images, self.ids[places], places)

    def labels(self) -> Tensor:
        """The labels of test, classes or distributions."""
        return self.data.labels[self.ids]


def as_images(rows: Rows, shape: tuple[int, int, int]) -> Images:
    """Rows of bytes as images (n, channels, h, w), which are a copy in this order."""
    channels, h, w = shape
    return rows.view(-1, h, w, channels).permute(0, 3, 1, 2).contiguous()


def images_of_test(folder: Path, ids: np.ndarray) -> ImagesOfTest:
    """Load the data that a run's folder names, as it was when the run was trained.

    DataError if the images or labels are others now.
    """
    config = stored_config(folder)
    data = load_stored(config, folder)
    expected = load_run(folder / RESULT).tags.get("data_sha256")
    if expected is not None and data.sha256() != expected:
        data, _ = conditioned(data, split(data, config.seed), config)
        if data.sha256() != expected:
            raise DataError(
                f"the images or labels are not those that the run in {folder} was tested on: "
                f"expected data of SHA-256 {expected[:16]}, got {data.sha256()[:16]}"
            )
    return ImagesOfTest(kept(data, config.machine.cache, 1), torch.from_numpy(ids))


def stored_config(folder: Path) -> DictConfig:
    """The typed config of a run, from its folder. DataError if it is missing or damaged."""
    values = read_config(folder / CONFIG)
    try:
        merged = OmegaConf.merge(OmegaConf.structured(Train), OmegaConf.create(values))
    except Exception as error:  # OmegaConf has many; a key that this version does not know
        reason = str(error).partition("\n")[0]
        raise DataError(f"cannot use {folder / CONFIG}: {reason}") from error
    assert isinstance(merged, DictConfig)
    return merged


def load_stored(config: DictConfig, folder: Path) -> ImageSet:
    """Call the data function that a stored config names, under the rules for names in a folder."""
    chosen = OmegaConf.to_container(config.data)
    assert isinstance(chosen, dict)
    try:
        data = resolved("data", {str(key): value for key, value in chosen.items()}, folder)()
    except (ValueError, OSError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"cannot load the data of the run in {folder}: {reason}") from error
    if not isinstance(data, ImageSet):
        raise DataError(f"expected an ImageSet as data of the run in {folder}, got {type(data)}")
    return data
