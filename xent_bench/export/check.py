"""The check of an exported file against the predictions that its run has stored."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import torch

from xent_bench.calibrators.temperature import scale
from xent_bench.data.image_files import ImageFiles
from xent_bench.data.vectors import Vectors
from xent_bench.export.calibrated_net import CalibratedNet, calibrated_net
from xent_bench.export.formats import Format
from xent_bench.failures import DataError
from xent_bench.runs.predictions import Predicted
from xent_bench.shift.images_of_test import ImagesOfTest, images_of_test
from xent_bench.trained_net import TrainedNet

# The largest difference of a probability that is allowed by default, by the precision of the run.
# In float32 two correct programs differ by about 1e-6; exported nets compute in float32, so those
# of runs in tf32 and bf16 differ by the rounding of their outputs, to 11 and 8 bits.
TOLERANCE = {"fp32": 1e-4, "tf32": 1e-2, "bf16": 1e-1}
BLOCK = 256  # images that are in memory together
WHOLE = 100  # image files that are decoded whole
DRAWN = 16  # images drawn at random, where those of test are gone

Batches: TypeAlias = Iterable[np.ndarray]


class Candidate(NamedTuple):
    """A file that was written, and the net that it stands for."""

    trained: TrainedNet
    form: Format
    file: Path


class Difference(NamedTuple):
    """How far probabilities are from others, over n examples."""

    largest: float
    n: int
    same: int  # examples with the same likeliest class


class Check(NamedTuple):
    """The differences of an exported file's probabilities to those that they stand for.

    `stored`: on test, to the stored predictions; None where test's images are gone, for the reason
    `missing`. `in_pytorch`: the same net in PyTorch, on the same inputs; None where the file itself
    was compared with what is stored. `files`: of whole image files to the stored predictions, which
    the run made of the same files; None for nets of images in memory.
    """

    tolerance: float
    runtime: str
    stored: Difference | None
    in_pytorch: Difference | None = None
    files: Difference | None = None
    missing: str = ""

    @property
    def largest(self) -> float:
        """The largest difference that has to be within the tolerance."""
        judged = (self.stored, self.in_pytorch)
        return max(part.largest for part in judged if part is not None)

    @property
    def is_within(self) -> bool:
        """Whether it is within the tolerance; a NaN is not."""
        return self.largest <= self.tolerance


def check(folder: Path, test: Predicted, candidate: Candidate, tolerance: float | None) -> Check:
    """Compare a file with the predictions that its run in `folder` has stored of `test`.

    It is run on the same images, which are read again. A file that takes whole images is compared
    in two steps: the net in PyTorch with the stored predictions, on images as test saw them, and
    the file with that net, on whole image files. DataError if the images are gone, or are others.
    """
    trained, form = candidate.trained, candidate.form
    temperature = trained.record.temperature
    scaled = scale(test.outputs.astype(np.float64), link=trained.link, temperature=temperature)
    expected = np.exp(scaled)
    images = images_of_test(folder, test.id)
    allowed = TOLERANCE[trained.record.precision] if tolerance is None else tolerance
    net = calibrated_net(trained, whole_images=True)
    if not net.takes_any_size:
        stored = difference(form.run(candidate.file, _inputs(images)), expected)
        return Check(allowed, form.runtime(), stored)
    stored = difference(_by(calibrated_net(trained), _inputs(images)), expected)
    places = np.unique(np.linspace(0, len(test.id) - 1, WHOLE).round().astype(np.int64))
    by_net: list[np.ndarray] = []

    def seen_by_both() -> Iterator[np.ndarray]:  # one picture in memory at a time
        for picture in _whole_files(images, test.id[places]):
            by_net.extend(_by(net, [picture]))
            yield picture

    by_file = np.concatenate(list(form.run(candidate.file, seen_by_both())))
    return Check(
        allowed,
        form.runtime(),
        stored,
        in_pytorch=difference(by_net, by_file),
        files=difference([by_file], expected[places]),
    )


def check_without_data(candidate: Candidate, tolerance: float | None, missing: str) -> Check:
    """Compare a file with the same net in PyTorch, on inputs drawn at random."""
    trained, form = candidate.trained, candidate.form
    net = calibrated_net(trained, whole_images=True)
    channels, h, w = trained.record.shape
    rng = np.random.default_rng(0)
    drawn: np.ndarray
    if net.takes_vectors:
        drawn = rng.standard_normal((DRAWN, channels), dtype=np.float32)
    else:
        more = (h // 2, w // 3) if net.takes_any_size else (0, 0)
        shape = (DRAWN, channels, h + more[0], w + more[1])
        drawn = rng.integers(0, 256, shape, dtype=np.uint8)
    allowed = TOLERANCE["fp32"] if tolerance is None else tolerance
    (by_file,) = form.run(candidate.file, [drawn])
    compared = difference(_by(net, [drawn]), by_file)
    return Check(allowed, form.runtime(), None, compared, missing=missing)


def difference(batches: Batches, expected: np.ndarray) -> Difference:
    """The largest difference of the probabilities of all batches to those that are expected."""
    probabilities = np.concatenate(list(batches)).astype(np.float64)
    if probabilities.shape != expected.shape:
        raise DataError(f"expected probabilities {expected.shape}, got {probabilities.shape}")
    same = int((probabilities.argmax(axis=1) == expected.argmax(axis=1)).sum())
    return Difference(float(np.abs(probabilities - expected).max()), len(expected), same)


def check_sentence(check: Check, classes: int) -> str:
    """The outcome of the check in one sentence, with its n."""
    within = f"tolerance {check.tolerance:g}"
    if check.stored is None:
        assert check.in_pytorch is not None
        compared = check.in_pytorch
        return (
            "not compared with the predictions of the run's test, whose images are not at hand "
            f"({check.missing}); largest difference to the net in PyTorch {compared.largest:.1g} "
            f"over {compared.n:,} inputs drawn at random x {classes:,} classes ({within})"
        )
    if check.in_pytorch is None:
        stored = check.stored
        return (
            f"largest difference {stored.largest:.1g} to the run's stored probabilities over "
            f"{stored.n:,} test images x {classes:,} classes, by {check.runtime} ({within}); the "
            f"same answer for {stored.same:,}"
        )
    stored, files = check.stored, check.in_pytorch
    return (
        f"largest difference {stored.largest:.1g} between the net in PyTorch and the run's stored "
        f"probabilities over {stored.n:,} test images x {classes:,} classes, and "
        f"{files.largest:.1g} between {check.runtime} and PyTorch over {files.n:,} whole image "
        f"files ({within})"
    )


def _inputs(images: ImagesOfTest) -> Iterator[np.ndarray]:
    """The images of test, or the vectors as they are stored, in the order of their ids."""
    vectors = images.data.images
    if isinstance(vectors, Vectors):
        for ids in torch.split(images.ids, BLOCK):
            yield vectors.take(ids).float().numpy()
        return
    for block in images.batches(BLOCK):
        yield block.images.numpy()


def _by(net: CalibratedNet, batches: Batches) -> Iterator[np.ndarray]:
    for batch in batches:
        yield net(torch.from_numpy(batch)).numpy()


def _whole_files(images: ImagesOfTest, ids: np.ndarray) -> Iterator[np.ndarray]:
    """Each of these files as the lines of the card read it: uint8 (1, channels, h, w)."""
    files = images.data.images
    assert isinstance(files, ImageFiles)
    for number in ids.tolist():
        yield np.ascontiguousarray(files.whole(number).transpose(2, 0, 1)[None])
