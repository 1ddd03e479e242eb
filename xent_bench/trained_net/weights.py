"""The weights of a trained net as data: in `weights.pt`, or in its run's last checkpoint.

Only tensors and plain values are read, never code. A checkpoint's name ends with the SHA-256 of its
content, so that damage is noticed.
"""

import hashlib
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, ZipFile

import torch
from torch import Tensor, nn

from xent_bench.failures import DataError, named
from xent_bench.runs.files import WEIGHTS
from xent_bench.runs.whole_files import write_lasting

CHECKPOINTS = "step*.ckpt"
BEST = "best_epoch"  # key in a checkpoint: the epoch that is evaluated, with its weights
NET, AVERAGED = "net.", "averaged."  # the first letters of weights in a checkpoint; see `ema`
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
        state = load_tensors(file, "delete it to use the last checkpoint")
        return _checked_state(state, file), file
    checkpoint = _last_whole_checkpoint(folder)
    if checkpoint is None:
        raise DataError(f"expected weights in {folder}: neither {WEIGHTS} nor a whole checkpoint")
    return _net_state(checkpoint), checkpoint


def weights_sha256(net: nn.Module) -> str:
    """SHA-256 of every weight and buffer with its name, bit for bit."""
    digest = hashlib.sha256()
    for name, tensor in sorted(net.state_dict().items()):
        digest.update(name.encode())
        # as bytes, since NumPy has no bfloat16; a tensor with strides has no view as bytes
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().tobytes())
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
    with file.open("rb"):
        pass  # an OSError is of the disk, or of permissions; what follows is of the content
    try:
        check_entries(file)
        content = torch.load(file, "cpu", weights_only=True, mmap=mmap)
        if not isinstance(content, dict):
            raise ValueError(f"expected tensors by name, got {type(content).__name__}")
    except Exception as error:  # a damaged or foreign pickle can raise anything
        if named(error) is not error:  # memory is short
            raise
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise DataError(f"cannot read {file}, {way_out}: {reason}") from error
    return content


def check_entries(file: Path) -> None:
    """ValueError or BadZipFile unless the file is a zip whose entries are as large as they lie."""
    if not file.is_file():
        raise ValueError("expected a file, got a folder, a pipe or a device")
    with ZipFile(file) as archive:
        entries = archive.infolist()
    if any(entry.compress_type != ZIP_STORED for entry in entries):
        raise ValueError("expected content that is not compressed, which may be of any size")
    if sum(entry.file_size for entry in entries) > file.stat().st_size:
        raise ValueError("expected each entry once, got entries that share bytes")


def _checked_state(state: Any, file: Path) -> dict[str, Tensor]:
    """Return a state dict unchanged; a DataError unless it holds tensors by name."""
    is_state = isinstance(state, dict) and all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in state.items()
    )
    if not is_state:
        raise DataError(f"cannot read {file}: expected the weights of a net, tensors by name")
    checked: dict[str, Tensor] = state
    return checked


def is_whole(checkpoint: Path) -> bool:
    """Whether a checkpoint's content is what was written, by the hash in its name."""
    if not checkpoint.is_file():
        return False
    with checkpoint.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()[:HASH_DIGITS]
    return checkpoint.stem.endswith(f"-{digest}")


def _last_whole_checkpoint(folder: Path) -> Path | None:
    checkpoints = sorted(folder.glob(CHECKPOINTS), reverse=True)
    return next(filter(is_whole, checkpoints), None)


def _net_state(checkpoint: Path) -> dict[str, Tensor]:
    """The weights that were evaluated: of the best epoch, else the averaged, else the last ones."""
    content = load_tensors(checkpoint)
    best = content.get(BEST)
    if isinstance(best, dict) and best.get("weights"):
        return _checked_state(best["weights"], checkpoint)
    state = _checked_state(content.get("state_dict"), checkpoint)
    prefix = AVERAGED if any(name.startswith(AVERAGED) for name in state) else NET
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in state.items()
        if name.startswith(prefix)
    }
