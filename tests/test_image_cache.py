"""The cache of decoded images: the same numbers, made whole or not at all, shared, removed."""

import errno
import os
import shutil
import time
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from xent_bench.config.explain import exit_code
from xent_bench.data import image_cache
from xent_bench.data.image_cache import kept
from xent_bench.data.image_files import ImageFiles
from xent_bench.data.image_folder import image_folder
from xent_bench.data.image_set import ImageSet
from xent_bench.data.preparation import Preparation
from xent_bench.data.prepared_set import prepared_set
from xent_bench.data.stored_images import DAMAGED, PIXELS
from xent_bench.failures import DataError
from xent_bench.randomness import generator
from xent_bench.training.run import run

CPU = torch.device("cpu")
N = 12  # images of each class


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs of several sizes, kinds and orientations. Tests leave them as they are."""
    folder = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(0)
    lying = Image.Exif()
    lying[274] = 6
    for number in range(2 * N):
        coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
        w, h = (int(side) for side in rng.integers(12, 70, 2))
        kind, options = (("jpg", {"quality": 90}), ("png", {}))[number % 2]
        if number % 5 == 0:
            options["exif"] = lying
        file = folder / "train" / ("cat", "dog")[number % 2] / f"{number}.{kind}"
        file.parent.mkdir(parents=True, exist_ok=True)
        coarse.resize((w, h), Image.Resampling.BICUBIC).save(file, **options)
    return folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XENT_BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "images"


def folders(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir() if path.is_dir())


def pixels(data: ImageSet, workers: int = 0) -> torch.Tensor:
    """Two epochs of crops, and the central squares."""
    ids = torch.arange(len(data.images)).flip(0)
    read = data.source(ids, CPU, workers, varied=True)
    order = torch.arange(len(ids))
    epochs = [read.varied(order, order, 7, generator(0, "draws", epoch)) for epoch in range(2)]
    return torch.cat([batch for reading in (*epochs, read.batches(order, 7)) for batch in reading])


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("chosen", [{}, {"interpolation": "bicubic", "channels": 1}])
def test_the_cache_changes_no_pixel(root, cache, workers, chosen):
    data = image_folder(root=str(root), size=16, **chosen)
    cached = kept(data, True, 1)

    assert cached.images.stored is not None
    assert torch.equal(pixels(data), pixels(cached, workers))
    assert len(folders(cache)) == 1


def test_runs_with_and_without_the_cache_have_the_same_key_weights_and_numbers(
    config, root, cache, capfd
):
    base = ("data=image_folder", f"data.root={root}", "data.size=16", "model=linear", "epochs=2")
    results = [
        run(config("batch_size=8", f"machine.cache={wish}", base=base, folder=wish))
        for wish in ("false", "null")
    ]

    assert results[0]["tags"]["weights_sha256"] == results[1]["tags"]["weights_sha256"]
    assert results[0]["tags"]["key"] == results[1]["tags"]["key"]
    assert results[0]["metrics"] == results[1]["metrics"]
    assert len(folders(cache)) == 1
    assert "every epoch" not in capfd.readouterr().err


def test_it_is_made_for_two_epochs_and_used_for_one(root, cache):
    data = image_folder(root=str(root), size=16)

    assert kept(data, None, 1).images.stored is None
    assert kept(data, False, 2).images.stored is None
    assert not cache.exists()
    assert kept(data, None, 2).images.stored is not None
    assert kept(data, None, 1).images.stored is not None
    assert kept(data, False, 2).images.stored is None


def test_a_set_that_was_moved_is_found_and_another_reduction_is_another_cache(
    root, cache, tmp_path
):
    shutil.copytree(root, tmp_path / "moved")
    for folder, size in ((root, 16), (tmp_path / "moved", 16), (root, 14)):
        kept(image_folder(root=str(folder), size=size), True, 1)
    assert len(folders(cache)) == 2
    (tmp_path / "moved/train/cat/0.jpg").write_bytes((root / "train/cat/2.jpg").read_bytes())
    kept(image_folder(root=str(tmp_path / "moved"), size=16), True, 1)

    assert len(folders(cache)) == 3


def test_the_files_are_not_opened_again(root, cache, tmp_path):
    shutil.copytree(root, tmp_path / "gone")
    data = kept(image_folder(root=str(tmp_path / "gone"), size=16), True, 1)
    before = pixels(data)
    shutil.rmtree(tmp_path / "gone")

    assert torch.equal(pixels(data), before)


def stored_file(cache: Path) -> Path:
    return cache / folders(cache)[0] / PIXELS


def test_a_flipped_bit_is_noticed_and_costs_no_number(root, cache):
    data = image_folder(root=str(root), size=16)
    right = pixels(kept(data, True, 1))
    file = stored_file(cache)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)
    damaged = kept(data, True, 1)

    assert torch.equal(pixels(damaged, workers=1), right)
    assert (file.parent / DAMAGED).exists()
    assert torch.equal(pixels(kept(data, True, 1)), right)
    assert not (file.parent / DAMAGED).exists()


@pytest.mark.parametrize("name", ["pixels.bin", "index.npz"])
@pytest.mark.parametrize("damage", [lambda c: c[:-8], lambda c: c + b"\0" * 8, lambda _: b""])
def test_a_cache_that_is_cut_off_or_too_long_is_made_again(root, cache, name, damage):
    data = image_folder(root=str(root), size=16)
    right = pixels(kept(data, True, 1))
    file = stored_file(cache).with_name(name)
    whole = file.read_bytes()
    file.write_bytes(damage(whole))

    assert torch.equal(pixels(kept(data, True, 1)), right)
    assert file.stat().st_size == len(whole) or name == "index.npz"


def test_a_killed_maker_leaves_nothing_that_is_read(root, cache):
    data = image_folder(root=str(root), size=16)
    maker = get_context("fork").Process(target=_killed_in_the_middle, args=(data,))
    maker.start()
    maker.join()
    (part,) = folders(cache)
    assert maker.exitcode == -9
    assert part.endswith(".part")
    cached = kept(data, None, 2)

    assert folders(cache) == [part.removesuffix(".part")]
    assert torch.equal(pixels(cached), pixels(data))


def _killed_in_the_middle(data: ImageSet) -> None:
    reduced = ImageFiles.reduced

    def killing(files: ImageFiles, number: int) -> np.ndarray:
        if number == 20 and (image_cache.cache_folder() / "images").exists():
            time.sleep(0.2)
            os.kill(os.getpid(), 9)
        return reduced(files, number)

    ImageFiles.reduced = killing
    image_cache.SAMPLE = 1
    kept(data, None, 2)


def test_several_processes_make_it_once(root, cache):
    data = image_folder(root=str(root), size=16)
    context = get_context("fork")
    makers = context.Queue()
    processes = [context.Process(target=_counts_what_it_writes, args=(data, makers)) for _ in "123"]
    for process in processes:
        process.start()
    written = sorted(makers.get(timeout=60) for _ in processes)
    for process in processes:
        process.join()

    assert written == [0, 0, 2 * N]


def _counts_what_it_writes(data: ImageSet, makers: object) -> None:
    torch.set_num_threads(1)
    n = 0
    add = image_cache.StoredWriter.add

    def counting(writer: object, image: np.ndarray) -> None:
        nonlocal n
        n += 1
        add(writer, image)

    image_cache.StoredWriter.add = counting
    assert kept(data, True, 1).images.stored is not None
    makers.put(n)


def fails(reason: int) -> object:
    def write(*_: object) -> None:
        raise OSError(reason, os.strerror(reason))

    return write


@pytest.mark.parametrize("reason", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_a_run_goes_on_without_it_where_it_cannot_be_written_and_says_so_in_one_line(
    root, cache, monkeypatch, capfd, reason
):
    monkeypatch.setattr(image_cache.StoredWriter, "add", fails(reason))
    data = kept(image_folder(root=str(root), size=16), True, 2)

    assert data.images.stored is None
    assert len(pixels(data)) == 3 * 2 * N
    (line,) = capfd.readouterr().err.splitlines()
    assert line == f"images are decoded in every epoch: {os.strerror(reason)}"
    assert folders(cache) == []


def test_a_cache_folder_that_is_a_file_is_one_line(root, tmp_path, monkeypatch, capfd):
    (tmp_path / "file").touch()
    data = image_folder(root=str(root), size=16)
    assert data.images.hashes is not None
    monkeypatch.setenv("XENT_BENCH_CACHE", str(tmp_path / "file"))

    assert kept(data, None, 2).images.stored is None
    assert capfd.readouterr().err == "images are decoded in every epoch: Not a directory\n"


def disk(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    usage = shutil.disk_usage("/")._replace(free=free)
    monkeypatch.setattr(image_cache.shutil, "disk_usage", lambda _: usage)


def test_it_is_made_where_a_quarter_of_the_free_disk_is_enough_or_all_of_it_if_wished(
    root, cache, monkeypatch, capfd
):
    data = image_folder(root=str(root), size=16)
    disk(monkeypatch, free=60_000)  # they take 27 kB
    assert kept(data, None, 2).images.stored is None
    refusal = capfd.readouterr().err
    assert f"a quarter of the free disk of {cache}" in refusal
    assert "machine.cache=true" in refusal
    assert kept(data, True, 2).images.stored is not None
    shutil.rmtree(cache)
    disk(monkeypatch, free=10_000)

    assert kept(data, True, 2).images.stored is None
    assert "all of the free disk" in capfd.readouterr().err


def test_images_larger_than_the_sample_end_the_making_at_the_limit(root, cache, monkeypatch, capfd):
    monkeypatch.setattr(image_cache, "SAMPLE", 1)
    data = image_folder(root=str(root), size=16)
    sizes = np.array([data.images.reduced(number).size for number in range(2 * N)])
    disk(monkeypatch, free=int(sizes.min()) * 2 * N + 1000)
    smallest_first = replace(data, images=data.images.part(sizes.argsort()))

    assert kept(smallest_first, True, 2).images.stored is None
    assert "too little room for all" in capfd.readouterr().err
    assert folders(cache) == []


def old(folder: Path, days: float, size: int = 0) -> str:
    folder.mkdir(parents=True)
    (folder / PIXELS).write_bytes(b"\0" * size)
    os.utime(folder, (time.time() - 86400 * days,) * 2)
    return folder.name


def test_caches_that_nobody_used_for_30_days_are_removed_and_others_for_room(
    root, cache, monkeypatch
):
    new, week = old(cache / "new", 0.5, 5000), old(cache / "week", 7, 5000)
    old(cache / "month", 31), old(cache / "killed.part", 2)
    data = image_folder(root=str(root), size=16)
    kept(data, True, 1)
    names = folders(cache)
    assert {new, week} < {*names}
    assert len(names) == 3
    disk(monkeypatch, free=30_000)  # a quarter of what is free and taken is less than is taken
    kept(
        replace(data, images=ImageFiles.of(root, ["train/cat/0.jpg"] * 24, Preparation())), True, 1
    )

    assert week not in folders(cache)
    assert new in folders(cache)


def test_crops_of_whole_files_cannot_be_kept(root, cache):
    data = image_folder(root=str(root), size=16, shorter_side=0)

    assert kept(data, None, 2) is data
    with pytest.raises(DataError, match=r"machine.cache=true.*data.shorter_side=0") as refusal:
        kept(data, True, 2)
    assert exit_code(refusal.value) == 3


def test_a_set_in_memory_needs_none(cache):
    data = ImageSet(torch.zeros(4, 1, 2, 2, dtype=torch.uint8), torch.arange(4) % 2, ("a", "b"))

    assert kept(data, True, 2) is data


def test_progress_is_counted_after_some_seconds(root, cache, monkeypatch, capfd):
    monkeypatch.setattr(image_cache, "QUIET", 0.0)
    monkeypatch.setattr(image_cache, "BETWEEN", 0.0)
    kept(image_folder(root=str(root), size=16), True, 1)

    assert "decoding images once, for all runs: 24 of 24" in capfd.readouterr().err


def test_contents_that_are_no_files_are_read_hashed_and_kept_alike(root, cache):
    data = image_folder(root=str(root), size=16)
    names = [data.name_of(number) for number in range(2 * N)]
    contents = [(root / name).read_bytes() for name in names]
    files = ImageFiles.of(root, names, data.images.preparation, contents)
    same = prepared_set(files, data.labels, data.classes)

    assert same.sha256() == data.sha256()
    assert torch.equal(pixels(same), pixels(data))
    assert torch.equal(pixels(kept(same, True, 1), workers=1), pixels(data))
    assert len(folders(cache)) == 1
    contents[3] = b"no image"
    bad = prepared_set(replace(files, encoded=contents), data.labels, data.classes)
    with pytest.raises(DataError, match=rf"cannot read 1 of 24.*{names[3]} of .*: it is no JPEG"):
        bad.check_files()
    with pytest.raises(DataError, match=rf"cannot read {names[3]} of"):
        pixels(bad)
