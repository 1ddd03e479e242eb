"""The folder that a user names as `data.root`."""

from contextlib import suppress
from pathlib import Path

from xent_bench.data.image_files import shown
from xent_bench.failures import DataError


def root_folder(root: str) -> Path:
    """The folder, with ~ expanded; it need not exist. DataError if no folder can have that name."""
    try:
        folder = Path(root).expanduser()
        with suppress(FileNotFoundError, NotADirectoryError):
            folder.stat()
    except (OSError, RuntimeError, ValueError) as error:  # too long, ~nobody, a zero byte
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"expected a folder as data.root, got {shown(root)}: {reason}") from error
    return folder
