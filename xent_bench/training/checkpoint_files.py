"""Checkpoint files: they appear whole or not at all, and are read as data, never as code.

The name `step0000000120-3f2a9c0e71d5b846.ckpt` holds the number of steps and the SHA-256 of the
content, by which a flipped bit is noticed; one rename makes content and hash appear together. The
last two are kept, in case the last one is damaged.
"""

import hashlib
from pathlib import Path
from typing import Any

from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import Tensor
from torch.optim import Optimizer

from xent_bench.failures import DataError
from xent_bench.runs.whole_files import write_lasting
from xent_bench.trained_net.weights import CHECKPOINTS, HASH_DIGITS, is_whole, load_tensors, packed
from xent_bench.training.within_epoch import KEY as WITHIN_EPOCH

KEPT = 2
CONTENT = {  # keys of a checkpoint, and their types
    "state_dict": dict,
    "optimizer_states": list,
    "loops": dict,
    "callbacks": dict,
    "epoch": int,
    "global_step": int,
}
ORIGIN = "origin"  # key in a checkpoint: the run's key, data, splits and code at its start


class LastingCheckpointIO(TorchCheckpointIO):
    """Lightning's reader and writer of checkpoints, made safe.

    A file is written beside its place, flushed to the disk and renamed. (Lightning's own is atomic
    only within TMPDIR, is not flushed, and is not checked.)
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write a file into the folder `path`, and delete all but the last two."""
        assert storage_options is None
        content = packed(checkpoint)
        digest = hashlib.sha256(content).hexdigest()[:HASH_DIGITS]
        folder = Path(path)
        for part in folder.glob(f"{CHECKPOINTS}.part"):  # left by a process that was killed
            part.unlink()
        write_lasting(folder / f"step{checkpoint['global_step']:010}-{digest}.ckpt", content)
        for file in sorted(folder.glob(CHECKPOINTS))[:-KEPT]:
            file.unlink()

    def load_checkpoint(
        self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = True
    ) -> dict[str, Any]:
        """Read tensors and plain values alone; Lightning moves them to their devices."""
        del map_location, weights_only  # always "cpu" and True
        checkpoint = load_tensors(Path(path))
        for key, kind in CONTENT.items():
            if not isinstance(checkpoint.get(key), kind):
                got = type(checkpoint.get(key)).__name__
                raise DataError(
                    f"{path} is no checkpoint of a run: expected {key} of type {kind.__name__}, "
                    f"got {got}; delete it to go on without"
                )
        if len(checkpoint["optimizer_states"]) != 1:  # else it would begin anew, in silence
            raise DataError(
                f"{path} is no checkpoint of a run: expected the state of one optimizer, got "
                f"{len(checkpoint['optimizer_states'])}; delete it to go on without"
            )
        return checkpoint


def refuse_foreign_moments(optimizer: Optimizer) -> None:
    """Raise a ValueError if the state of a weight has another shape than the weight.

    A fused step of PyTorch's does not look, and would read memory beside it.
    """
    for weight, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.ndim and value.shape != weight.shape:
                expected, got = tuple(weight.shape), tuple(value.shape)
                raise ValueError(f"expected {name} of shape {expected}, got {got}")


def last_checkpoint(folder: Path) -> tuple[Path | None, list[Path]]:
    """The newest undamaged checkpoint, or None; and the later, damaged ones, now deleted."""
    damaged: list[Path] = []
    for file in sorted(folder.glob(CHECKPOINTS), reverse=True):
        if is_whole(file):
            return file, damaged
        damaged.append(file)
        file.unlink()
    return None, damaged


def newest_checkpoint(folder: Path) -> Path | None:
    """The newest undamaged checkpoint, or None; prints which later ones were damaged."""
    newest, damaged = last_checkpoint(folder)
    if damaged:
        where = f"from {newest.name}" if newest else "from the start"
        print(f"damaged: {', '.join(map(str, damaged))}; going on {where}", flush=True)
    return newest


def epochs_in(path: Path) -> int:
    """The whole epochs that a run had trained when the checkpoint was saved.

    A DataError for a file that something else has written.
    """
    checkpoint = load_tensors(path, mmap=True)
    epoch = checkpoint.get("epoch")  # counted from 0: the one that was trained last
    if not isinstance(epoch, int):
        raise DataError(f"{path} does not say how far it is; delete it to train anew")
    return epoch + (WITHIN_EPOCH not in checkpoint)


def load_origin(path: Path) -> dict[str, Any]:
    """Read the origin of the run that a checkpoint belongs to; its tensors stay on the disk.

    A DataError if there is none, as in a checkpoint that something else has written.
    """
    origin = load_tensors(path, mmap=True).get(ORIGIN)
    if not isinstance(origin, dict):
        raise DataError(f"{path} does not say which run it is of; delete it to train anew")
    return origin
