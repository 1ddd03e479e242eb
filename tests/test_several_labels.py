"""Several labels for an image are refused, however they are written, and votes are not."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from xent_bench.data.features import features
from xent_bench.data.huggingface import huggingface
from xent_bench.data.image_set import ImageSet
from xent_bench.data.table import table
from xent_bench.failures import DataError

CLASSES = ("cat", "dog", "panda")
LABELS = [("cat",), ("dog",), ("cat", "dog"), ("panda",)] * 4
ONES = [[int(name in labels) for name in CLASSES] for labels in LABELS]
SAID = r"one class an image; several labels an image .* \(binary cross-entropy\)"


@pytest.fixture
def pictures(tmp_path: Path) -> list[str]:
    names = [f"{i}.png" for i in range(len(LABELS))]
    for i, name in enumerate(names):
        Image.new("RGB", (8, 8), (i, i, i)).save(tmp_path / name)
    return names


def written(folder: Path, heading: list[str], rows: list[list[object]]) -> str:
    file = folder / "labels.csv"
    with file.open("w", newline="") as opened:
        csv.writer(opened).writerows([heading, *rows])
    return str(file)


@pytest.mark.parametrize("mark", ["|", ";", ",", " | "])
def test_a_column_that_lists_labels_is_refused(tmp_path: Path, pictures: list[str], mark: str):
    rows = [[name, mark.join(labels)] for name, labels in zip(pictures, LABELS, strict=True)]

    with pytest.raises(DataError, match=f"labels.csv, line 4: 'cat.*dog' looks like .*{SAID}"):
        table(root=written(tmp_path, ["path", "label"], rows))


@pytest.mark.parametrize("names", [("red|cat", "red|dog", "blue|cat"), ("tench, Tinca", "cat")])
def test_a_mark_within_a_name_makes_no_list(tmp_path: Path, pictures: list[str], names: list[str]):
    rows = [[name, names[i % len(names)]] for i, name in enumerate(pictures)]

    assert table(root=written(tmp_path, ["path", "label"], rows)).classes == tuple(sorted(names))


def test_a_column_for_each_class_that_says_yes_or_no_is_refused(
    tmp_path: Path, pictures: list[str]
):
    rows = [[name, *ones] for name, ones in zip(pictures, ONES, strict=True)]

    with pytest.raises(DataError, match=f"4 of 16 rows of labels hold several ones.*{SAID}"):
        table(root=written(tmp_path, ["path", *CLASSES], rows))


def test_a_row_for_each_label_is_refused(tmp_path: Path, pictures: list[str]):
    pairs = zip(pictures, LABELS, strict=True)
    rows = [[name, label] for name, labels in pairs for label in labels]

    with pytest.raises(DataError, match=SAID):
        table(root=written(tmp_path, ["path", "label"], rows))


def test_another_split_of_an_image_is_no_second_label(tmp_path: Path, pictures: list[str]):
    rows = [[pictures[0], "cat", "train"], [pictures[0], "cat", "test"]]

    with pytest.raises(DataError, match=r"another label or split in line 2$"):
        table(root=written(tmp_path, ["path", "label", "split"], rows))


def test_a_column_of_lists_in_parquet_is_refused(tmp_path: Path, pictures: list[str]):
    import pyarrow as pa
    import pyarrow.parquet as pq

    lists = [list(labels) for labels in LABELS]
    pq.write_table(pa.table({"path": pictures, "label": lists}), tmp_path / "labels.parquet")

    with pytest.raises(DataError, match=f"column label of .* got lists: .*{SAID}"):
        table(root=str(tmp_path / "labels.parquet"))


@pytest.mark.parametrize("dtype", ["int64", "uint8", "float32", "bool"])
def test_rows_of_yes_and_no_beside_features_are_refused(tmp_path: Path, dtype: str):
    x = np.random.default_rng(0).normal(size=(len(ONES), 5)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=x, y=np.array(ONES, dtype))

    with pytest.raises(DataError, match=SAID):
        features(root=str(tmp_path / "x.npz"))


@pytest.mark.parametrize("dtype", [torch.int64, torch.float32, torch.bool])
def test_a_function_that_returns_rows_of_yes_and_no_is_told(dtype: torch.dtype):
    images = torch.zeros(len(ONES), 1, 4, 4, dtype=torch.uint8)

    with pytest.raises(DataError, match=SAID):
        ImageSet(images, torch.tensor(ONES).to(dtype), CLASSES)


@pytest.mark.parametrize("written_as", ["ids", "names", "ones"])
def test_lists_of_classes_of_hugging_face_are_refused(
    tmp_path: Path, pictures: list[str], written_as: str
):
    import datasets

    lists, inner = {
        "ids": (
            [[CLASSES.index(name) for name in labels] for labels in LABELS],
            datasets.ClassLabel(names=list(CLASSES)),
        ),
        "names": ([list(labels) for labels in LABELS], datasets.Value("string")),
        "ones": (ONES, datasets.Value("int64")),
    }[written_as]
    columns = {"image": [str(tmp_path / name) for name in pictures], "label": lists}
    kinds = datasets.Features({"image": datasets.Image(), "label": datasets.List(inner)})
    datasets.Dataset.from_dict(columns, features=kinds).save_to_disk(str(tmp_path / "set"))

    with pytest.raises(DataError, match=SAID):
        huggingface(root=str(tmp_path / "set"))


@pytest.mark.parametrize(
    "votes",
    [
        [[2, 0, 0], [1, 1, 0], [1, 1, 0], [0, 2, 0]],  # two who voted, and who agreed somewhere
        [[0.5, 0.5, 0], [1, 0, 0], [0, 1, 0]],
        [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
        [[1, 1, 0], *[[1, 0, 0]] * 30],  # one in doubt
    ],
)
def test_votes_and_shares_are_no_several_labels(tmp_path: Path, votes: list[list[float]]):
    rows = np.array(votes * 4)
    np.savez(tmp_path / "x.npz", x=np.ones((len(rows), 5), np.float32), y=rows)

    assert len(features(root=str(tmp_path / "x.npz")).classes) == 3
