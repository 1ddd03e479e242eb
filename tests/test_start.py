"""The lines that the start of a run prints, once for a sweep, and what becomes of them."""

import json
from dataclasses import replace

import pytest
from trained_run import mlflow_run
from written_run import write_run

from xent_bench.commands.report import main
from xent_bench.config.identity import run_folder
from xent_bench.runs.data_account import DataAccount, account_lines, load_account, save_account
from xent_bench.sweeps.lines import Tally
from xent_bench.training.run import run

TIDY = DataAccount(
    images=1200,
    classes=3,
    splits={"train": 700, "val": 150, "calib": 150, "test": 200},
    smallest_class="cat",
    smallest_count=80,
    absent={},
    test="drawn",
    shape=(3, 224, 224),
    crop=None,
    folder="pets",
    test_folder=None,
    left_out={},
    unread=(),
    leaks={},
    leak_examples=(),
    repeated=0,
    conflicts=0,
    conflict_examples=(),
)
ODD = replace(
    TIDY,
    test="official",
    test_folder="val",
    absent={"val": 1},
    left_out={"hidden": 3, "no image (.txt)": 1},
    unread=("extra",),
    leaks={"test": 4},
    leak_examples=(("train/cat/a.png", "val/cat/b.png"),),
    repeated=2,
    conflicts=2,
    conflict_examples=(("train/cat/a.png", "train/dog/a.png"),),
)


def test_a_tidy_set_takes_two_lines():
    assert account_lines("image_folder", TIDY) == [
        "image_folder from pets: 1,200 images of 3 classes, 224 x 224 pixels, colour",
        "  700 train (smallest class: cat, 80), 150 val, 150 calib, 200 test; "
        "test is drawn, the same for every seed",
    ]


def test_what_is_odd_in_a_set_is_told():
    assert account_lines("image_folder", ODD)[1:] == [
        "  700 train (smallest class: cat, 80), 150 val, 150 calib, 200 test; "
        "test is the folder val, since there is no folder test",
        "  no image of: 1 class in val",
        "  left out: 3 hidden, 1 no image (.txt), folder extra",
        "  also in an earlier split: 4 of test: train/cat/a.png = val/cat/b.png, ... "
        "(xent-data data=... --all lists them)",
        "  twice in train: 2 images",
        "  with another label too: 2 images: train/cat/a.png = train/dog/a.png",
    ]


def test_the_account_is_read_back_and_a_damaged_one_is_not(tmp_path):
    save_account(ODD, tmp_path)
    file = tmp_path / "images.json"
    content = json.loads(file.read_text())
    del content["sha256"]

    assert json.loads(json.dumps(load_account(tmp_path).__dict__)) == content
    for damage in ({"splits": 3}, {"shape": ["a", 1, 1]}, {"leaks": {"test": "x"}}, {"more": 1}):
        file.write_text(json.dumps(content | damage))
        assert load_account(tmp_path) is None, damage
    file.write_text("[]")
    assert load_account(tmp_path) is None


@pytest.fixture
def trained(config, capsys):
    """Config of a trained run, and what the run printed."""
    wanted = config("batch_size=50")
    run(wanted)
    return wanted, capsys.readouterr().out


def test_a_run_says_its_images_setting_and_device_before_it_trains(trained):
    _, printed = trained

    lines = printed.splitlines()
    assert lines[0] == "synthetic: 600 images of 10 classes, 8 x 8 pixels, grey"
    assert lines[1].startswith("  336 train (smallest class: class ")
    assert lines[2].startswith("  model=mlp epochs=3 batch_size=50 optimizer=adamw optimizer.lr=")
    assert lines[2].endswith(", 1 thread")


def test_a_sweep_introduces_each_set_of_images_once(trained, capsys):
    wanted, _ = trained
    tally = Tally(3, 3, {"optimizer.lr"})
    for _ in range(2):
        tally.introduce(run_folder(wanted))
    lines = capsys.readouterr().out.splitlines()

    assert len(lines) == 3
    assert "optimizer.lr" not in lines[2]
    assert "optimizer=adamw" in lines[2]


def test_mlflow_has_the_images_as_the_runs_data_set(trained):
    wanted, _ = trained
    (used,) = mlflow_run(wanted).inputs.dataset_inputs

    assert used.dataset.name == "synthetic"
    assert mlflow_run(wanted).data.tags["data_sha256"].startswith(used.dataset.digest)
    assert json.loads(used.dataset.profile)["images"].startswith("600 images of 10 classes")
    assert used.tags[0].value == "train, val, calib, test"


def test_the_page_has_a_table_of_the_images(tmp_path):
    for loss in ("ce", "mse"):
        save_account(ODD, write_run(tmp_path / "runs", loss, 0))
    main([str(tmp_path / "runs"), "--page", str(tmp_path / "page.html")])

    page = (tmp_path / "page.html").read_text()
    assert ">Images<" in page
    assert "train/cat/a.png = train/dog/a.png" in page
