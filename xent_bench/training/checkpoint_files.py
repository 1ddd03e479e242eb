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
from torch import Tensor, nn

from xent_bench.failures import DataError
from xent_bench.runs.files import WEIGHTS
from xent_bench.runs.whole_files import write_lasting

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
        if _is_whole(file):
            return file, damaged
        damaged.append(file)
        file.unlink()
    return None, damaged


def newest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint to go on from, as `last_checkpoint`; prints which ones were damaged."""
    newest, damaged = last_checkpoint(folder)
    if damaged:
        where = f"from {newest.name}" if newest else "from the start"
        print(f"damaged: {', '.join(map(str, damaged))}; going on {where}", flush=True)
    return newest


def load_origin(path: Path) -> dict[str, Any] | None:
    """Read what the run of a checkpoint was begun with; None where it is older than the record."""
    origin: dict[str, Any] | None = _load(path, mmap=True).get(ORIGIN)  # the tensors stay on disk
    return origin


def _is_whole(file: Path) -> bool:
    """Whether a checkpoint holds what was written."""
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()[:DIGITS]
    return file.stem.endswith(f"-{digest}")


def save_weights(folder: Path) -> Path:
    """The trained net's state dict alone, from the run's checkpoint to `weights.pt` beside it.

    `xent_bench.trained_net.net.load` reads it.
    """
    last, _ = last_checkpoint(folder)
    if last is None:
        raise DataError(
            f"no weights to keep without a checkpoint in {folder}; "
            "delete result.json there to train again"
        )
    write_lasting(folder / WEIGHTS, _packed(_net_state(last)))
    return folder / WEIGHTS


def load_weights(folder: Path) -> tuple[dict[str, Tensor], Path]:
    """The trained net's state dict, and the file that it is from; nothing is changed or deleted.

    `weights.pt`, else the last checkpoint that is whole. DataError if there is neither, or if the
    file cannot be read.
    """
    file = folder / WEIGHTS
    if file.exists():
        return _load(file, "delete it to use the last checkpoint"), file
    checkpoints = sorted(folder.glob(CHECKPOINTS), reverse=True)
    last = next((file for file in checkpoints if _is_whole(file)), None)
    if last is None:
        raise DataError(f"expected weights in {folder}: neither {WEIGHTS} nor a whole checkpoint")
    return _net_state(last), last


def weights_sha256(net: nn.Module) -> str:
    """A hash of every weight and buffer, bit for bit."""
    content = hashlib.sha256()
    for name, tensor in sorted(net.state_dict().items()):
        content.update(name.encode())
        content.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return content.hexdigest()


def _net_state(checkpoint: Path) -> dict[str, Tensor]:
    state = _load(checkpoint)["state_dict"]
    return {name.removeprefix("net."): tensor for name, tensor in state.items()}


def _packed(content: dict[str, Any]) -> memoryview:
    """In memory first: where a disk is full, torch says so in its own words, or dies."""
    buffer = BytesIO()
    torch.save(content, buffer)
    return buffer.getbuffer()


def _load(
    path: Path, way_out: str = "delete it to start again", *, mmap: bool = False
) -> dict[str, Any]:
    try:
        loaded: dict[str, Any] = torch.load(path, "cpu", weights_only=True, mmap=mmap)
    except (EOFError, RuntimeError, UnpicklingError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"cannot read {path}, {way_out}: {reason}") from error
    return loaded
