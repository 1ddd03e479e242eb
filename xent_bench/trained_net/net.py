"""Trained nets that give log-probabilities, read from a run's folder or a copy of its artifacts.

    net = load("runs/default/ce-digits-cnn-s0-1a2b3c4d5e")
    log_p = net(images)  # uint8, (n, channels, h, w)

These are the log-probabilities of the run's own test: bit for bit on the same machine, if as many
images are given in the same order.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from xent_bench.calibrators.temperature import scale
from xent_bench.data.batches import Batches, Normalisation
from xent_bench.data.gathered import Gathered
from xent_bench.data.image_files import ImageFiles
from xent_bench.data.originals import in_memory
from xent_bench.data.resident import Resident
from xent_bench.data.vectors import DTYPES, Vectors
from xent_bench.failures import DataError
from xent_bench.links import BoundLink
from xent_bench.process.arithmetic import arithmetic, plain_torch
from xent_bench.runs.files import NET
from xent_bench.trained_net.code import build_link, build_model
from xent_bench.trained_net.record import NetRecord, load_record
from xent_bench.trained_net.weights import load_weights, weights_sha256

File: TypeAlias = str | os.PathLike[str]
ReadWeights: TypeAlias = Callable[[], tuple[dict[str, Tensor], Path]]


@dataclass(frozen=True)
class TrainedNet:
    """A net in evaluation mode, with everything else that its log-probabilities depend on."""

    net: nn.Module
    record: NetRecord
    link: BoundLink
    device: torch.device

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the outputs."""
        return self.record.classes

    def __call__(self, images: Tensor, *, calibrated: bool = True) -> Tensor:
        """Log-probabilities (n, classes) in float64 of uint8 images (n, channels, h, w).

        After temperature scaling; with `calibrated=False` as trained. ValueError for images of
        another type or size, and for `calibrated=False` where the loss's scores are no
        probabilities, such as a hinge's.
        """
        outputs = self.outputs(images).numpy().astype(np.float64)
        with np.errstate(invalid="ignore"):  # as in evaluation
            temperature = self.record.temperature
            scaled = partial(scale, link=self.link, temperature=temperature)
            log_p = scaled(outputs) if calibrated else self.link(outputs)
        if log_p is None:
            raise ValueError(
                f"expected calibrated=True, got False: scores read by {self.link.func.__name__} "
                "are no probabilities as trained"
            )
        return torch.from_numpy(log_p)

    def outputs(self, images: Tensor) -> Tensor:
        """The net's raw outputs (n, classes) in float32 of uint8 images (n, channels, h, w)."""
        self._check(images)
        record = self.record
        if not len(images):
            return torch.empty(0, len(record.classes))
        tf32 = record.precision == "tf32"
        as_tested = arithmetic(
            tf32=tf32, deterministic=record.deterministic, threads=record.threads
        )
        with plain_torch(self.device.type), as_tested, torch.no_grad():
            parts = [part for part in images.tensor_split(record.processes) if len(part)]
            return torch.cat([outputs for part in parts for outputs in self._batches(part)]).cpu()

    def read(self, files: Sequence[File] | File) -> Tensor:
        """Decode image files to uint8 (n, channels, h, w), cropped and resized as test's were.

        DataError names a file that cannot be read, or that has another size where files were
        trained on as they are. ValueError for a net that was trained on images
        in memory: its record does not say how a file becomes such an image.
        """
        preprocessing = self.record.preprocessing
        if preprocessing.crop is None:
            raise ValueError(
                "expected a net trained on image files, got one trained on images in memory: "
                f"it takes {self._expected()}"
            )
        listed = [files] if isinstance(files, str | os.PathLike) else files
        names = [os.fspath(file) for file in listed]
        image_files = ImageFiles.of(Path(), names, preprocessing.preparation)
        if preprocessing.crop == "original":
            return in_memory(image_files, preprocessing.size)
        decoded = image_files.decode([(number, None) for number in range(len(names))])
        return torch.from_numpy(decoded).permute(0, 3, 1, 2)

    def _batches(self, images: Tensor) -> list[Tensor]:
        """The outputs of each batch, batched and normalised as test was."""
        moments = (self.record.preprocessing.mean, self.record.preprocessing.std)
        mean, std = (torch.tensor(moment)[:, None, None] for moment in moments)
        ids = torch.arange(len(images))
        kind = self.record.preprocessing.vectors
        source: Resident | Gathered
        if kind is None:
            source = Resident(images, self.device)
        else:
            vectors = Vectors((images.flatten(1),), normalise=kind)
            source = Gathered(vectors, ids, self.device)
        batches = Batches(source, (), ids, Normalisation(mean, std), self.record.batch_size)
        return [self._outputs(pixels) for pixels, _ in batches]

    def _outputs(self, pixels: Tensor) -> Tensor:
        if self.record.precision != "bf16":
            outputs: Tensor = self.net(pixels)
            return outputs
        with torch.autocast(self.device.type, torch.bfloat16):  # as the Classifier does
            return self.net(pixels).float()  # type: ignore[no-any-return]

    def _check(self, images: Tensor) -> None:
        if not isinstance(images, Tensor):
            raise ValueError(f"expected {self._expected()}, got {type(images).__name__}")
        if self.record.preprocessing.vectors is None:
            fits = images.dtype == torch.uint8 and tuple(images.shape[1:]) == self.record.shape
        else:
            shapes = (self.record.shape, self.record.shape[:1])
            fits = images.dtype in DTYPES and tuple(images.shape[1:]) in shapes
        if not fits:
            got = f"{images.dtype} of shape {tuple(images.shape)}"
            raise ValueError(f"expected {self._expected()}, got {got}")

    def _expected(self) -> str:
        channels, h, w = self.record.shape
        if self.record.preprocessing.vectors is not None:
            return f"vectors in torch.float16 or torch.float32 of shape (n, {channels})"
        return f"images in torch.uint8 of shape (n, {channels}, {h}, {w})"


