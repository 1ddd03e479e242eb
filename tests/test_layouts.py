"""Folders as people have them: splits by several names, apart, below another folder, linked."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from xent_bench.config.configure import ConfigError, check_top_level
from xent_bench.config.identity import run_key
from xent_bench.data.account import account
from xent_bench.data.image_folder import image_folder
from xent_bench.data.image_set import ImageSet
from xent_bench.data.split import Splits, split
from xent_bench.failures import DataError, UsageError
from xent_bench.runs.data_account import account_rows


def write(root: Path, *names: str) -> Path:
    for name in names:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        seed = int.from_bytes(name.encode()) % 2**32
        pixels = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), np.uint8)
        Image.fromarray(pixels).save(file)
    return root


def of_split(split: str, n: int) -> list[str]:
    return [f"{split}/{name}/{number}.png" for name in ("cat", "dog") for number in range(n)]


def names(data: ImageSet, ids: torch.Tensor | None = None) -> list[str]:
    return [data.name_of(i) for i in (range(len(data.images)) if ids is None else ids.tolist())]


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """A folder with all three splits."""
    return write(tmp_path, *of_split("Train", 6), *of_split("valid", 3), *of_split("TEST", 2))


def test_an_official_validation_split_becomes_val_and_calib_half_each(whole):
    data = image_folder(root=str(whole), size=8)
    one, other = split(data, seed=0), split(data, seed=1)

    assert data.val is not None
    assert {name.partition("/")[0] for name in names(data, data.val)} == {"valid"}
    assert sorted(torch.cat((one.val, one.calib)).tolist()) == data.val.tolist()
    assert [len(ids) for ids in one] == [12, 3, 3, 4]
    assert data.index[one.val].bincount().tolist() in ([1, 2], [2, 1])
    assert torch.equal(one.train, other.train)
    assert torch.equal(one.test, other.test)
    assert any(not torch.equal(one.val, split(data, seed).val) for seed in range(1, 5))


def test_the_start_of_a_run_says_which_folders_are_val_and_test(whole):
    data = image_folder(root=str(whole), size=8)
    rows = dict(account_rows("image_folder", account(data, split(data, 0))))

    assert rows["splits"].endswith(
        "val and calib are the folder valid, half each; test is the folder TEST"
    )


def test_without_test_the_validation_split_is_the_test_split_and_this_is_said(tmp_path):
    data = image_folder(
        root=str(write(tmp_path, *of_split("train", 9), *of_split("Dev", 2))), size=8
    )
    rows = dict(account_rows("image_folder", account(data, split(data, 0))))

    assert data.val is None
    assert {name.partition("/")[0] for name in names(data, data.test)} == {"Dev"}
    assert rows["splits"].endswith("test is the folder Dev, since there is no folder test")


def test_ids_of_train_and_test_are_those_of_versions_that_did_not_read_val(tmp_path):
    write(tmp_path, *of_split("train", 2), *of_split("test", 1))
    before = names(image_folder(root=str(tmp_path), size=8))
    write(tmp_path, *of_split("val", 1))

    assert names(image_folder(root=str(tmp_path), size=8))[: len(before)] == before


def test_splits_may_lie_apart(tmp_path, monkeypatch):
    write(tmp_path / "one", *of_split("photos", 6))
    write(tmp_path / "two/deep", *of_split("held_out", 2), *of_split("dev", 2))
    monkeypatch.chdir(tmp_path)
    apart = image_folder(train="one/photos", test="two/deep/held_out", size=8)

    assert names(apart)[0] == "one/photos/cat/0.png"
    assert names(apart, apart.test)[0] == "two/deep/held_out/cat/0.png"
    assert apart.val is None
    below = image_folder(root=str(tmp_path), train="one/photos", val="two/deep/dev", size=8)
    assert below.test is None  # a fifth of train is drawn: val was asked for by its name
    assert len(below.val) == 4
    apart.check_files()
    assert [len(ids) for ids in split(below, 0)] == [10, 2, 2, 2]


@pytest.mark.parametrize(
    ("folders", "complaint"),
    [
        ({"train": "a", "test": "nowhere"}, "expected a folder as data.test, got .*nowhere"),
        ({"train": "a", "test": "a"}, "expected two folders as data.train and data.test, got one"),
        ({"test": "a"}, "expected data.train=FOLDER beside data.val and data.test"),
    ],
)
def test_folders_apart_that_cannot_be_used_are_named(tmp_path, folders, complaint):
    write(tmp_path, *of_split("a", 1))
    with pytest.raises(DataError, match=complaint):
        image_folder(root=str(tmp_path), **folders, size=8)


def test_no_folder_at_all_is_a_mistake_of_usage(composed):
    with pytest.raises(UsageError, match=r"data\.root: has to be given"):
        image_folder()
    with pytest.raises(ConfigError, match=r"data\.root: has to be given.*or data.train=FOLDER"):
        check_top_level(composed("data=image_folder"))
    check_top_level(composed("data=image_folder", "data.train=a", "data.test=b"))


def test_the_new_keys_do_not_count_where_they_are_not_used(composed):
    plain = run_key(composed("data=image_folder", "data.root=x", "data.size=8"))

    assert plain != run_key(
        composed("data=image_folder", "data.root=x", "data.size=8", "data.val=v")
    )
    typed = ("data=image_folder", "data.root=x", "data.size=8", "data.train=null")
    assert plain == run_key(composed(*typed))


@pytest.mark.parametrize("top", ["flowers", "archive/flowers"])
def test_the_only_folder_of_an_archive_is_entered(tmp_path, top):
    write(tmp_path, *(f"{top}/{name}" for name in of_split("train", 2)))
    data = image_folder(root=str(tmp_path), size=8)

    assert data.listing.folder == str(tmp_path / top)
    assert names(data)[0] == "train/cat/0.png"
    (tmp_path / "loop").mkdir()
    (tmp_path / "loop/again").symlink_to(tmp_path / "loop")
    with pytest.raises(DataError, match=r"has again/, without images"):
        image_folder(root=str(tmp_path / "loop"), size=8)


def test_empty_classes_are_left_out_and_counted(tmp_path):
    write(tmp_path, *of_split("train", 2), "test/cat/0.png")
    for folder in ("train/emu", "train/yak", "test/dog"):
        (tmp_path / folder).mkdir()
    (tmp_path / "train/emu/.keep").touch()
    data = image_folder(root=str(tmp_path), size=8)

    assert data.classes == ("cat", "dog")
    assert data.listing.left_out == {"empty class folder": 3}
    write(tmp_path, "test/emu/0.png")
    with pytest.raises(DataError, match="no class of train with an image is called emu"):
        image_folder(root=str(tmp_path), size=8)


def test_a_validation_split_without_an_image_is_refused(tmp_path):
    write(tmp_path, *of_split("train", 2), *of_split("test", 1))
    (tmp_path / "val").mkdir()

    with pytest.raises(DataError, match=r"each class in .*/val, found no folder"):
        image_folder(root=str(tmp_path), size=8)


def test_classes_that_differ_by_case_are_named(tmp_path):
    write(tmp_path, "train/Cat/0.png", "train/cat/0.png", "train/dog/0.png")
    data = image_folder(root=str(tmp_path), size=8)

    assert data.classes == ("Cat", "cat", "dog")
    notes = account(data, Splits(*(torch.tensor([0, 1, 2]),) * 4)).notes
    assert notes == {"classes that differ by case only": "Cat and cat"}
    write(tmp_path, "test/Dog/0.png")
    with pytest.raises(DataError, match=r"is called Dog \(it has dog, in another case\)"):
        image_folder(root=str(tmp_path), size=8)


def test_links_to_files_and_folders_are_followed_out_of_the_root(tmp_path):
    write(tmp_path / "store", *of_split("x", 1))
    (tmp_path / "set/train/cat").mkdir(parents=True)
    (tmp_path / "set/train/cat/a.PNG").symlink_to(tmp_path / "store/x/cat/0.png")
    (tmp_path / "set/train/dog").symlink_to(tmp_path / "store/x/dog")
    (tmp_path / "set/train/gone").symlink_to(tmp_path / "nowhere")
    os.symlink(tmp_path / "set/train", tmp_path / "set/train/dog/loop")
    data = image_folder(root=str(tmp_path / "set"), size=8)
    data.check_files()

    assert names(data) == ["train/cat/a.PNG", "train/dog/0.png"]
    assert data.listing.left_out["broken link"] == 1
