"""Checkpoints that appear whole or not at all, and are read as data, never as code."""

import os
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from xent_bench.failures import DataError
from xent_bench.schema import WEIGHTS


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write beside, flush to the disk, rename. (Lightning's own is atomic only within TMPDIR.)"""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Replace what is at `path`."""
        assert storage_options is None
        _save(checkpoint, Path(path))

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = True
    ) -> dict[str, Any]:
        """Tensors and plain values alone."""
        del weights_only  # never otherwise
        return _load(Path(path), map_location)


def save_weights(folder: Path) -> Path:
    """The trained net's state dict alone, from the run's checkpoint to `weights.pt` beside it.

    For `net.load_state_dict(torch.load(FILE, weights_only=True))`.
    """
    last = folder / "last.ckpt"
    if not last.exists():
        raise DataError(f"no weights to keep without {last}; delete result.json to train again")
    state = _load(last, "cpu")["state_dict"]
    weights = {name.removeprefix("net."): tensor for name, tensor in state.items()}
    _save(weights, folder / WEIGHTS)
    return folder / WEIGHTS


def _save(content: dict[str, Any], path: Path) -> None:
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def _load(path: Path, map_location: Any) -> dict[str, Any]:
    try:
        loaded: dict[str, Any] = torch.load(path, map_location=map_location, weights_only=True)
    except (OSError, EOFError, RuntimeError, UnpicklingError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"cannot read {path}, delete it to start again: {reason}") from error
    return loaded
