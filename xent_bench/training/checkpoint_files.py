"""Checkpoints that appear whole or not at all, tell a flipped bit, and are read as data, no code.

`step0000000120-3f2a9c0e71d5b846.ckpt` has the steps taken and the SHA-256 of its content in its
name: so one rename makes both appear. The last two are kept, should the last one be damaged.
"""

import hashlib
from pathlib import Path
from typing import Any

from pytorch_lightning.plugins.io import TorchCheckpointIO

from xent_bench.runs.whole_files import write_lasting
from xent_bench.trained_net.weights import (
    CHECKPOINTS,
    HASH_DIGITS,
    is_whole,
    load_tensors,
    packed,
)

KEPT = 2
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
        content = packed(checkpoint)
        digest = hashlib.sha256(content).hexdigest()[:HASH_DIGITS]
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
        return load_tensors(Path(path))


def last_checkpoint(folder: Path) -> tuple[Path | None, list[Path]]:
    """The last one that is what was written, and those after it that are not; these are deleted."""
    damaged: list[Path] = []
    for file in sorted(folder.glob(CHECKPOINTS), reverse=True):
        if is_whole(file):
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
    origin: dict[str, Any] | None = load_tensors(path, mmap=True).get(
        ORIGIN
    )  # the tensors stay on disk
    return origin
