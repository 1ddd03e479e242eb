"""CIFAR-10 and CIFAR-100, from small files in both published forms that the tests write."""

import os
import pickle
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision

from xent_bench.data.cifar import cifar10, cifar100
from xent_bench.data.image_set import ImageSet
from xent_bench.failures import DataError

N = 20  # images a file
NAMES = {10: [f"kind_{i}" for i in range(10)], 100: [f"fine_kind_{i}" for i in range(100)]}
BATCHES = {
    10: [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"],
    100: ["train", "test"],
}


class Written(NamedTuple):
    """What the files hold: pixels (file, image, plane, row, column), labels (file, image)."""

    pixels: np.ndarray
    labels: np.ndarray


def drawn(classes: int) -> Written:
    rng = np.random.default_rng(classes)
    files = len(BATCHES[classes])
    pixels = rng.integers(0, 256, (files, N, 3, 32, 32), dtype=np.uint8)
    return Written(pixels, rng.integers(0, classes, (files, N)))


def python2(value: Any) -> bytes:
    """A pickle's opcodes as Python 2 wrote them: its strings are bytes, NumPy's module is old."""
    match value:
        case dict():
            items = b"".join(python2(key) + python2(item) for key, item in value.items())
            return b"}(" + items + b"u"
        case list():
            return b"](" + b"".join(map(python2, value)) + b"e"
        case bytes():
            return b"T" + struct.pack("<i", len(value)) + value
        case int():
            return b"J" + struct.pack("<i", value)
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    shape = b"".join(map(python2, value.shape)) + b"\x86"
    dtype = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNN" + 2 * python2(-1) + b"K\x00tb"
    by_column = not value.flags.c_contiguous
    values = python2(value.tobytes(order="F" if by_column else "C"))
    return array + b"(K\x01" + shape + dtype + (b"\x88" if by_column else b"\x89") + values + b"tb"


def by_python2(content: dict[bytes, Any]) -> bytes:
    return b"\x80\x02" + python2(content) + b"."


by_python3 = partial(pickle.dumps, protocol=2)


def write_pickles(
    root: Path, classes: int, dump: Callable[[dict[bytes, Any]], bytes] = by_python2
) -> Path:
    folder = root / {10: "cifar-10-batches-py", 100: "cifar-100-python"}[classes]
    folder.mkdir(parents=True)
    fine = {10: b"labels", 100: b"fine_labels"}[classes]
    names = {10: b"label_names", 100: b"fine_label_names"}[classes]
    for file, pixels, labels in zip(BATCHES[classes], *drawn(classes), strict=True):
        content = {b"data": pixels.reshape(N, -1), fine: labels.tolist(), b"batch_label": b"small"}
        if classes == 100:
            content[b"coarse_labels"] = (labels // 5).tolist()
        (folder / file).write_bytes(dump(content))
    meta = {names: [name.encode() for name in NAMES[classes]], b"num_cases_per_batch": N}
    (folder / {10: "batches.meta", 100: "meta"}[classes]).write_bytes(dump(meta))
    return folder


def write_records(root: Path, classes: int) -> Path:
    folder = root / {10: "cifar-10-batches-bin", 100: "cifar-100-binary"}[classes]
    folder.mkdir(parents=True)
    for file, pixels, labels in zip(BATCHES[classes], *drawn(classes), strict=True):
        head = [labels] if classes == 10 else [labels // 5, labels]
        records = np.column_stack([*head, pixels.reshape(N, -1)]).astype(np.uint8)
        (folder / f"{file}.bin").write_bytes(records.tobytes())
    names = {10: "batches.meta.txt", 100: "fine_label_names.txt"}[classes]
    (folder / names).write_text("\n".join(NAMES[classes]) + "\n\n")  # as published
    return folder


def read(root: Path, classes: int) -> ImageSet:
    return {10: cifar10, 100: cifar100}[classes](root=str(root))


FORMS = {
    "python2": write_pickles,
    "python3": partial(write_pickles, dump=by_python3),
    "binary": write_records,
}


@pytest.mark.parametrize("classes", [10, 100])
@pytest.mark.parametrize("form", FORMS)
def test_cifar_is_read_as_it_was_written(tmp_path, form, classes):
    folder = FORMS[form](tmp_path, classes)
    pixels, labels = drawn(classes)
    n = labels.size

    for root in (tmp_path, folder):
        data = read(root, classes)
        assert np.array_equal(data.images.numpy(), pixels.reshape(-1, 3, 32, 32))
        assert data.labels.tolist() == labels.flatten().tolist()
        assert data.classes == tuple(NAMES[classes])
        assert torch.equal(data.test, torch.arange(n - N, n))
        assert data.augmentation[:2] == (True, 4)


def test_an_image_is_its_red_green_and_blue_planes_each_row_by_row(tmp_path):
    folder = write_records(tmp_path, 10)
    red_corner, right_of_it, green_corner = 1, 2, 1 + 1024
    record = bytearray(3073)
    record[red_corner], record[right_of_it], record[green_corner] = 50, 60, 70
    (folder / "data_batch_1.bin").write_bytes(record)
    image = cifar10(root=str(tmp_path)).images[0]

    assert (image[0, 0, 0], image[0, 0, 1], image[1, 0, 0]) == (50, 60, 70)
    assert image.count_nonzero() == 3


@pytest.mark.parametrize("classes", [10, 100])
def test_torchvision_reads_the_same(tmp_path, monkeypatch, classes):
    write_pickles(tmp_path, classes)
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)  # md5
    theirs = getattr(torchvision.datasets, f"CIFAR{classes}")
    train, test = (theirs(tmp_path, train=train) for train in (True, False))
    ours = read(tmp_path, classes)

    pixels = torch.from_numpy(np.concatenate([train.data, test.data])).permute(0, 3, 1, 2)
    assert torch.equal(ours.images, pixels)
    assert ours.labels.tolist() == train.targets + test.targets
    assert list(ours.classes) == train.classes
    assert len(ours.test) == len(test)


def test_pixels_saved_column_by_column_are_read_alike(tmp_path):
    folder = write_pickles(tmp_path, 100)
    pixels, labels = drawn(100)
    columns = np.asfortranarray(pixels[0].reshape(N, -1))
    straight = cifar100(root=str(tmp_path)).sha256()
    content = {b"data": columns, b"fine_labels": labels[0].tolist()}
    (folder / "train").write_bytes(by_python2(content))

    assert np.array_equal(pickle.loads(by_python2(content), encoding="bytes")[b"data"], columns)
    assert cifar100(root=str(tmp_path)).sha256() == straight


class Bomb:
    """What a pickle can hold in place of pixels: a command, run when it is read."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self):
        return os.system, (f"touch {self.file}",)


@pytest.mark.parametrize("name", ["data_batch_1", "batches.meta"])
def test_a_pickle_with_a_command_is_refused_and_the_command_not_run(tmp_path, name):
    file = write_pickles(tmp_path, 10) / name
    file.write_bytes(by_python3({b"data": Bomb(tmp_path / "executed")}))

    with pytest.raises(DataError, match=r"system is no part of an array: refused") as refusal:
        cifar10(root=str(tmp_path))
    assert str(file) in str(refusal.value)
    assert not (tmp_path / "executed").exists()
    pickle.loads(file.read_bytes())
    assert (tmp_path / "executed").exists()  # a bomb it was


def test_an_array_of_addresses_is_refused(tmp_path):
    file = write_pickles(tmp_path, 10) / "test_batch"
    forged = file.read_bytes().replace(b"U\x02u1", b"U\x02O8")
    file.write_bytes(forged)

    with pytest.raises(DataError, match=r"expected data in uint8 of shape \(n, 3072\) in .*test"):
        cifar10(root=str(tmp_path))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("left", [-1, -3000, 7, 0])
def test_a_file_that_is_cut_off_is_named(tmp_path, form, left):
    folder = FORMS[form](tmp_path, 10)
    file = folder / ("data_batch_2.bin" if form == "binary" else "data_batch_2")
    file.write_bytes(file.read_bytes()[:left])

    with pytest.raises(DataError, match=r"is cut off|expected a pickle of arrays") as refusal:
        cifar10(root=str(tmp_path))
    assert str(file) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_damaged_pickle_is_a_data_error_wherever_the_damage_is(tmp_path):
    file = write_pickles(tmp_path, 100) / "meta"
    whole = file.read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(whole), 300):
        file.write_bytes(whole[:place] + rng.bytes(3) + whole[place + 3 :])
        try:
            cifar100(root=str(tmp_path))
        except DataError as refusal:
            assert str(file) in str(refusal)  # noqa: PT017  a damaged name is still a name


def batch(shape: list[int], labels: list[Any]) -> dict[bytes, Any]:
    return {b"data": np.zeros(shape, np.uint8), b"labels": labels}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (batch([3, 3072], [0, 10, 3]), "labels from 0 to 9 in {}, got 0 to 10"),
        (batch([2, 3072], [0, -1]), "labels from 0 to 9 in {}, got -1 to 0"),
        (batch([3, 3072], [0]), "expected 3 labels in {}, got 1"),
        (batch([1, 3072], [b"cat"]), "expected a list of int as labels in {}"),
        (batch([2, 784], [0, 0]), "of shape (n, 3072) in {}, got an array of shape (2, 784)"),
        (batch([0, 3072], []), "of shape (n, 3072) in {}, got an array of shape (0, 3072)"),
        ({b"labels": [0]}, "expected data in uint8 of shape (n, 3072) in {}, got no array"),
        ({b"data": np.zeros((1, 3072), np.uint8)}, "expected a list of int as labels in {}"),
        ([], "expected a dictionary in {}, got list"),
    ],
)
def test_a_batch_of_something_else_is_named_with_what_was_expected(tmp_path, content, complaint):
    file = write_pickles(tmp_path, 10) / "data_batch_3"
    file.write_bytes(by_python2(content))

    with pytest.raises(DataError) as refusal:
        cifar10(root=str(tmp_path))
    assert complaint.format(file) in str(refusal.value)


def test_labels_out_of_range_are_refused_in_records_too(tmp_path):
    file = write_records(tmp_path, 100) / "test.bin"
    file.write_bytes(bytes([3, 100]) + bytes(3072))

    with pytest.raises(DataError, match=r"expected labels from 0 to 99 in .*test.bin, got 100"):
        cifar100(root=str(tmp_path))


@pytest.mark.parametrize(
    ("write", "names", "content"),
    [
        (write_records, "batches.meta.txt", b"cat\ndog\n"),
        (write_pickles, "batches.meta", by_python2({b"label_names": [b"cat", b"dog"]})),
    ],
)
def test_names_of_other_classes_are_refused(tmp_path, write, names, content):
    (write(tmp_path, 10) / names).write_bytes(content)

    with pytest.raises(DataError, match=rf"names of 10 classes in .*{names}, got 2"):
        cifar10(root=str(tmp_path))


@pytest.mark.parametrize(
    ("classes", "folders"),
    [
        (10, ("cifar-10-batches-py", "cifar-10-batches-bin")),
        (100, ("cifar-100-python", "cifar-100-binary")),
    ],
)
def test_missing_cifar_names_the_ways_to_get_it(tmp_path, classes, folders):
    with pytest.raises(DataError) as refusal:
        read(tmp_path, classes)

    for way in (f"CIFAR{classes}", str(tmp_path), *folders, "data.root=", "data.download=true"):
        assert way in str(refusal.value)


@pytest.mark.parametrize(
    ("write", "lost"),
    [
        (write_pickles, "data_batch_4"),
        (write_pickles, "batches.meta"),
        (write_records, "test_batch.bin"),
    ],
)
def test_a_set_that_lacks_a_file_is_not_read_and_the_file_named(tmp_path, write, lost):
    folder = write(tmp_path, 10)
    (folder / lost).unlink()

    with pytest.raises(DataError, match=f"not complete: no {lost} in {folder}: set data.root="):
        cifar10(root=str(tmp_path))


def test_the_complete_form_is_read_where_the_other_is_not(tmp_path):
    (write_pickles(tmp_path, 10) / "test_batch").unlink()
    write_records(tmp_path, 10)

    assert len(cifar10(root=str(tmp_path)).images) == 6 * N


@pytest.mark.parametrize("root", [None, "fetched"])
def test_what_is_missing_is_fetched_by_torchvision_once(tmp_path, monkeypatch, root):
    monkeypatch.chdir(tmp_path)
    fetched = []

    def fetch(folder: Path, *, download: bool) -> None:
        fetched.append((folder, download))
        write_pickles(folder, 100)

    monkeypatch.setattr("torchvision.datasets.CIFAR100", fetch)
    one, other = (cifar100(root=root, download=True) for _ in range(2))

    assert one.sha256() == other.sha256()
    assert fetched == [(Path(root or "data"), True)]


@pytest.mark.parametrize("error", [URLError("no\nnetwork"), RuntimeError("File corrupted.")])
def test_a_download_that_fails_says_so_in_one_line(tmp_path, monkeypatch, error):
    def fetch(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("torchvision.datasets.CIFAR10", fetch)

    with pytest.raises(DataError, match=r"cannot download CIFAR10 into .*(network|corrupted)"):
        cifar10(root=str(tmp_path), download=True)
