"""The content of image files counts, and is read once."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from xent_bench.data import file_hashes as file_hashes_module
from xent_bench.data.file_hashes import file_hashes
from xent_bench.data.image_files import ImageFiles
from xent_bench.failures import DataError

LONG_AGO = 1_600_000_000  # unix seconds: a file that is not being written any more


def write(file: Path, content: bytes, seconds: int = LONG_AGO) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    os.utime(file, (seconds, seconds))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("XENT_BENCH_CACHE", str(folder))
    return folder


@pytest.fixture
def root(tmp_path: Path, cache: Path) -> Path:  # noqa: ARG001  no test uses the user's cache
    """Three files. (None is an image: a hash asks for bytes.)"""
    folder = tmp_path / "root"
    for name in ("a", "b", "c"):
        write(folder / name, f"content of {name}".encode())
    return folder


@pytest.fixture
def files_read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files whose content is read, as they are read."""
    names: list[str] = []
    digest = file_hashes_module._digest
    monkeypatch.setattr(
        file_hashes_module,
        "_digest",
        lambda path: names.append(Path(os.fsdecode(path)).name) or digest(path),
    )
    return names


def sha256(root: Path, *names: str) -> str:
    return ImageFiles.of(root, list(names or ("a", "b", "c")), 8).sha256()


def test_another_content_of_the_same_name_and_size_is_another_set(root):
    before = sha256(root)
    write(root / "b", b"CONTENT OF B", LONG_AGO + 1)

    assert sha256(root) != before


def test_a_file_that_was_only_touched_is_the_same(root, files_read):
    before = sha256(root)
    files_read.clear()
    os.utime(root / "b", (LONG_AGO + 1, LONG_AGO + 1))

    assert sha256(root) == before
    assert files_read == ["b"]


def test_contents_that_two_files_exchanged_make_another_set(root):
    before = sha256(root)
    write(root / "a", b"content of b", LONG_AGO + 1)
    write(root / "b", b"content of a", LONG_AGO + 1)

    assert sha256(root) != before


def test_a_file_is_read_once_also_where_others_are_asked_for_in_between(root, files_read):
    one = sha256(root)
    sha256(root, "c", "a")

    assert sha256(root) == one
    assert sorted(files_read) == ["a", "b", "c"]


def test_a_file_that_may_still_change_unseen_is_read_again(root, files_read):
    (root / "b").write_bytes(b"just written")
    sha256(root)
    files_read.clear()
    sha256(root)

    assert files_read == ["b"]


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flip(content: bytes) -> bytes:
    return bytes(byte ^ (place % 7 == 3) for place, byte in enumerate(content))


@pytest.mark.parametrize("damage", [cut, flip, lambda _: b"", lambda _: b"no archive"])
def test_a_damaged_memory_is_harmless_and_replaced(root, cache, files_read, damage):
    before = sha256(root)
    (memory,) = cache.glob("files-*.npz")
    memory.write_bytes(damage(memory.read_bytes()))
    files_read.clear()

    assert sha256(root) == before
    assert sorted(files_read) == ["a", "b", "c"]
    assert sha256(root) == before
    assert len(files_read) == 3


def test_a_memory_of_other_arrays_is_harmless(root, cache):
    before = sha256(root)
    (memory,) = cache.glob("files-*.npz")
    np.savez(memory, names=np.array([b"a"]), stamps=np.zeros((2, 2)), hashes=np.zeros(3))

    assert sha256(root) == before


def test_nothing_need_be_writable(root, cache):
    before = sha256(root)
    for file in cache.iterdir():
        file.unlink()
    cache.rmdir()
    cache.write_bytes(b"a file where the folder should be")

    assert sha256(root) == before


def test_two_roots_do_not_mix(root, tmp_path):
    other = tmp_path / "other"
    for name in ("a", "b", "c"):
        write(other / name, f"CONTENT OF {name}".encode())
    one = sha256(root)

    assert sha256(other) != one
    assert sha256(root) == one


def test_a_file_that_cannot_be_read_is_named_in_one_line(root):
    with pytest.raises(DataError, match=f"cannot read {root}/d: No such file") as refusal:
        sha256(root, "a", "d")
    assert "\n" not in str(refusal.value)
    (root / "e").mkdir()
    with pytest.raises(DataError, match=f"cannot read {root}/e: Is a directory"):
        sha256(root, "a", "e")


def test_what_was_read_before_an_interruption_is_remembered(root, files_read, monkeypatch):
    monkeypatch.setattr(file_hashes_module, "CHUNK", 1)
    monkeypatch.setattr(file_hashes_module, "THREADS", 1)
    names = np.array([b"a", b"b", b"missing"])
    write(root / "missing", b"")
    stamps = file_hashes_module._stamps

    def removed_after_the_look(root: Path, names: list[bytes]) -> np.ndarray:
        result = stamps(root, names)
        if b"missing" in names:
            (root / "missing").unlink()
        return result

    monkeypatch.setattr(file_hashes_module, "_stamps", removed_after_the_look)
    with pytest.raises(DataError, match="missing"):
        file_hashes(root, names)
    files_read.clear()
    file_hashes(root, names[:2])

    assert files_read == []


def test_what_takes_long_says_so_once(root, monkeypatch, capsys):
    monkeypatch.setattr(file_hashes_module, "CHUNK", 1)
    monkeypatch.setattr(file_hashes_module, "QUIET", -1.0)
    sha256(root)
    sha256(root)

    assert capsys.readouterr().err == "reading images once, to hash and check them: 1 of 3\n"


def test_processes_that_begin_at_once_agree_and_leave_a_whole_memory(root, files_read):
    code = (
        "import sys, numpy; from pathlib import Path;"
        "from xent_bench.data.image_files import ImageFiles;"
        "print(ImageFiles.of(Path(sys.argv[1]), list('abc'), 8).sha256())"
    )
    command = [sys.executable, "-c", code, str(root)]
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ)
        for _ in range(4)
    ]
    answers = {process.communicate()[0].strip() for process in processes}

    assert answers == {sha256(root)}
    assert files_read == []
