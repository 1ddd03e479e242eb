"""Checkpoints that appear whole or not at all, tell a flipped bit, and are read as data, no code.

`step0000000120-3f2a9c0e71d5b846.ckpt` has the steps taken and the SHA-256 of its content in its
name: so one rename makes both appear. The last two are kept, should the last one be damaged.
"""

import hashlib
from io import BytesIO
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from xent_bench.failures import DataError
from xent_bench.run_files import WEIGHTS
from xent_bench.whole_files import write_lasting

KEPT = 2
DIGITS = 16  # of the hash: 64 bits tell damage, which is no adversary
CHECKPOINTS = "step*.ckpt"
ORIGIN = "origin"  # key in a checkpoint: what the run was begun with


class LastingCheckpointIO(TorchCheckpointIO):
    """Written beside, flushed to the disk, renamed. (Lightning's own is atomic only within TMPDIR,
    is not flushed, and is not checked.)
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Into the folder `path`, under the checkpoint's own name; all but the last two go."""
        assert storage_options is None
        content = _packed(checkpoint)
        digest = hashlib.sha256(content).hexdigest()[:DIGITS]
        folder = Path(path)
        for part in folder.glob(f"{CHECKPOINTS}.part"):  # of a process that was killed meanwhile
            part.unlink()
        write_lasting(folder / f"step{checkpoint['global_step']:010}-{digest}.ckpt", content)
        for file in sorted(folder.glob(CHECKPOINTS))[:-KEPT]:
            file.unlink()

    def load_checkpoint(
        self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = True
    ) -> dict[str, Any]:
        """Tensors and plain values alone; Lightning moves them to their devices."""
        del map_location, weights_only  # never otherwise
        return _load(Path(path))


def last_checkpoint(folder: Path) -> tuple[Path | None, list[Path]]:
    """The last one that is what was written, and those after it that are not; these are deleted."""
    damaged: list[Path] = []
    for file in sorted(folder.glob(CHECKPOINTS), reverse=True):
        with file.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()[:DIGITS]
        if file.stem.endswith(f"-{digest}"):
            return file, damaged
        damaged.append(file)
        file.unlink()
    return None, damaged


def load_origin(path: Path) -> dict[str, Any] | None:
    """What the run of a checkpoint was begun with; None if it is older than that record."""
    origin: dict[str, Any] | None = _load(path, mmap=True).get(ORIGIN)  # the tensors stay on disk
    return origin


def save_weights(folder: Path) -> Path:
    """The trained net's state dict alone, from the run's checkpoint to `weights.pt` beside it.

    For `net.load_state_dict(torch.load(FILE, weights_only=True))`.
    """
    last, _ = last_checkpoint(folder)
    if last is None:
        raise DataError(
            f"no weights to keep without a checkpoint in {folder}; "
            "delete result.json there to train again"
        )
    state = _load(last)["state_dict"]
    weights = {name.removeprefix("net."): tensor for name, tensor in state.items()}
    write_lasting(folder / WEIGHTS, _packed(weights))
    return folder / WEIGHTS


def _packed(content: dict[str, Any]) -> memoryview:
    """In memory first: where a disk is full, torch says so in its own words, or dies."""
    buffer = BytesIO()
    torch.save(content, buffer)
    return buffer.getbuffer()


def _load(path: Path, *, mmap: bool = False) -> dict[str, Any]:
    try:
        loaded: dict[str, Any] = torch.load(path, "cpu", weights_only=True, mmap=mmap)
    except (EOFError, RuntimeError, UnpicklingError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"cannot read {path}, delete it to start again: {reason}") from error
    return loaded
