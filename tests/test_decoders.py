"""Processes that decode images: a lost one ends the run in seconds and leaves nothing behind."""

import errno
import multiprocessing
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from xent_bench.config.configure import ConfigError, check_top_level
from xent_bench.config.explain import exit_code
from xent_bench.data.image_files import ImageFiles
from xent_bench.data.preparation import Preparation
from xent_bench.data.streamed import Streamed
from xent_bench.failures import DataError, OutOfMemory, Unavailable, worth_another_try

CPU = torch.device("cpu")
N = 600  # images: more chunks than two workers decode ahead


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> ImageFiles:
    folder = tmp_path_factory.mktemp("images")
    for number in range(N):
        grey = Image.new("L", (9, 9), number % 256)
        grey.save(folder / f"{number}.bmp")
    return ImageFiles.of(folder, [f"{number}.bmp" for number in range(N)], 8)


def reading(
    files: ImageFiles, workers: int = 2, timeout: float | None = 60.0, batch_size: int = 16
) -> Iterator[torch.Tensor]:
    streamed = Streamed(files, CPU, workers, flip=False, timeout=timeout)
    return streamed.batches(torch.arange(len(files)), batch_size)


def workers() -> list[multiprocessing.process.BaseProcess]:
    return multiprocessing.active_children()


@contextmanager
def ends_within(seconds: float) -> Iterator[None]:
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < seconds


@pytest.mark.parametrize("batch_size", [1, 16, 100, N])
@pytest.mark.parametrize("workers", [0, 1, 3])
def test_images_come_whole_and_in_order(files, workers, batch_size):
    batches = list(reading(files, workers, batch_size=batch_size))

    assert [len(batch) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)
    assert torch.equal(torch.cat(batches)[:, 0, 0], torch.arange(N).remainder(256).byte())


def test_no_process_is_left_after_a_pass_or_in_the_midst_of_one(files):
    list(reading(files))
    assert workers() == []
    begun = reading(files)
    next(begun)
    assert len(workers()) == 2
    begun.close()

    assert workers() == []


def test_no_more_processes_are_started_than_have_something_to_do(files):
    begun = reading(files.part(np.arange(32)), workers=16, batch_size=16)
    next(begun)

    assert len(workers()) <= 2
    begun.close()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGBUS])
def test_a_killed_worker_ends_the_run_and_another_try_may_succeed(files, number):
    batches = reading(files)
    next(batches)
    for worker in workers():
        os.kill(worker.pid, number)
    with ends_within(5), pytest.raises(OutOfMemory, match=r"ended by SIG.*fewer machine") as lost:
        list(batches)

    assert exit_code(lost.value) == 4
    assert worth_another_try(lost.value)
    assert workers() == []


def test_a_worker_that_is_killed_while_it_sends_does_not_block_the_others(files):
    """A worker is stopped at any moment, then killed: none holds what another waits for."""
    for wait in np.linspace(0, 0.02, 8):
        batches = reading(files)
        next(batches)
        time.sleep(wait)
        os.kill(workers()[0].pid, signal.SIGKILL)
        with ends_within(5), pytest.raises(OutOfMemory):
            list(batches)


def test_a_crash_of_a_decoder_names_the_image(files):
    batches = reading(files)
    next(batches)
    for worker in workers():
        os.kill(worker.pid, signal.SIGSTOP)
        os.kill(worker.pid, signal.SIGSEGV)
        os.kill(worker.pid, signal.SIGCONT)
    with ends_within(5), pytest.raises(Unavailable, match=r"SIGSEGV.*machine.workers=0") as lost:
        list(batches)

    assert not worth_another_try(lost.value)
    assert str(files.root) in str(lost.value)


def test_a_stopped_worker_is_noticed(files):
    batches = reading(files, timeout=0.4)
    next(batches)
    for worker in workers():
        os.kill(worker.pid, signal.SIGSTOP)
    silence = r"silent for 0.4 seconds.*larger machine.worker_timeout.*machine.workers=0"
    with ends_within(5), pytest.raises(TimeoutError, match=silence) as lost:
        list(batches)

    assert exit_code(lost.value) == 4
    assert worth_another_try(lost.value)
    assert workers() == []


@pytest.mark.parametrize("timeout", [None, 0.0])
def test_without_a_limit_a_stopped_worker_is_waited_for(files, timeout):
    batches = reading(files, timeout=timeout)
    next(batches)
    stopped = [worker.pid for worker in workers()]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    go_on = multiprocessing.get_context("fork").Process(target=_continue, args=(stopped,))
    go_on.start()
    images = sum(len(batch) for batch in batches)
    go_on.join()

    assert images == N - 16


