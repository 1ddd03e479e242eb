"""xent-data: what it says of a set before anything is trained on it."""

import json
import sys

import numpy as np
import pytest
from PIL import Image

from xent_bench.commands.data import main
from xent_bench.exit_codes import Exit


@pytest.fixture
def say(monkeypatch, capsys):
    def run(*words: str) -> tuple[str, str, int]:
        monkeypatch.setattr(sys, "argv", ["xent-data", *words])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        return " ".join(out.split()), err, code

    return run


@pytest.fixture
def photos(tmp_path):
    """Two classes in train and test, 120 and 10 images of train, all of them 40 x 30 and grey."""
    rng = np.random.default_rng(0)
    for split, name, n in (
        ("train", "cat", 120),
        ("train", "dog", 10),
        ("test", "cat", 20),
        ("test", "dog", 20),
    ):
        folder = tmp_path / "photos" / split / name
        folder.mkdir(parents=True)
        for number in range(n):
            pixels = rng.integers(0, 256, (30, 40), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "photos"


def test_a_set_is_shown_with_its_splits_classes_files_and_the_next_command(say, photos):
    out, _, code = say("data=image_folder", f"data.root={photos}", "data.size=32")

    assert code == 0
    assert "170 images of 2 classes" in out
    assert "40 test" in out
    assert "files: 40 x 30 to 40 x 30 pixels, median 40 x 30; 170 L" in out
    assert "enlarged: 170 images" in out
    assert f"Next: xent-train -m data=image_folder data.root={photos} data.size=32 loss=" in out


def test_hints_are_given_where_they_are_true(say, photos):
    uneven, _, _ = say("data=image_folder", f"data.root={photos}")
    even, _, _ = say("data=digits")

    assert "12 times as many images as the smallest: balanced_softmax" in uneven
    assert "data.channels=1 gives the net one channel" in uneven
    assert "data.size=original does not resize them" in uneven
    assert "Hints" not in even


def test_copies_between_train_and_test_are_counted_and_listed(say, photos):
    for number in range(14):
        (photos / f"test/cat/copy{number:02}.png").write_bytes(
            (photos / f"train/cat/{number}.png").read_bytes()
        )
    typed = "data=image_folder", f"data.root={photos}"
    few, _, _ = say(*typed)
    every, _, _ = say(*typed, "--all")
    page = json.loads(say(*typed, "--json", "--all")[0])

    assert "of test are in another split too, so scores on test flatter" in few
    assert "more: --all lists them" in few
    assert page["account"]["leaks"]["test"] == 14
    assert sum("test/cat/copy" in copy for _, copy in page["account"]["leak_examples"]) == 14
    assert all(
        f"test/cat/copy{number:02}.png is train/cat/{number}.png" in every for number in (3, 13)
    )


def test_files_that_cannot_be_read_do_not_hide_the_others(say, photos):
    (photos / "train/cat/0.png").write_bytes(b"no image")
    out, _, code = say("data=image_folder", f"data.root={photos}", "data.size=16")

    assert code == Exit.DATA
    assert "Not readable: replace or delete them" in out
    assert "train/cat/0.png" in out
    assert "169 L" in out


def test_the_size_of_a_photograph_is_that_of_the_upright_image(say, photos):
    lying = Image.Exif()
    lying[274] = 6
    image = Image.fromarray(np.zeros((50, 90, 3), np.uint8))
    image.save(photos / "train/dog/lying.jpg", exif=lying)
    out, _, _ = say("data=image_folder", f"data.root={photos}", "data.size=16")

    assert "files: 40 x 30 to 50 x 90 pixels" in out
    assert "170 L, 1 RGB" in out


def test_many_classes_are_summed(say):
    out, _, _ = say("data=synthetic", "data.n=4000", "data.classes=50")

    assert "... 40 classes between them" in out


def test_a_mistake_is_one_line(say, tmp_path):
    for words, expected, code in (
        (("epochs=3",), "no key of xent-data", Exit.USAGE),
        (("data=image_folder", f"data.root={tmp_path}/no"), "No such file", Exit.DATA),
        (("data=digist",), "digits", Exit.USAGE),
    ):
        out, err, got = say(*words)
        assert (out, got) == ("", code)
        assert expected in err.splitlines()[-1]
        assert "Traceback" not in err


def test_noise_is_counted_as_a_run_would_have_it(say):
    out, _, code = say("data=digits", "noise=pair", "noise.rate=0.5")
    clean, _, _ = say("data=digits")

    assert code == 0
    assert "noise: pair at a rate of 0.5: " in out
    assert "noise:" not in clean
    assert "Next: xent-train -m data=digits noise=pair noise.rate=0.5 loss=ce,focal" in out
