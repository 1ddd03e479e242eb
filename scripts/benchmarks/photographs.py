"""A photograph for training: decoded, cropped at random, mirrored, normalised; files and cache."""

from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from measure import Cost, by_turns, cost_of, ratio, typical
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from xent_bench.config.targets import encoder
from xent_bench.data.augment import Augmentation
from xent_bench.data.batches import Normalisation, ShuffledBatches
from xent_bench.data.image_files import MEAN, STD, ImageFiles
from xent_bench.data.preparation import Preparation
from xent_bench.data.stored_images import StoredImages, StoredWriter
from xent_bench.data.streamed import Streamed

CPU = torch.device("cpu")
CASES = {"500 x 375 to 176": (500, 375, 176), "500 x 375 to 224": (500, 375, 224)}
LARGE = {"4000 x 3000 to 224": (4000, 3000, 224)}
N, LARGE_N, BATCH = 128, 8, 8


def measured(rounds: int, *, short: bool) -> list[list[str]]:
    """Rows: milliseconds of CPU an image, and how many times that of torchvision's ImageFolder."""
    torch.set_num_threads(1)
    cases = [(name, *case, N) for name, case in CASES.items()]
    cases += [(name, *case, LARGE_N) for name, case in LARGE.items()]
    if short:
        cases = [("90 x 60 to 32", 90, 60, 32, BATCH)]
    return [row for case in cases for row in _rows(*case, rounds)]


def _rows(name: str, w: int, h: int, size: int, n: int, rounds: int) -> list[list[str]]:
    with TemporaryDirectory() as folder:
        names = _written(Path(folder), w, h, n)
        files = ImageFiles.of(Path(folder), names, Preparation.chosen(size=size))
        whole = ImageFiles.of(Path(folder), names, size)
        reference = "torchvision's ImageFolder, RandomResizedCrop"
        works: dict[str, Callable[[], object]] = {
            reference: partial(deque, _theirs(folder, size), maxlen=0),
            "crops of the whole file (data.shorter_side=0)": _ours(whole),
            "from the file": _ours(files),
            "from the cache": _ours(files.kept_in(_stored(files, Path(folder, "cache")))),
            "into the cache, once": partial(_stored, files, Path(folder, "again")),
        }
        costs = by_turns({key: _timed(work) for key, work in works.items()}, rounds)
    return [
        [
            f"{name}: {key}",
            f"{1e3 * typical(spent).cpu / n:.2f}",
            f"{ratio(costs[reference], spent).cpu:.2f}",
        ]
        for key, spent in costs.items()
    ]


def _timed(work: Callable[[], object]) -> Callable[[], Cost]:
    return lambda: cost_of(work)


def _written(folder: Path, w: int, h: int, n: int) -> list[str]:
    """Write JPEG files with the spectrum of photographs, 1 / frequency: 100 kB at 500 x 375."""
    rng = np.random.default_rng(0)
    across, down = np.fft.rfftfreq(w) * w, np.fft.fftfreq(h)[:, None] * h
    amplitude = 1 / np.maximum(1, np.hypot(across, down))[..., None]
    names = [f"{number % 2}/{number}.jpg" for number in range(n)]
    for place in range(min(n, 4)):
        waves = amplitude * np.exp(2j * np.pi * rng.random((h, w // 2 + 1, 3)))
        pixels = np.fft.irfft2(waves, (h, w), axes=(0, 1))
        pixels = 128 + 50 * (pixels - pixels.mean()) / pixels.std()
        image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
        for name in names[place::4]:
            (folder / name).parent.mkdir(exist_ok=True)
            image.save(folder / name, quality=90)
    return names


def _theirs(folder: str, size: int) -> DataLoader:
    steps = [
        v2.RandomResizedCrop(size),
        v2.RandomHorizontalFlip(),
        v2.PILToTensor(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ]
    return DataLoader(ImageFolder(folder, v2.Compose(steps)), BATCH, shuffle=True)


def _ours(files: ImageFiles) -> Callable[[], object]:
    mean, std = (torch.tensor(moment)[:, None, None] for moment in (MEAN, STD))
    batches = ShuffledBatches(
        Streamed(files, CPU, 0, flip=True),
        torch.arange(len(files)) % 2,
        Normalisation(mean, std),
        BATCH,
        encode=encoder("Index", 2, CPU),
        augmentation=Augmentation(flip=True),
        seed=0,
    )
    return lambda: deque(batches, maxlen=0)


def _stored(files: ImageFiles, folder: Path) -> StoredImages:
    folder.mkdir(exist_ok=True)
    with StoredWriter(folder) as writer:
        for number in range(len(files)):
            writer.add(files.reduced(number))
    return StoredImages(folder, 3)
