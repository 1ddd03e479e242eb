"""Columns of numbers that nobody named are votes only where they can be."""

import csv
from pathlib import Path

import pytest
from PIL import Image

from xent_bench.data.huggingface import huggingface
from xent_bench.data.table import table
from xent_bench.failures import DataError

N = 60
HEADING = ["path", "cat", "dog"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i in range(N):
        Image.new("L", (2, 2), i).save(tmp_path / f"{i}.png")
    return tmp_path


def written(folder: Path, heading: list[str], rows: list[list[object]]) -> str:
    with (folder / "votes.csv").open("w", newline="") as opened:
        csv.writer(opened).writerows([heading, *([f"{i}.png", *row] for i, row in enumerate(rows))])
    return str(folder / "votes.csv")


@pytest.mark.parametrize(
    ("column", "rows", "reason"),
    [
        ("Unnamed: 0", [[i % 3, 3 - i % 3, i] for i in range(N)], "Unnamed: 0 numbers the rows"),
        ("id", [[i % 3, 3 - i % 3, 7 * i % 61] for i in range(N)], "id numbers the rows"),
        ("total", [[i % 3, 3 - i % 2, i % 3 + 3 - i % 2] for i in range(N)], "total is the sum"),
        (
            "fold",
            [[0.3, 0.7, i % 5] for i in range(N)],
            "fold is beside cat to dog, which sum to 1 in every row",
        ),
        ("age", [[i % 2, 1 - i % 2, 20 + i % 40] for i in range(N)], "age is beside cat to dog"),
        ("score", [[i % 3, i % 4, i / 100] for i in range(N)], "rows hold fractions and sum to 0 "),
    ],
)
def test_a_column_that_cannot_hold_votes_is_refused_by_its_name(
    folder: Path, column: str, rows: list[list[object]], reason: str
):
    file = written(folder, [*HEADING, column], rows)

    with pytest.raises(DataError, match=rf"no votes .*{reason}.*data\.label=\[NAME,NAME\]"):
        table(root=file, size=2)
    if column != "score":
        assert table(root=file, size=2, label=("cat", "dog")).classes == ("cat", "dog")


@pytest.mark.parametrize(
    "rows",
    [
        [[i % 4, 3 - i % 4] for i in range(N)],
        [[1 + i % 4, i % 7] for i in range(N)],  # as many annotators as came
        [[0.333, 0.667] if i % 2 else [0.33, 0.66] for i in range(N)],
        [[33.3, 66.6] if i % 2 else [10, 90] for i in range(N)],
        [[i % 2, 1 - i % 2] for i in range(N)],
        [[0, 1], [1, 1], [2, 1]],  # few rows may number themselves by chance
    ],
)
def test_votes_and_shares_are_still_guessed(folder: Path, rows: list[list[object]]):
    assert table(root=written(folder, HEADING, rows), size=2).classes == ("cat", "dog")


def test_a_column_of_splits_of_another_name_is_named_where_it_is_not_read(folder: Path):
    rows: list[list[object]] = [["ab"[i // 2 % 2], ["Train", "test"][i % 2]] for i in range(N)]
    file = written(folder, ["path", "label", "set"], rows)

    note = table(root=file, size=2).listing.notes["unread splits"]
    assert note == "column set (data.split=set honours it)"
    assert "unread splits" not in table(root=file, size=2, split="set").listing.notes


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([[i + 1, i % 3] for i in range(N)], "number 0 numbers the rows"),
        ([[i / 4, 2.5, 3.0 + i % 7, 4.0] for i in range(N)], "rows hold fractions and sum to 9.5 "),
        ([[i % 4, 3 - i % 4] for i in range(N)], ""),
        ([[0.25, 0.75]] * N, ""),
    ],
    ids=["a number and a label", "a box", "votes", "shares"],
)
def test_lists_of_hugging_face_that_are_no_votes_are_refused(
    folder: Path, rows: list[list[float]], reason: str
):
    import datasets

    kinds = datasets.Features(
        {"image": datasets.Image(), "label": datasets.List(datasets.Value("float64"))}
    )
    columns = {"image": [str(folder / f"{i}.png") for i in range(N)], "label": rows}
    datasets.Dataset.from_dict(columns, features=kinds).save_to_disk(str(folder / "set"))

    if reason:
        with pytest.raises(DataError, match=rf"lists of column label, but {reason}"):
            huggingface(root=str(folder / "set"), size=2)
    else:
        assert huggingface(root=str(folder / "set"), size=2).classes == ("0", "1")
