"""Tables of images: their columns, encodings, wrong rows, groups, splits, votes and weights."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from xent_bench.config.configure import check_top_level, configured
from xent_bench.config.explain import exit_code
from xent_bench.data.image_set import ImageSet
from xent_bench.data.split import split
from xent_bench.data.table import table
from xent_bench.failures import DataError
from xent_bench.training.run import run

ENDINGS = ("png", "PNG")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with twelve photographs, 0.png to 11.PNG, in photos/."""
    (tmp_path / "photos").mkdir()
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 256, (9, 9, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"photos/{number}.{ENDINGS[number % 2]}")
    return tmp_path


def write(root: Path, text: str, name: str = "labels.csv", encoding: str = "utf-8") -> Path:
    (root / name).write_bytes(text.encode(encoding))
    return root / name


def rows(*labels: str, header: str = "path,label", start: str = "photos/") -> str:
    lines = [f"{start}{n}.{ENDINGS[n % 2]},{label}" for n, label in enumerate(labels)]
    return "\n".join([header, *lines, ""])


def read(file: Path, **keys: object) -> ImageSet:
    return table(root=str(file), size=8, **keys)


FORMS = {
    "comma": ("labels.csv", ",", "utf-8"),
    "byte_order_mark": ("labels.csv", ",", "utf-8-sig"),
    "semicolons_of_excel": ("labels.csv", ";", "utf-8-sig"),
    "tabs": ("labels.tsv", "\t", "utf-8"),
    "unicode_text_of_excel": ("labels.txt", "\t", "utf-16"),
    "lines_of_windows": ("labels.CSV", ",\r", "utf-8"),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_table_of_any_form_is_the_same_set(photos, form):
    name, delimiter, encoding = FORMS[form]
    text = rows("007", "café", "12, left", "007")
    text = text.replace("12, left", '"12, left"' if "," in delimiter else "12, left")
    if "," not in delimiter:
        text = "\n".join(line.replace(",", delimiter, 1) for line in text.splitlines())
    if "\r" in delimiter:
        text = text.replace("\n", "\r\n")
    data = read(write(photos, text, name, encoding))
    data.check_files()

    assert data.classes == ("007", "12, left", "café")
    assert data.labels.tolist() == [0, 2, 1, 0]
    assert [data.name_of(i) for i in (0, 1)] == ["photos/0.png", "photos/1.PNG"]
    assert data.test is data.val is data.groups is data.weights is None


def test_whole_numbers_as_names_stay_in_their_order(photos):
    assert read(write(photos, rows("10", "9", "2", "-1"))).classes == ("-1", "2", "9", "10")


def test_a_parquet_file_is_read_with_the_types_that_it_has(photos):
    names = [f"photos/{n}.{ENDINGS[n % 2]}" for n in range(4)]
    columns = {
        "image_path": names,
        "target": pa.array([3.0, 10.0, 3.0, 10.0]),
        "weight": [1, 2, 0, 1.5],
        "patient": pa.array(["a", "a", "b", None]).dictionary_encode(),
    }
    pq.write_table(pa.table(columns), photos / "labels.parquet")
    data = read(photos / "labels.parquet")

    assert data.classes == ("3", "10")
    assert data.weights.tolist() == [1, 2, 0, 1.5]
    assert data.groups.tolist() == [0, 0, 1, 2]
    (photos / "torn.parquet").write_bytes((photos / "labels.parquet").read_bytes()[:-9])
    with pytest.raises(DataError, match=r"cannot read .*torn.parquet"):
        read(photos / "torn.parquet")


def test_columns_are_named_or_have_a_usual_name(photos):
    text = rows("a,x", "b,y", header="File Name,Class,code")
    assert read(write(photos, text)).classes == ("a", "b")
    assert read(write(photos, text), label="code", path="File Name").classes == ("x", "y")
    assert read(photos / "labels.csv").listing.notes == {
        "read": "paths from column File Name, labels from column Class"
    }


@pytest.mark.parametrize(
    ("text", "keys", "complaint"),
    [
        (
            rows("a", "b", header="x,label"),
            {},
            r"a column with the paths .*\(path, .*has x, label;",
        ),
        (
            rows("a", "b", header="path,x"),
            {},
            r"a column with the labels.*has path, x; data.label=",
        ),
        (rows("a", "b"), {"label": "lable"}, "data.label=lable: no such column; .* path, label"),
        (rows("a", "b"), {"label": ("label", "c")}, "data.label=c: no such column"),
        (rows("a", "b"), {"label": ("label",)}, "two or more different columns as data.label"),
        (rows("a", "b", header="photos/3.png,a"), {}, "names of columns in line 1 .*path,label"),
        (rows("a", "b", header="path,path"), {}, "different names of columns .* got path 2 times"),
        (rows("a", "b", header="path,label") + '"photos', {}, "line 4"),
        ("", {}, "a column with the paths|expected rows"),
        ("path,label\n", {}, "expected rows in .*, got none"),
        ("path,label\n\0,a\n", {}, "expected text"),
        (rows("a", "a"), {}, "at least two classes, got 1"),
    ],
)
def test_a_table_that_cannot_be_understood_is_refused_in_one_line(photos, text, keys, complaint):
    with pytest.raises(DataError, match=complaint) as refusal:
        read(write(photos, text), **keys)

    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("labels.xlsx", "save it as CSV"),
        ("labels.json", "expected a table .csv"),
        ("nowhere.csv", "cannot read .*nowhere.csv: No such file"),
        ("photos", "data=image_folder reads"),
        ("latin.csv", "in UTF-8, line 2 is not"),
    ],
)
def test_a_file_that_is_no_table_is_refused_with_the_way_out(photos, name, complaint):
    (photos / "labels.xlsx").write_bytes(b"PK")
    write(photos, rows("é", "b"), "latin.csv", "latin-1")

    with pytest.raises(DataError, match=complaint):
        read(photos / name)


