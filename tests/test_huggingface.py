"""Sets of the datasets library: their forms, columns, splits, labels, and what is refused."""

import io
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from xent_bench.data import arrow_images
from xent_bench.data.huggingface import huggingface
from xent_bench.data.image_folder import image_folder
from xent_bench.failures import DataError
from xent_bench.training.run import run

datasets = pytest.importorskip("datasets")
CLASSES = ["cat", "dog"]


def png(number: int) -> bytes:
    out = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (12, 12, 3), np.uint8)
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def rows(start: int, n: int, label: object = None, **names: str) -> "datasets.Dataset":
    """Images numbered from `start`, the first half cats."""
    labels = [int(i >= n // 2) for i in range(n)] if label is None else label
    columns = {
        names.get("image", "image"): [{"bytes": png(start + i), "path": None} for i in range(n)],
        names.get("answer", "label"): labels,
    }
    content = datasets.Dataset.from_dict(columns)
    content = content.cast_column(names.get("image", "image"), datasets.Image())
    if label is None or isinstance(label[0], int):
        kind = datasets.ClassLabel(names=CLASSES)
        content = content.cast_column(names.get("answer", "label"), kind)
    return content


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """A set with 80 images of train and 20 of test, as three kinds of folder."""
    folder = tmp_path_factory.mktemp("sets")
    splits = {"train": rows(0, 80), "test": rows(80, 20)}
    datasets.DatasetDict(splits).save_to_disk(folder / "disk")
    for split, content in splits.items():
        (folder / "parquet").mkdir(exist_ok=True)
        content.to_parquet(folder / f"parquet/{split}-00000-of-00001.parquet")
        for i, label in enumerate(content["label"]):
            start = 0 if split == "train" else 80
            file = folder / f"folder/{split}/{CLASSES[label]}/{i:03}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(png(start + i))
    return folder


@pytest.mark.parametrize("form", ["disk", "parquet", "folder"])
def test_every_form_of_a_set_is_the_same_images(saved, form, capfd):
    data = huggingface(root=str(saved / form), size=8)

    images = image_folder(root=str(saved / "folder"), size=8)
    assert data.classes == images.classes == ("cat", "dog")
    assert torch.equal(data.labels, images.labels)
    assert torch.equal(data.test, images.test)
    wanted = [(i, None) for i in range(100)]
    assert (data.images.decode(wanted) == images.images.decode(wanted)).all()
    assert (data.images.hashes == images.images.hashes).all()
    assert capfd.readouterr() == ("", "")


def test_a_run_on_a_set_gives_the_weights_of_a_run_on_its_folder(saved, config):
    """Two workers are forked after Arrow's threads have read the set."""
    base = ("data.size=8", "model=linear", "epochs=1", "batch_size=16", "machine.workers=2")
    results = [
        run(config(base=(f"data={name}", f"data.root={saved / place}", *base), folder=name))
        for name, place in (("huggingface", "disk"), ("image_folder", "folder"))
    ]

    assert results[0]["tags"]["weights_sha256"] == results[1]["tags"]["weights_sha256"]
    assert results[0]["metrics"] == results[1]["metrics"]


def test_a_val_split_is_test_where_test_has_no_labels(tmp_path):
    splits = {"train": rows(0, 8), "validation": rows(8, 4), "test": rows(12, 4, [-1] * 4)}
    datasets.DatasetDict({**splits, "extra": rows(20, 2)}).save_to_disk(tmp_path)

    data = huggingface(root=str(tmp_path), size=8)

    assert data.test.tolist() == [8, 9, 10, 11]
    assert data.val is None
    assert data.listing.notes == {
        "left out": "split test, which has no labels (4 rows)",
        "unread splits": "extra",
        "read": "images from column image, labels from column label",
    }


def test_a_set_of_one_split_has_test_and_val_drawn(tmp_path):
    rows(0, 8, image="img", answer="fine_label").shuffle(seed=1).save_to_disk(tmp_path)

    data = huggingface(root=str(tmp_path), size=8)

    assert data.test is data.val is None
    assert data.images.name_of(3) == "train row 3"


@pytest.mark.parametrize(
    ("label", "classes", "wanted"),
    [
        (["dog", "cat", "dog"], ("cat", "dog"), [1, 0, 1]),
        ([[1.0, 3.0], [0.0, 1.0], [2.0, 2.0]], ("0", "1"), [[0.25, 0.75], [0, 1], [0.5, 0.5]]),
        ([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]], ("0", "1"), [0, 1, 0]),
    ],
)
def test_labels_are_texts_or_distributions_too(tmp_path, label, classes, wanted):
    rows(0, 3, label).save_to_disk(tmp_path)

    data = huggingface(root=str(tmp_path), size=8)

    assert (data.classes, data.labels.tolist()) == (classes, wanted)


def test_a_bad_image_and_a_missing_file_are_named_by_split_and_row(tmp_path):
    (tmp_path / "good.png").write_bytes(png(1))
    cells = [
        {"bytes": png(0), "path": None},
        {"bytes": b"no image", "path": None},
        {"bytes": None, "path": "good.png"},
        {"bytes": None, "path": "gone.png"},
    ]
    content = datasets.Dataset.from_dict({"image": cells, "label": [0, 1, 0, 1]})
    content.save_to_disk(tmp_path / "set")
    for name in ("good.png", "set/good.png"):
        (tmp_path / name).write_bytes(png(1))

    data = huggingface(root=str(tmp_path / "set"), size=8)

    with pytest.raises(DataError, match=r"2 of 4 images.*train row 1 of .*train row 3 of "):
        data.check_files()


def test_hashes_are_remembered_until_a_file_changes(tmp_path, monkeypatch):
    rows(0, 4).save_to_disk(tmp_path / "set")
    files = list((tmp_path / "set").iterdir())
    for file in files:
        os.utime(file, (1e9, 1e9))
    first = huggingface(root=str(tmp_path / "set"), size=8).images.hashes
    reads = []
    original = arrow_images.content_hashes
    monkeypatch.setattr(
        arrow_images, "content_hashes", lambda *args: reads.append(1) or original(*args)
    )

    again = huggingface(root=str(tmp_path / "set"), size=8).images.hashes
    assert (first == again).all()
    assert not reads
    for file in files:
        os.utime(file, (2e9 - 1e9 + 5, 1e9 + 5))
    huggingface(root=str(tmp_path / "set"), size=8).images.hashes  # noqa: B018  # reads them
    assert reads


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"root": "no/such/folder"}, "expected a folder or a name of the hub"),
        ({"root": "nobody/nothing"}, r"nobody/nothing: no such folder.*data\.download=true"),
        ({"image": "pixels"}, r"data\.image=pixels: no such column; the set has image, label"),
        ({"label": "image"}, "expected classes or lists of numbers in image"),
        ({"image": "label"}, "expected encoded images or paths in column label, got int64"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(saved, keys, reason):
    with pytest.raises(DataError, match=reason) as refused:
        huggingface(**{"root": str(saved / "disk"), "size": 8, **keys})

    assert "\n" not in str(refused.value)


def test_rows_without_a_label_are_named(tmp_path):
    rows(0, 4, [0, -1, 1, -1]).save_to_disk(tmp_path)

    with pytest.raises(DataError, match=r"got none in train row 1, train row 3$"):
        huggingface(root=str(tmp_path), size=8)


def test_without_the_library_one_line_names_what_to_install(saved, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)

    with pytest.raises(DataError, match=r"pip install 'xent-bench\[huggingface\]'$"):
        huggingface(root=str(saved / "disk"))