def _continue(pids: list[int]) -> None:
    time.sleep(1.5)
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


def test_a_slow_worker_is_not_silent(files, monkeypatch):
    """The limit is for one image: a chunk of 16 takes four times as long."""
    decode_one = ImageFiles.decode_one
    monkeypatch.setattr(
        ImageFiles, "decode_one", lambda *given: time.sleep(0.1) or decode_one(*given)
    )

    assert sum(map(len, reading(files.part(np.arange(32)), timeout=0.4))) == 32


def test_an_image_that_hangs_is_named(tmp_path):
    """Opening a pipe waits for its other end."""
    os.mkfifo(tmp_path / "b.png")
    Image.new("L", (9, 9)).save(tmp_path / "a.png")
    files = ImageFiles.of(tmp_path, ["a.png", "b.png"], 8)

    with ends_within(5), pytest.raises(TimeoutError, match=f"at {tmp_path}/b.png"):
        list(reading(files, 1, timeout=0.4))


@contextmanager
def limited(kind: int, value: int) -> Iterator[None]:
    before = resource.getrlimit(kind)
    resource.setrlimit(kind, (value, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(kind, before)


def test_neither_a_long_tmpdir_nor_shared_files_are_needed(files, tmp_path, monkeypatch):
    """A socket's path has at most 108 bytes, and no file of a size above 0 can be written."""
    folder = tmp_path.joinpath(*["long" * 10] * 4)
    folder.mkdir(parents=True)
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    before = set(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else set()
    with limited(resource.RLIMIT_FSIZE, 0):
        batches = reading(files)
        next(batches)
        during = set(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else set()
        images = sum(len(batch) for batch in batches)

    assert images == N - 16
    assert during <= before
    assert os.listdir(folder) == []


def test_too_many_open_files_are_one_line(files):
    open_files = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc") else 100
    with limited(resource.RLIMIT_NOFILE, open_files + 3):
        refused = pytest.raises(Unavailable, match=r"cannot start a process.*machine.workers=0")
        with refused as refusal:
            list(reading(files, workers=8))

    assert os.strerror(errno.EMFILE) in str(refusal.value)
    assert workers() == []


def test_too_large_images_are_one_line(files):
    huge = replace(files, preparation=Preparation.of_whole_images(2**24))
    with pytest.raises(OutOfMemory, match=r"GiB for decoded images.*smaller data.size"):
        list(reading(huge))


def test_a_bad_image_is_told_from_a_worker_as_without_one(tmp_path):
    name = os.fsdecode(b"\xff\n.png")
    (tmp_path / name).write_bytes(b"<html>")
    refusals = []
    for count in (0, 1):
        with pytest.raises(DataError) as refusal:
            list(reading(ImageFiles.of(tmp_path, [name], 8), count))
        refusals.append(str(refusal.value))

    assert refusals[0] == refusals[1]
    assert r"\xff\n.png: it is no JPEG" in refusals[0]


def test_the_limit_is_a_key_of_machine_that_names_no_run(composed: Callable):
    key = "machine.worker_timeout"
    for value in ("30", "null", "0"):
        check_top_level(composed(f"{key}={value}"))
    with pytest.raises(ConfigError, match=key):
        check_top_level(composed(f"{key}=-1"))
    assert composed().machine.worker_timeout == 120


def test_workers_end_with_a_killed_run(files, tmp_path: Path):
    """A forked process reads images, says who decodes them, and is killed."""
    pids_file = tmp_path / "pids"
    context = multiprocessing.get_context("fork")
    run = context.Process(target=_reads_and_waits, args=(files, pids_file))
    run.start()
    while run.is_alive() and not pids_file.exists():
        time.sleep(0.01)
    pids = [int(pid) for pid in pids_file.read_text().split()]
    run.kill()
    run.join()
    deadline = time.monotonic() + 5
    while any(_is_alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.02)

    assert len(pids) == 2
    assert not any(_is_alive(pid) for pid in pids)


def _reads_and_waits(files: ImageFiles, pids_file: Path) -> None:
    batches = reading(files)
    next(batches)
    part = pids_file.with_suffix(".part")
    part.write_text(" ".join(str(worker.pid) for worker in workers()))
    part.rename(pids_file)
    time.sleep(60)


def _is_alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
