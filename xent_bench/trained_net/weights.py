"""The weights of a trained net as data: in `weights.pt`, or in its run's last checkpoint.

Only tensors and plain values are read, never code. A checkpoint's name ends with the SHA-256 of its
content, so that damage is noticed.
"""

import hashlib
from io import BytesIO
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from xent_bench.failures import DataError
from xent_bench.runs.files import WEIGHTS
from xent_bench.runs.whole_files import write_lasting

CHECKPOINTS = "step*.ckpt"
HASH_DIGITS = 16  # 64 bits suffice: damage is no adversary


def save_weights(folder: Path) -> Path:
    """Write the state dict of the net in the run's last checkpoint to `weights.pt` beside it.

    DataError if no checkpoint is whole.
    """
    checkpoint = _last_whole_checkpoint(folder)
    if checkpoint is None:
        raise DataError(
            f"no weights to keep without a checkpoint in {folder}; "
            "delete result.json there to train again"
        )
    write_lasting(folder / WEIGHTS, packed(_net_state(checkpoint)))
    return folder / WEIGHTS


def load_weights(folder: Path) -> tuple[dict[str, Tensor], Path]:
    """Read the trained net's state dict; returns it with the file that it is from.

    `weights.pt`, else the last checkpoint that is whole. Nothing is changed or deleted. DataError
    if there is neither, or if the file cannot be read.
    """
    file = folder / WEIGHTS
    if file.exists():
        return load_tensors(file, "delete it to use the last checkpoint"), file
    checkpoint = _last_whole_checkpoint(folder)
    if checkpoint is None:
        raise DataError(f"expected weights in {folder}: neither {WEIGHTS} nor a whole checkpoint")
    return _net_state(checkpoint), checkpoint


def weights_sha256(net: nn.Module) -> str:
    """SHA-256 of every weight and buffer with its name, bit for bit."""
    digest = hashlib.sha256()
    for name, tensor in sorted(net.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def packed(content: dict[str, Any]) -> memoryview:
    """Serialise tensors and plain values to the bytes of a file.

    First in memory: on a full disk torch.save raises an error of its own, or crashes.
    """
    buffer = BytesIO()
    torch.save(content, buffer)
    return buffer.getbuffer()


def load_tensors(
    file: Path, way_out: str = "delete it to start again", *, mmap: bool = False
) -> dict[str, Any]:
    """Read a file of tensors and plain values to the CPU. A DataError says the way out."""
    try:
        content: dict[str, Any] = torch.load(file, "cpu", weights_only=True, mmap=mmap)
    except (EOFError, RuntimeError, UnpicklingError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"cannot read {file}, {way_out}: {reason}") from error
    return content


def is_whole(checkpoint: Path) -> bool:
    """Whether a checkpoint's content is what was written, by the hash in its name."""
    with checkpoint.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()[:HASH_DIGITS]
    return checkpoint.stem.endswith(f"-{digest}")


def _last_whole_checkpoint(folder: Path) -> Path | None:
    checkpoints = sorted(folder.glob(CHECKPOINTS), reverse=True)
    return next(filter(is_whole, checkpoints), None)


def _net_state(checkpoint: Path) -> dict[str, Tensor]:
    state = load_tensors(checkpoint)["state_dict"]
    return {name.removeprefix("net."): tensor for name, tensor in state.items()}
