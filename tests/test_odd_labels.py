"""Labels that are read and may mean something else are named where a run starts."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from xent_bench.data.account import account
from xent_bench.data.features import features
from xent_bench.data.image_set import ImageSet
from xent_bench.data.split import Splits, split
from xent_bench.data.table import table
from xent_bench.runs.data_account import account_lines

N = 48


def notes(labels: list[str]) -> dict[str, str]:
    """The notes on a set in memory whose images have these labels in turn."""
    classes = tuple(sorted(set(labels)))
    index = torch.tensor([classes.index(labels[i % len(labels)]) for i in range(N)])
    images = torch.arange(N, dtype=torch.uint8)[:, None, None, None].expand(N, 1, 2, 2)
    data = ImageSet(images.contiguous(), index, classes)
    return account(data, split(data, 0)).notes


@pytest.mark.parametrize(
    ("labels", "name", "note"),
    [
        (["Cat", "cat", "dog"], "classes that differ by case only", "Cat and cat"),
        (
            ["golden retriever", "Golden_Retriever", "golden-retriever", "pug"],
            "classes spelt alike",
            "Golden_Retriever and golden retriever and golden-retriever",
        ),
        (["caf\u00e9", "cafe\u0301", "bar"], "classes spelt alike", r"'cafe\u0301' and 'caf\xe9'"),
        (["cat", "cat\u200b", "dog"], "classes spelt alike", r"cat and 'cat\u200b'"),
        (["1", "1.0", "01", "2"], "classes that are one number", "01 and 1 and 1.0"),
        (["cat", "dog", "nan"], "labels that may mean none", "nan (16 images)"),
        (["cat", "dog", "?", "N/A"], "labels that may mean none", "? (12 images), N/A (12 images)"),
        (["0", "1", "2", "-1"], "labels that may mean none", "-1 (12 images)"),
        (["images", "masks"], "classes called as parts of a set", "images and masks"),
        (["Train", "test"], "classes called as parts of a set", "Train and test"),
        (
            [f"{x / 4}" for x in range(12)],
            "labels on a scale",
            "12 numbers from 0 to 2.75, each a class by itself: to predict a quantity is no "
            "classification",
        ),
        (
            [f"2024-03-{day:02}" for day in range(1, 17)],
            "labels on a scale",
            "16 dates, each a class by itself",
        ),
        (
            [*map(str, range(N))],
            "classes of one image",
            "48 of 48: are the labels names, dates or quantities of images?",
        ),
    ],
)
def test_labels_that_may_mean_something_else_are_named(labels: list[str], name: str, note: str):
    assert notes(labels) == {name: note}


@pytest.mark.parametrize(
    "labels",
    [
        ["-1", "1"],
        ["-1", "0", "1"],
        ["-2", "-1", "0", "1"],
        ["0.5", "1.0", "1.5"],
        ["True", "False"],
        ["1", "10", "2", "007"],
        ["C", "C++", "C#"],
        ["1-2", "12", "1.2"],
        [*map(str, range(16))],
        ["rare", *["cat", "dog"] * 30],
        ["none of these", "cat"],
        ["masks", "gloves"],
    ],
)
def test_ordinary_labels_have_no_note(labels: list[str]):
    assert notes(labels) == {}


def test_a_table_and_a_file_of_features_start_with_the_note(tmp_path: Path):
    labels = ["Cat", "cat", "dog"] * (N // 3)
    for i in range(N):
        Image.new("L", (4, 4), i).save(tmp_path / f"{i}.png")
    with (tmp_path / "labels.csv").open("w", newline="") as opened:
        rows = [[f"{i}.png", label] for i, label in enumerate(labels)]
        csv.writer(opened).writerows([["path", "label"], *rows])
    x = np.arange(N * 2, dtype=np.float32).reshape(N, 2)
    np.savez(tmp_path / "x.npz", x=x, y=np.array(labels))

    sets = table(root=str(tmp_path / "labels.csv"), size=4), features(root=str(tmp_path / "x.npz"))

    for data in sets:
        lines = account_lines("mine", account(data, split(data, 0)))
        assert "  classes that differ by case only: Cat and cat" in lines


def test_votes_for_classes_that_are_spelt_alike_are_named_too():
    votes = torch.full((N, 3), 0.25) + torch.tensor([0.25, 0, 0])
    images = torch.zeros(N, 1, 2, 2, dtype=torch.uint8)
    data = ImageSet(images, votes, ("cat", "nan", "CAT"))

    assert account(data, split(data, 0)).notes == {
        "classes that differ by case only": "cat and CAT",
        "labels that may mean none": "nan",
    }


@pytest.mark.parametrize(
    ("groups", "named"),
    [
        ([i % 4 for i in range(N)], "a, b, c, ..."),  # the group is the class
        ([i // 2 for i in range(N)], None),  # two images of each patient
        ([0 if i % 4 == 3 else i for i in range(N)], "d"),  # a class that one patient has alone
    ],
)
def test_classes_that_lie_in_one_group_are_named(groups: list[int], named: str | None):
    images = torch.arange(N, dtype=torch.uint8)[:, None, None, None].expand(N, 1, 2, 2)
    data = ImageSet(
        images.contiguous(), torch.arange(N) % 4, tuple("abcd"), groups=torch.tensor(groups)
    )
    everything = Splits(*(torch.arange(N) for _ in range(4)))

    notes = account(data, everything).notes
    assert notes.get("classes of one group, so in one split alone") == named
