"""Files of votes: those of CIFAR-10H in their published form, and tables with a row for a vote."""

from functools import partial

import numpy as np
import pytest
import torch
from conftest import answer
from PIL import Image
from test_cifar import N, drawn, read, write_pickles

from xent_bench.commands.train import main
from xent_bench.config.identity import run_folder, run_key
from xent_bench.data.cifar import cifar10
from xent_bench.data.cifar10h import cifar10h
from xent_bench.data.table import table
from xent_bench.evaluation.scorecard import scorecard
from xent_bench.failures import DataError
from xent_bench.runs.files import RESULT
from xent_bench.runs.result import load_run
from xent_bench.training.run import run

QUICK = ("model=linear", "epochs=2", "batch_size=8", "machine.offline=true")


def counts() -> np.ndarray:
    """About 50 votes on each test image, most of them for its label."""
    rng = np.random.default_rng(0)
    labels = drawn(10).labels[-1]
    return np.stack(
        [rng.multinomial(50 + k % 3, np.eye(10)[y] * 0.7 + 0.03) for k, y in enumerate(labels)]
    )


@pytest.fixture
def root(tmp_path):
    """A folder with CIFAR-10 and the votes on its test images, as counts in int64."""
    write_pickles(tmp_path, 10)
    np.save(tmp_path / "cifar10h-counts.npy", counts())
    return tmp_path


def test_votes_are_the_labels_of_the_test_images_and_others_have_one_class(root):
    plain = read(root, 10)
    voted = cifar10(root=str(root), votes=str(root / "cifar10h-counts.npy"))
    expected = counts() / counts().sum(axis=1, keepdims=True)

    np.testing.assert_allclose(voted.labels[voted.test].numpy(), expected, rtol=1e-15)
    assert torch.equal(
        voted.labels[: 5 * N], torch.eye(10, dtype=torch.float64)[plain.labels[: 5 * N]]
    )
    assert torch.equal(voted.images, plain.images)
    assert "51.0 votes an image (50 to 52)" in voted.listing.notes["votes"]


def test_shares_give_the_labels_of_counts(root):
    np.save(root / "cifar10h-probs.npy", counts() / counts().sum(axis=1, keepdims=True))
    by_counts, by_shares = (
        cifar10h(root=str(root), votes=str(root / f"cifar10h-{name}.npy"))
        for name in ("counts", "probs")
    )

    np.testing.assert_allclose(by_counts.labels, by_shares.labels, rtol=1e-15)
    assert "votes an image" not in by_shares.listing.notes["votes"]


def test_cifar10h_is_the_test_images_alone_with_votes_found_beside_them(root):
    alone, whole = cifar10h(root=str(root)), read(root, 10)

    assert torch.equal(alone.images, whole.images[whole.test])
    assert alone.test is None
    np.testing.assert_allclose(alone.labels.sum(dim=1), 1)
    (root / "cifar10h-counts.npy").rename(root / "other.npy")
    with pytest.raises(
        DataError, match=r"cifar10h-counts.npy or .* data.votes=FILE names the file"
    ):
        cifar10h(root=str(root))


def changed(row: int, values: object) -> np.ndarray:
    votes = counts().astype(float)
    votes[row] = values
    return votes


@pytest.mark.parametrize(
    ("votes", "complaint"),
    [
        (changed(7, 0), r"row 7 \(counted from 0\) has no vote for any class"),
        (changed(3, -1), r"row 3 \(counted from 0\) has a negative vote"),
        (changed(5, np.nan), "row 5 .* has a number that is not finite"),
        (np.zeros((N, 10)), r"row 0, 1, 2, ... .* no vote for any class; 20 rows of 20 do"),
        (counts()[1:], "votes on 20 images for 10 classes as 20 x 10 numbers in .*, got 19 x 10"),
        (counts()[:, 1:], "as 20 x 10 numbers in .*, got 20 x 9"),
        (np.array(1.0), "got a single number"),
        (np.roll(counts(), 1, axis=1), "in the order of the images .* the label of 0 of 20 images"),
        (np.array(["a"]), "expected numbers, got <U1"),
    ],
)
def test_votes_of_another_form_are_refused_in_a_line(root, votes, complaint):
    np.save(root / "votes.npy", votes)

    with pytest.raises(DataError, match=complaint) as refusal:
        cifar10(root=str(root), votes=str(root / "votes.npy"))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("votes.npy", b"\x93NUMPY\x01", "cannot read data.votes="),
        ("votes.npy", None, "cannot read data.votes=.*No such file"),
        ("votes.csv", b"1,2\n", "expected votes in a .npy file as data.votes"),
    ],
)
def test_a_file_of_votes_that_cannot_be_read_is_named(root, name, content, complaint):
    if content is not None:
        (root / name).write_bytes(content)

    with pytest.raises(DataError, match=complaint):
        cifar10(root=str(root), votes=str(root / name))


def test_objects_in_a_file_of_votes_are_not_unpickled(root):
    np.save(root / "votes.npy", np.array([[1, None]], dtype=object), allow_pickle=True)

    with pytest.raises(DataError, match="allow_pickle"):
        cifar10(root=str(root), votes=str(root / "votes.npy"))


