"""A file of labels beside features: which column holds them, and when it may not be guessed."""

from pathlib import Path

import numpy as np
import pytest

from xent_bench.data.features import features
from xent_bench.failures import DataError

N = 30
Y = np.arange(N) % 3


@pytest.fixture
def rows(tmp_path: Path) -> str:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(N, 4)).astype(np.float32))
    return str(tmp_path / "x.npy")


def lines(*columns: object) -> str:
    return "".join(",".join(map(str, row)) + "\n" for row in zip(*columns, strict=True))


@pytest.mark.parametrize(
    "text",
    [
        "label\n" + lines(Y),
        "0.label\n" + lines(Y),
        lines(Y),
        "id,Label\n" + lines(range(1, N + 1), Y),
        "id;LABEL;who\n" + lines(range(N), Y, "a" * N).replace(",", ";"),
        "id\tlabel\n" + lines(range(N), Y).replace(",", "\t"),
    ],
)
def test_labels_are_read_with_and_without_a_heading(tmp_path: Path, rows: str, text: str):
    (tmp_path / "y.csv").write_text(text)

    assert features(root=rows, labels=str(tmp_path / "y.csv")).labels.tolist() == Y.tolist()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("2\n" + lines(Y), r"31 lines, and the first, 2, is no heading"),
        ("cat\n" + lines(np.array(["cat", "dog", "cow"])[Y]), "the first, cat, is no heading"),
        ("id,species\n" + lines(range(1, N + 1), Y), "votes .* column 0 numbers the rows"),
        (lines(range(1, N + 1), Y), "votes .* column 0 numbers the rows"),
    ],
)
def test_labels_that_would_be_shifted_or_would_be_votes_are_refused(
    tmp_path: Path, rows: str, text: str, complaint: str
):
    (tmp_path / "y.csv").write_text(text)

    with pytest.raises(DataError, match=complaint):
        features(root=rows, labels=str(tmp_path / "y.csv"))


def test_one_of_several_arrays_is_no_label_unless_it_is_called_so(tmp_path: Path, rows: str):
    np.savez(tmp_path / "y.npz", ids=np.arange(N), species=Y)
    np.savez(tmp_path / "named.npz", ids=np.arange(N), Labels=Y)
    np.savez(tmp_path / "alone.npz", species=Y)

    for name in ("named", "alone"):
        data = features(root=rows, labels=str(tmp_path / f"{name}.npz"))
        assert data.labels.tolist() == Y.tolist()
    with pytest.raises(DataError, match=r"one called labels or .*, got ids, species$"):
        features(root=rows, labels=str(tmp_path / "y.npz"))


@pytest.mark.parametrize("name", ["groups", "weights"])
@pytest.mark.parametrize("shape", [(5,), (N, 1)])
def test_groups_and_weights_of_another_shape_are_not_left_out_in_silence(
    tmp_path: Path, name: str, shape: tuple[int, ...]
):
    x = np.ones((N, 2), np.float32)
    np.savez(tmp_path / "f.npz", **{"x": x, "y": Y, name: np.ones(shape)})

    with pytest.raises(DataError, match=rf"expected {name} with a value for each of 30 rows"):
        features(root=str(tmp_path / "f.npz"))