def load(folder: File, *, device: str | None = None) -> TrainedNet:
    """Load the net of a finished run, or of a folder with its `net.json` and `weights.pt`.

    Weights come from `weights.pt`, else from the run's last checkpoint. Device: the kind that the
    run was tested on, where there is one. A DataError of one line where a file is missing or
    damaged, or where the weights are not those that were tested.
    """
    folder = Path(folder)
    record = load_record(folder)
    return assembled(record, folder / NET, lambda: load_weights(folder), device=device)


def assembled(
    record: NetRecord, source: Path, read_weights: ReadWeights, *, device: str | None = None
) -> TrainedNet:
    """Build the net of a record, and give it its weights; `source` is the file of the record.

    `read_weights` is called when the net is built, and returns the weights with their file. Errors
    and device are as for `load`; no code is taken from the folder of `source`.
    """
    with plain_torch("cpu"):
        net = _build(record, source)
    weights, file = read_weights()
    try:
        net.load_state_dict(weights)
    except Exception as error:  # other code, or another file
        reason = " ".join(str(error).split())[:300]
        raise DataError(f"{file} does not fit the net of {source}: {reason}") from error
    actual = weights_sha256(net)
    if actual != record.weights_sha256:
        expected = record.weights_sha256
        raise DataError(
            f"{file}: expected the weights that were tested, of SHA-256 {expected}, got {actual}"
        )
    try:
        link = build_link(record, source.parent)
    except ValueError as error:
        raise DataError(f"cannot use {source}: {_one_line(error)}") from error
    default = "cuda" if record.device == "cuda" and torch.cuda.is_available() else "cpu"
    used = torch.device(device or default)
    net = net.to(memory_format=torch.channels_last).to(used).eval()
    return TrainedNet(net, record, link, used)


def _build(record: NetRecord, source: Path) -> nn.Module:
    with torch.random.fork_rng(devices=[]):  # initial weights are drawn, then overwritten
        try:
            net = build_model(record, source.parent)
        except Exception as error:  # a user's model may raise anything
            raise DataError(f"cannot use {source}: {_one_line(error)}") from error
    if not isinstance(net, nn.Module):
        got = type(net).__name__
        raise DataError(f"cannot use {source}: expected its model to be a net, got {got}")
    return net


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