WRONG = {
    "photos/99.png,a,train,1": r"line 8: no file .*photos/99.png$",
    "photos,a,train,1": r"line 8: no file .*photos$",
    ",a,train,1": "line 8: no path",
    "photos/6.png,,train,1": "line 8: expected a label, got none",
    "photos/6.png,a,holdout,1": "line 8: expected train, val or test as its split, got holdout",
    "photos/6.png,a,,1": "line 8: expected train, val or test as its split, got none",
    "photos/6.png,a,train,-1": "line 8: expected a weight of at least 0, got -1",
    "photos/6.png,a,train,nan": "line 8: expected a weight of at least 0, got nan",
    "photos/6.png,a": "line 8: 2 cells, and 4 columns",
    "photos/0.png,b,train,1": "line 8: photos/0.png has another label or split in line 2",
    "./photos/0.png,a,test,1": "line 8: photos/0.png has another label or split in line 2",
    "photos/6,a,train,1": r"line 8: no file .*photos/6 \(data.ending=.png adds",
}


@pytest.mark.parametrize("row", WRONG)
def test_a_wrong_row_is_named_by_its_number(photos, row):
    good = rows(*(f"{'ab'[n % 2]},train,1" for n in range(5)), header="path,label,split,weight")
    file = write(photos, f"{good}\n{row}\nphotos/7.PNG,b,test,1\n")

    with pytest.raises(DataError, match=rf"cannot use 1 of 7 rows of .*labels.csv: {WRONG[row]}"):
        read(file)


def test_wrong_rows_are_counted_and_three_are_named(photos):
    file = write(photos, rows("a", "b") + "\n".join(f"x{n}.png,a" for n in range(9)))

    with pytest.raises(DataError, match=r"9 of 11 .*line 4: .*line 5: .*line 6: .*; and 6 more$"):
        read(file)