def test_votes_on_test_change_no_number_of_training_and_the_page_says_what_calib_has(config, root):
    base = ("data=cifar10", f"data.root={root}", *QUICK)
    plain, voted = (
        config(*words, base=base) for words in ((), (f"data.votes={root}/cifar10h-counts.npy",))
    )
    of_plain, of_voted = run(plain), run(voted)
    with (
        np.load(run_folder(plain) / "predictions.npz") as one,
        np.load(run_folder(voted) / "predictions.npz") as other,
    ):
        for name in ("calib_logits", "test_logits", "test_id"):
            assert np.array_equal(one[name], other[name])
        assert np.array_equal(one["calib_target"], other["calib_target"].argmax(axis=1))
    for key in ("val/nll", "val/top1", "test_ts/temperature"):
        assert of_voted["metrics"][key] == pytest.approx(of_plain["metrics"][key], rel=1e-9)
    assert of_voted["metrics"]["test/label_entropy"] > 0.1
    assert of_voted["tags"]["calib_labels"] == "one class each"
    notes = " ".join(scorecard(load_run(run_folder(voted) / RESULT)).notes)
    assert "calibrators are fitted to calib, where every label is one class," in notes
    assert "calib_labels" not in of_plain["tags"]


def test_a_loss_that_takes_an_index_is_trained_where_only_test_has_votes(config, root):
    words = (f"data.votes={root}/cifar10h-counts.npy", "loss=sparse_ce")
    metrics = run(config(*words, base=("data=cifar10", f"data.root={root}", *QUICK)))["metrics"]

    assert metrics["test/total_variation"] > 0


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (("data=cifar10",), "ecc5a35695"),
        (("data=table",), "a2fd7e85fe"),
        (("data=features", "model=linear"), "23996d6814"),
    ],
)
def test_keys_of_runs_without_votes_are_those_of_2a463e2(composed, words, key):
    assert run_key(composed(*words, "data.root=x")) == key


def test_a_file_of_votes_counts_in_the_key(composed):
    assert run_key(composed("data=cifar10", "data.root=x", "data.votes=y.npy")) != "ecc5a35695"


def test_a_wrong_file_of_votes_ends_the_command_with_3(place, capsys):
    write_pickles(place, 10)
    np.save(place / "votes.npy", counts()[1:])

    assert answer(main, "data=cifar10", "data.root=.", "data.votes=votes.npy", *QUICK) == 3
    assert "expected votes on 20 images for 10 classes" in capsys.readouterr().err
    assert not [*place.glob("runs/*/*")]


# --- a table with a row for each vote


def vote_rows(root, *lines: str, header: str = "file,annotator,label"):
    for name in "abcd":
        Image.new("RGB", (8, 8), (60 * "abcd".index(name), 0, 0)).save(root / f"{name}.png")
    (root / "votes.csv").write_text("\n".join([header, *lines]))
    return partial(table, root=str(root / "votes.csv"), size=8, annotator="annotator")


def test_rows_are_counted_as_votes_in_the_order_of_the_images(tmp_path):
    read = vote_rows(
        tmp_path,
        *("b.png,ann,cat", "a.png,ann,dog", "b.png,bob,dog", "a.png,bob,dog"),
        *("b.png,cid,cat", "c.png,,path", "c.png,,cat", "b.png,dan,path"),
    )
    data = read()

    assert [data.name_of(image) for image in range(3)] == ["b.png", "a.png", "c.png"]
    assert data.classes == ("cat", "dog", "path")  # a class may be called as a column
    expected = [[1 / 2, 1 / 4, 1 / 4], [0, 1, 0], [1 / 2, 0, 1 / 2]]
    np.testing.assert_allclose(data.labels, expected)
    assert "a row for each vote of column annotator" in data.listing.notes["read"]


def test_votes_that_agree_are_labels_and_other_columns_are_those_of_the_image(tmp_path):
    read = vote_rows(
        tmp_path,
        *("a.png,ann,10,x,2", "a.png,bob,10,x,2", "b.png,ann,9,,1", "c.png,ann,9,x,1"),
        header="file,annotator,label,camera,weight",
    )
    data = read(attribute="camera")

    assert data.labels.tolist() == [1, 0, 0]
    assert data.classes == ("9", "10")
    assert data.attribute.values == ("empty", "x")
    assert data.attribute.name == "camera"
    assert data.weights.tolist() == [2, 1, 1]


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        (("a.png,ann,cat", "a.png,bob,"), "1 of 2 rows of .*: line 3: expected a label, got none"),
        (
            ("a.png,ann,cat", "b.png,ann,cat", "a.png,ann,dog"),
            "line 4: ann has voted on a.png in line 2 too",
        ),
        (("a.png,ann,cat", "a.png,bob", "e.png,ann,dog"), "1 of 3 rows .* line 3: 2 cells"),
        (("a.png,a,cat", "a.png,b,dog", "e.png,a,dog"), "1 of 3 rows of .*: line 4: no file"),
        (("a.png,a,cat", "b.png,a,cat"), "at least two classes, got 1"),
    ],
)
def test_wrong_rows_of_votes_are_named(tmp_path, lines, complaint):
    with pytest.raises(DataError, match=complaint):
        vote_rows(tmp_path, *lines)()


def test_rows_of_an_image_have_to_agree_in_its_split(tmp_path):
    lines = ("a.png,ann,cat,train", "a.png,bob,cat,test")
    read = vote_rows(tmp_path, *lines, header="file,annotator,label,split")

    with pytest.raises(DataError, match=r"line 3: a\.png has another split in line 2"):
        read()


def test_a_table_of_votes_is_told_how_its_rows_are_counted(tmp_path):
    read = vote_rows(tmp_path, "a.png,ann,cat", "a.png,bob,dog")

    with pytest.raises(DataError, match=r"in line 2 \(data.annotator=annotator counts rows as v"):
        read(annotator=None)
    with pytest.raises(DataError, match=r"expected one column of labels in .*data\.label=NAME"):
        read(label=("label", "file"))
    with pytest.raises(DataError, match=r"data\.annotator=who: no such column"):
        read(annotator="who")
