"""Files that are read back are data: parsed and checked, never resolved, imported or executed.

A run's folder may come from somebody else, or from a disk that has flipped a bit. The JSON files
that a run writes end with `sha256`, the SHA-256 of all else in them, by which a change is noticed;
files of before, which have none, are read without.
"""

import hashlib
import json
import math
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import ZIP_STORED, ZipFile

import yaml

from xent_bench.failures import DataError
from xent_bench.printable import all_printable

LARGEST = 2**28  # bytes of a JSON file: 100,000 epochs of curves have a quarter of it
LARGEST_CONFIG = 2**20
CHECKSUM = "sha256"
CHECKSUM_LINE = "# sha256 of the lines above: "  # the last line of a config


def read_bytes(file: Path, largest: int = LARGEST) -> bytes:
    """Read a regular file of at most so many bytes.

    ValueError for a larger one, and for a folder, a pipe or a device, which may have no end.
    """
    status = file.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("expected a file, got a folder, a pipe or a device")
    if status.st_size > largest:
        raise ValueError(f"expected at most {largest:,} bytes, got {status.st_size:,}")
    return file.read_bytes()


def read_text(file: Path, largest: int = LARGEST_CONFIG) -> str:
    """Read a text in UTF-8 from a regular file; ValueError as `read_bytes`, or for other bytes."""
    return read_bytes(file, largest).decode()


def read_json(file: Path) -> Any:
    """Parse a JSON file, with texts that can be printed.

    ValueError where it is no JSON, names a key twice, or is nested too deeply; OSError where it
    cannot be read.
    """
    text = read_text(file, LARGEST)
    return _printable(_parsed(text), text)


def read_sealed(file: Path) -> dict[str, Any]:
    """Parse a JSON object that `sealed` wrote, without its checksum.

    ValueError as `read_json`, or where the content was changed after it was written.
    """
    text = read_text(file, LARGEST)
    content = _parsed(text)
    if not isinstance(content, dict):
        raise ValueError(f"expected an object with names and values, got {content!r}"[:200])
    if CHECKSUM in content and content.pop(CHECKSUM) != _digest(content):
        raise ValueError(
            "it was changed after it was written, since its SHA-256 is another; put the old "
            f"content back, or remove {CHECKSUM} from it to have it read as it is"
        )
    printable: dict[str, Any] = _printable(content, text)
    return printable


def sealed(content: dict[str, Any], *, indent: int | None = None) -> str:
    """Write an object as JSON that ends with its checksum; what JSON has not becomes a text."""
    plain = json.loads(json.dumps(content, default=str))
    return json.dumps(plain | {CHECKSUM: _digest(plain)}, indent=indent)


def sealed_config(text: str) -> str:
    """The text of a config with a last line, a comment, that holds its checksum."""
    return f"{text}{CHECKSUM_LINE}{hashlib.sha256(text.encode()).hexdigest()}\n"


def read_config(file: Path) -> dict[str, Any]:
    """Parse a run's `config.yaml` as plain YAML, in which nothing is resolved.

    A DataError if it is missing, no config, or was changed after it was written.
    """
    try:
        text = read_text(file)
        above, line, digest = text.rpartition(CHECKSUM_LINE)
        if line and digest.strip() != hashlib.sha256(above.encode()).hexdigest():
            raise ValueError("it was changed after it was written; delete its last line if by you")
        content = yaml.safe_load(text)
        if not isinstance(content, dict):
            raise ValueError("expected lines of key: value")
    except RecursionError:
        raise DataError(f"cannot read {file}: its values are nested too deeply") from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise DataError(f"cannot read {file}: {reason}") from error
    return content


def _parsed(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_without_twins)
    except RecursionError:
        raise ValueError("its values are nested too deeply") from None


def _printable(content: Any, text: str) -> Any:
    """The content that the text stands for, with printable texts; few files need the search."""
    return content if text.isascii() and "\\u" not in text else all_printable(content)


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        keys = [key for key, _ in pairs]
        twin = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"expected each name once, got {twin!r} twice"[:200])
    return content


def _digest(content: dict[str, Any]) -> str:
    """The SHA-256 of the content, whatever the order of its names and its blanks."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def check_archive(opened: BinaryIO) -> None:
    """Raise a ValueError unless an .npz holds arrays as NumPy writes them, of the sizes they name.

    Arrays of Python objects are refused by their kind: they are pickles, which could run code.
    NumPy reserves what a header asks for before it reads: a file of 1 kB could ask for 10 TB, and
    compressed entries can stand for a thousand times their size.
    """
    from numpy.lib import format as npy  # a tenth of a second, for readers of predictions only

    with ZipFile(opened) as archive:
        entries = archive.infolist()
        for entry in entries:
            if entry.compress_type != ZIP_STORED:
                raise ValueError(f"{entry.filename}: expected an array that is not compressed")
            with archive.open(entry) as member:
                version = npy.read_magic(member)
                if version not in ((1, 0), (2, 0)):
                    raise ValueError(f"{entry.filename}: expected format 1.0 or 2.0, got {version}")
                read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
                shape, _, dtype = read(member)
                if dtype.hasobject:
                    raise ValueError(f"{entry.filename}: expected numbers or text, got objects")
                size = member.tell() + math.prod(shape) * dtype.itemsize
            if size != entry.file_size:
                got = f"{entry.file_size:,}"
                raise ValueError(f"{entry.filename}: its header asks for {size:,} bytes, got {got}")
        if sum(entry.file_size for entry in entries) > os.fstat(opened.fileno()).st_size:
            raise ValueError("expected each array once, got arrays that share bytes")
    opened.seek(0)