def test_paths_begin_at_the_table_or_at_a_folder_or_are_absolute(photos, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    plain = read(write(photos, rows("a", "b")))
    bare = "path,label\n0,a\n1,b\n"

    absolute = read(write(elsewhere, rows("a", "b", start=f"{photos}/photos/")))
    below = read(write(elsewhere, rows("a", "b", start="")), images=str(photos / "photos"))
    windows = read(write(photos, rows("a", "b", start=".\\photos\\")))
    with pytest.raises(DataError, match=r"data.ending=.png adds"):
        read(write(elsewhere, bare), images=str(photos / "photos"))
    one = "path,label\n0,a\n2,b\n"
    ended = read(write(elsewhere, one), images=str(photos / "photos"), ending=".png")
    for data in (absolute, below, windows):
        assert np.array_equal(data.images.hashes, plain.images.hashes)
    assert ended.name_of(1) == "2.png"


def test_a_column_of_a_usual_name_is_left_out_where_the_user_says_so(photos):
    labels = [f"{'ab'[n % 2]},{n // 2},{n},{('train', 'test')[n > 3]}" for n in range(6)]
    file = write(photos, rows(*labels, header="path,label,group,weight,split"))
    guessed = read(file)
    without = read(file, group="none", weight="none", split="none")

    assert guessed.groups.tolist() == [0, 0, 1, 1, 2, 2]
    assert guessed.weights.tolist() == [0, 1, 2, 3, 4, 5]
    for key in ("group", "weight", "split"):
        hint = f"{key} from column {key} (data.{key}=none leaves it out)"
        assert hint in guessed.listing.notes["read"]
        named = read(file, **{key: key}).listing.notes["read"]
        assert f"{key} from column {key}" in named
        assert hint not in named
    assert without.groups is without.weights is without.test is None
    assert without.listing.notes == {"read": "paths from column path, labels from column label"}


def test_a_column_that_is_switched_off_is_no_vote_either(photos):
    file = write(photos, rows("2,1,70", "1,1,60", header="path,cat,dog,weight"))

    assert read(file, weight="none").classes == ("cat", "dog")
    as_class = read(file, label=("cat", "dog", "weight"))
    assert as_class.classes == ("cat", "dog", "weight")
    assert as_class.weights is None


def test_a_column_that_is_named_as_labels_is_not_guessed_to_be_groups(photos):
    data = read(write(photos, rows("a", "b", header="path,group")), label="group")

    assert data.classes == ("a", "b")
    assert data.groups is None


@pytest.mark.parametrize(
    ("header", "values", "keys", "complaint"),
    [
        ("weight", ("70 kg", "60 kg"), {}, r"got 70 kg \(data.weight=none leaves it out\)"),
        ("weight", ("70 kg", "60 kg"), {"weight": "weight"}, r"got 70 kg; line 3"),
        ("split", ("left", "right"), {}, r"got left \(data.split=none leaves it out\)"),
        ("none", ("1", "2"), {"group": "none"}, "data.group=none means no column, and .* has a"),
    ],
)
def test_a_refused_guess_says_how_to_switch_it_off(photos, header, values, keys, complaint):
    text = rows(f"a,{values[0]}", f"b,{values[1]}", header=f"path,label,{header}")

    with pytest.raises(DataError, match=complaint):
        read(write(photos, text), **keys)


def test_votes_become_soft_labels(photos):
    text = rows("2,1,1", "0,0,5", "0.25,0.5,0.25", header="path,cat,dog,emu")
    data = read(write(photos, text))

    assert data.classes == ("cat", "dog", "emu")
    expected = torch.tensor([[0.5, 0.25, 0.25], [0, 0, 1], [0.25, 0.5, 0.25]]).double()
    torch.testing.assert_close(data.labels, expected)
    two = read(
        write(photos, rows("2,1,0", "1,1,9", header="path,cat,dog,age")), label=("cat", "dog")
    )
    assert two.classes == ("cat", "dog")
    torch.testing.assert_close(two.labels[0], torch.tensor([2 / 3, 1 / 3]).double())


def test_votes_for_one_class_alone_are_labels(photos):
    data = read(write(photos, rows("0.0,1.0", "1.0,0.0", header="image,MEL,NV")))

    assert data.labels.dtype == torch.int64
    assert data.labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("votes", "complaint"),
    [
        ("0,0", "line 3: no vote for any class"),
        ("-1,2", "line 3: expected votes of at least 0, got -1"),
        ("inf,2", "line 3: expected votes of at least 0, got inf"),
    ],
)
def test_a_row_of_votes_that_is_no_distribution_is_named(photos, votes, complaint):
    file = write(photos, rows("1,2", votes, header="path,cat,dog"))

    with pytest.raises(DataError, match=complaint):
        read(file, label=("cat", "dog"))


SPLIT = ["a,Train"] * 3 + ["b,training"] * 3 + ["a,VALID", "b,valid"] + ["a,test", "b,Testing"]


def test_splits_are_honoured(photos):
    data = read(write(photos, rows(*SPLIT, header="path,label,split")))
    splits = split(data, seed=0)

    assert data.test.tolist() == [8, 9]
    assert data.val.tolist() == [6, 7]
    assert [len(ids) for ids in splits] == [6, 1, 1, 2]
    without = read(write(photos, rows(*SPLIT[:8], header="path,label,split")))
    assert without.val is None
    assert without.test.tolist() == [6, 7]
    with pytest.raises(DataError, match="expected rows of train"):
        read(write(photos, rows(*SPLIT[6:], header="path,label,split")))


def test_a_group_in_test_and_in_train_is_an_error_that_names_it(photos):
    labels = [f"{label},p{number % 9}" for number, label in enumerate(SPLIT)]
    file = write(photos, rows(*labels, header="path,label,split,patient"))

    with pytest.raises(
        DataError, match=r"every group .* got 1 in several: p0 has 1 in train, 1 in"
    ):
        read(file)


def test_a_run_on_a_table_with_votes_weights_and_groups_ends(config, photos):
    lines = [f"{n % 3},{2 - n % 3},g{n // 2},{1 + n % 2}" for n in range(12)]
    file = write(photos, rows(*lines, header="path,cat,dog,camera,weight"))
    base = ("data=table", f"data.root={file}", "data.size=8", "model=linear", "loss=ce")
    typed = ("data.label=[cat,dog]", "data.group=camera", "batch_size=2", "machine.workers=0")

    result = run(config(*typed, base=(*base, "epochs=1")))
    assert result["n_test"] == 2


def test_a_column_that_is_misspelt_ends_a_command_with_the_code_of_data(composed, photos):
    file = write(photos, rows("a", "b"))
    wanted = composed("data=table", f"data.root={file}", "data.group=patient")
    check_top_level(wanted)

    with pytest.raises(DataError, match=r"data.group=patient: no such column") as refusal:
        configured(wanted, "data")()
    assert exit_code(refusal.value) == 3
