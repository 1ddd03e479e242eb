"""xent-predict: what it answers is what the run's own test gave, image by image."""

import csv
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from io import StringIO
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from PIL import Image

from xent_bench.commands.predict import main
from xent_bench.config.identity import run_folder
from xent_bench.config.schema import CONF, register_schema
from xent_bench.data.digits import digits
from xent_bench.data.split import split
from xent_bench.prediction import written
from xent_bench.prediction.pictures import AHEAD, CHUNK, Reader, decoded
from xent_bench.prediction.rows import Row, Wanted
from xent_bench.runs.predictions import load as load_predictions
from xent_bench.runs.result import Run, load_run
from xent_bench.trained_net import load
from xent_bench.training.run import run

LOSSES = ("ce", "mse", "hinge")


@pytest.fixture(scope="session")
def predicted(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of runs on digits of three losses and, for ce, two seeds; 'runs' is that of all.

    Beside it 'png' has test's images as PNG files, named after their ids. Tests change nothing.
    """
    root = tmp_path_factory.mktemp("predicted")
    store = f"sqlite:///{shutil.copy(empty_store, root)}"
    register_schema()
    folders = {"runs": root / "runs", "png": root / "png"}
    base = ("machine=cpu", "machine.threads=1", "data=digits", "model=mlp", "model.width=16")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for loss, seed in [*product(LOSSES, (0,)), ("ce", 1)]:
            config = compose("train", [*base, "epochs=4", f"loss={loss}", f"seed={seed}"])
            config.machine.runs, config.machine.tracking = str(root / "runs"), store
            run(config, f"xent-train loss={loss}")
            folders[f"{loss}{seed or ''}"] = run_folder(config)
    folders["png"].mkdir()
    data = digits()
    for number in split(data, 0).test.tolist():
        Image.fromarray(data.images[number, 0].numpy()).save(folders["png"] / f"{number:04d}.png")
    return folders


@pytest.fixture
def type_words(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Type xent-predict with these words: exit code, output and errors."""

    def typed(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        shown = capsys.readouterr()
        return int(ended.value.code or 0), shown.out, shown.err

    return typed


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines()))


@pytest.mark.parametrize("loss", LOSSES)
def test_image_files_give_the_scores_of_the_runs_test_again(predicted, type_words, loss):
    folder = predicted[loss]
    code, out, _ = type_words(folder, predicted["png"], "--json", "--top", 10)
    test = load_predictions(folder / "predictions.npz").test
    truth = dict(zip(test.id.tolist(), test.target.tolist(), strict=True))
    nll, right = [], []
    for line in out.splitlines():
        row = json.loads(line)
        label = str(truth[int(Path(row["file"]).stem)])
        (p,) = [entry["probability"] for entry in row["top"] if entry["class"] == label]
        nll.append(-np.log(p))
        right.append(row["class"] == label)
    metrics = load_run(folder / "result.json").metrics

    assert (code, len(nll)) == (0, len(test.id))
    assert np.mean(nll) == pytest.approx(metrics["test_ts/nll"], abs=1e-6)
    assert np.mean(right) == pytest.approx(metrics["test/top1"], abs=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_split_of_the_run_is_scored_as_its_test_was(predicted, type_words, loss):
    _, out, _ = type_words(predicted[loss], "--split", "test")
    metrics = load_run(predicted[loss] / "result.json").metrics
    keys = {"top1": "test/top1", "nll": "test_ts/nll", "ece": "test_ts/ece"}
    expected = ", ".join(f"{name} {metrics[key]:.6g}" for name, key in keys.items())

    assert f"Scores of these 359 images: {expected}." in " ".join(out.split())


def test_a_table_shows_thirty_rows_and_counts_the_others(predicted, type_words):
    code, out, _ = type_words(predicted["ce"], predicted["png"], "--top", 1)

    assert code == 0
    assert out.count(".png") == written.SHOWN
    assert "and 329 more: --csv FILE has them all" in out


def test_raw_probabilities_are_those_as_trained(predicted, type_words):
    folder = predicted["ce"]
    file = min(predicted["png"].iterdir())
    _, out, _ = type_words(folder, file, "--raw", "--csv", "-")
    (row,) = rows_of(out)
    pixels = torch.from_numpy(np.array(Image.open(file)))[None, None]
    as_trained = load(folder)(pixels, calibrated=False).exp().max()

    assert float(row["probability"]) == pytest.approx(float(as_trained), abs=1e-12)


def test_a_hinge_has_no_raw_probabilities(predicted, type_words):
    code, _, err = type_words(predicted["hinge"], predicted["png"], "--raw")

    assert code == 2
    assert "the outputs of hinge are scores and no probabilities" in err
    assert err.count("\n") == 1


def test_an_image_that_cannot_be_read_is_a_row_and_the_others_go_on(
    predicted, type_words, tmp_path
):
    good = min(predicted["png"].iterdir())
    shutil.copy(good, tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no image")
    Image.new("L", (9, 8)).save(tmp_path / "c.png")
    (tmp_path / "d.png").write_bytes(good.read_bytes()[:80])
    (tmp_path / "inner").mkdir()
    shutil.copy(good, tmp_path / "inner" / "a.png")
    (tmp_path / "notes.txt").write_text("left out")
    code, out, err = type_words(predicted["ce"], tmp_path, tmp_path / "gone.png", "--csv", "-")
    rows = rows_of(out)
    errors = {Path(row["file"]).name: row["error"] for row in rows if row["error"]}

    assert code == 3
    names = [row["file"].removeprefix(f"{tmp_path}/") for row in rows]
    assert names == ["a.png", "b.png", "c.png", "d.png", "inner/a.png", "gone.png"]
    assert errors.keys() == {"b.png", "c.png", "d.png", "gone.png"}
    assert errors["b.png"].startswith("it is no JPEG")
    assert errors["c.png"].startswith("expected 8 x 8 pixels, got 9 x 8")
    assert errors["gone.png"] == "no such file or folder"
    assert rows[0]["class"] == rows[4]["class"] != ""
    assert "4 of 6 could not be predicted" in err
    assert "file with another ending: 1" in err


def test_a_table_shows_few_images_that_failed_alike_and_counts_the_others(
    predicted, type_words, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    for place in range(50):  # of as many sizes, so that the messages differ in numbers
        Image.new("L", (20 + place, 30)).save(f"a{place:02d}.png")
    shutil.copy(min(predicted["png"].iterdir()), "b.png")
    code, out, _ = type_words(predicted["ce"], ".")
    table, _, sum_of_all = out.partition("51 could not be predicted")

    assert code == 3
    assert table.count("expected 8 x 8") == 3
    assert "./b.png" in table
    assert "and 47 more, of which 47 failed as ./a00.png did: --csv FILE has" in table
    assert sum_of_all.count("a00.png") == 1


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        (0, "and 2 more, of which 2 failed as bad0 did"),
        (28, "and 3 more, of which 3 failed as bad0 did"),  # two of five are in the table
        (30, "and 5 more, of which 5 failed, as bad0"),  # none is
    ],
)
def test_those_that_failed_and_are_not_in_the_table_are_counted(capsys, answers, said):
    writer = written.TableWriter(Wanted(top=1))
    writer.write([Row(f"good{place}", ["cat"], [1.0]) for place in range(answers)])
    writer.write([Row(f"bad{place}", error=f"got {place} x 9 pixels") for place in range(5)])
    writer.finish()

    assert said in " ".join(capsys.readouterr().out.split())


def test_words_that_name_nothing_are_refused_in_one_line(predicted, type_words):
    code, out, err = type_words(predicted["ce"], "pictures", "gone.png")

    assert (code, out) == (2, "")
    assert err.splitlines()[-1] == "xent-predict: pictures, gone.png: no such file or folder"


def test_colour_becomes_grey_for_a_grey_net_and_is_said_once(predicted, type_words, tmp_path):
    grey = Image.open(min(predicted["png"].iterdir()))
    grey.convert("RGB").save(tmp_path / "a.png")
    grey.convert("RGBA").save(tmp_path / "b.png")
    grey.save(tmp_path / "c.png")
    Image.fromarray(np.full((8, 8), 40_000, np.uint16)).save(tmp_path / "d.png")
    _, out, err = type_words(predicted["ce"], tmp_path, "--csv", "-")
    a, b, c, d = rows_of(out)

    assert a["probability"] == b["probability"] == c["probability"]
    assert d["error"] == "expected 8 bits a channel, got mode I;16"
    assert err.count("the net takes grey images") == 1


def test_grey_files_alone_are_no_colour(predicted, type_words):
    assert "converted" not in type_words(predicted["ce"], predicted["png"], "--csv", "-")[2]


def test_a_csv_appears_whole_or_not_at_all(predicted, type_words, tmp_path, monkeypatch):
    file = tmp_path / "rows.csv"
    code, out, _ = type_words(predicted["ce"], predicted["png"], "--csv", file)

    assert (code, out) == (0, "")
    assert len(rows_of(file.read_text())) == 359

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    before = file.read_text()
    with monkeypatch.context() as patch:
        patch.setattr(written.CsvWriter, "write", interrupted)
        assert type_words(predicted["ce"], predicted["png"], "--csv", file)[0] == 130

    assert file.read_text() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["rows.csv"]


def test_only_a_few_images_wait_whatever_their_number(predicted):
    """A reader that asks for one batch has begun on a few chunks, and not on the million."""
    asked = 0

    def endless() -> Iterator[object]:
        nonlocal asked
        reader_files = sorted(map(str, predicted["png"].iterdir()))
        while True:
            from xent_bench.prediction.image_list import ListedFile

            yield ListedFile(reader_files[asked % len(reader_files)])
            asked += 1

    reader = Reader(load(predicted["ce"]).record)
    batches = decoded(reader.chunks(endless()), reader)
    first, second = next(batches), next(batches)
    batches.close()

    assert (len(first.images), len(second.images)) == (CHUNK, 2 * CHUNK)
    assert asked <= 2 * CHUNK * (1 + AHEAD) + CHUNK


def test_sets_cover_and_say_what_they_guarantee(predicted, type_words):
    """Coverage on test, of sets fitted on calib, lies in the range that is printed for calib."""
    folder = predicted["ce"]
    code, out, err = type_words(
        folder, predicted["png"], "--coverage", 0.97, "--csv", "-", "--top", 1
    )
    test = load_predictions(folder / "predictions.npz").test
    truth = dict(zip(test.id.tolist(), test.target.tolist(), strict=True))
    rows = rows_of(out)
    covered = [str(truth[int(Path(row["file"]).stem)]) in row["set"].split("|") for row in rows]

    assert code == 0
    assert all(row["set"].split("|")[0] == row["class"] for row in rows)
    assert 0.93 <= np.mean(covered) <= 1
    assert "with probability 0.97 at least" in err
    assert "calib n = 216" in err


def test_a_calib_too_small_for_the_coverage_gives_all_classes(predicted, type_words):
    file = min(predicted["png"].iterdir())
    _, out, err = type_words(predicted["hinge"], file, "--coverage", 0.999, "--json")

    assert sorted(json.loads(out)["set"]) == [str(digit) for digit in range(10)]
    assert "calib has 216 images, and 999 are the fewest" in err


def test_unsure_answers_are_marked_and_the_risk_of_calib_is_told(predicted, type_words):
    folder = predicted["mse"]
    _, out, err = type_words(folder, predicted["png"], "--abstain", 0.9, "--csv", "-")
    rows = rows_of(out)
    calib = load_predictions(folder / "predictions.npz").calib
    images = digits().images[torch.from_numpy(calib.id)]
    p, answer = load(folder)(images).exp().max(dim=1)
    is_answered = p.numpy() >= 0.9
    wrong = int((is_answered & (answer.numpy() != calib.target)).sum())

    assert {row["abstain"] == "yes" for row in rows if float(row["probability"]) < 0.9} == {True}
    assert {row["abstain"] == "no" for row in rows if float(row["probability"]) >= 0.9} == {True}
    assert f"and {wrong} of these {is_answered.sum()} answers are wrong" in err
    assert "nearly these numbers" in err


def test_a_set_in_memory_is_predicted_without_scores_of_what_was_trained_on(predicted, type_words):
    code, out, _ = type_words(predicted["ce"], "data=digits")

    assert code == 0
    assert "and 1,767 more" in out
    assert "No scores: the net was trained on some of these images" in out


def test_images_of_files_are_known_by_their_content_wherever_they_lie(
    tmp_path, monkeypatch, type_words
):
    rng, names = np.random.default_rng(0), ("a", "b")
    for place, count in (("photos", 20), ("new", 4)):
        for name in names:
            (tmp_path / place / name).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / place / name / f"{number}.png")
    shutil.copytree(tmp_path / "photos", tmp_path / "copy")
    shutil.copytree(tmp_path / "new", tmp_path / "elsewhere" / "photos")
    monkeypatch.chdir(tmp_path)
    words = ("data=image_folder", "data.size=original", "model=linear", "epochs=1", "batch_size=8")
    register_schema()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", [*words, "data.root=photos", "machine.offline=true"])
    run(config)
    folder = run_folder(config)
    places = {place: f"{tmp_path}/{place}" for place in ("copy", "new", "elsewhere/photos")}
    said = {
        place: type_words(folder, *words[:2], f"data.root={root}")[1]
        for place, root in {"photos": "./photos/", **places}.items()
    }

    for place in ("photos", "copy"):
        assert "No scores: the net was trained on some of these images" in said[place]
    for place in ("new", "elsewhere/photos"):
        assert "Scores of these 8 images" in said[place]
    (tmp_path / "photos").rename(tmp_path / "gone")
    gone = " ".join(type_words(folder, *words[:2], f"data.root={tmp_path}/new")[1].split())
    assert "No scores: the data of the run cannot be loaded" in gone


@pytest.mark.parametrize("words", [("--split", "train"), ("--split", "val", "--ensemble")])
def test_a_split_that_was_trained_on_is_predicted_without_scores(predicted, type_words, words):
    code, out, _ = type_words(predicted["ce"], *words)
    said = " ".join(out.split())

    assert code == 0
    assert "No scores: the net was trained on some of these images" in said
    assert "Scores of these" not in said


def test_scores_on_calib_are_not_shown_as_those_of_new_images(predicted, type_words):
    code, out, _ = type_words(predicted["ce"], "--split", "calib")

    assert code == 0
    assert "The temperature was fitted on these images: test is the judge" in " ".join(out.split())


def test_an_ensemble_averages_the_seeds(predicted, type_words):
    file = min(predicted["png"].iterdir())
    code, out, err = type_words(predicted["ce1"], file, "--ensemble", "--json", "--top", 10)
    pixels = torch.from_numpy(np.array(Image.open(file)))[None, None]
    mean = sum(load(predicted[name])(pixels).exp() for name in ("ce", "ce1")) / 2
    temperature = float(err.partition("T = ")[2].partition(",")[0]) if "T = " in err else 1.0
    expected = torch.log_softmax(mean.log() / temperature, dim=1).exp().sort(descending=True)
    p = [entry["probability"] for entry in json.loads(out)["top"]]

    assert code == 0
    np.testing.assert_allclose(p, expected.values[0], atol=1e-3)
    assert "that no member was trained on" in err
    for name, seed in (("ce", 0), ("ce1", 1)):
        metrics = load_run(predicted[name] / "result.json").metrics
        assert f"seed {seed} on test: top-1 {metrics['test/top1']:.4f}, NLL " in err
        assert f"NLL {metrics['test_ts/nll']:.4f}" in err
    assert "ensemble on test: top-1 0." in err


def test_a_folder_of_runs_stands_for_the_best_on_val(predicted, type_words):
    file = min(predicted["png"].iterdir())
    code, out, err = type_words(predicted["runs"], file, "--json")
    results = [load_run(predicted[loss] / "result.json") for loss in (*LOSSES, "ce1")]
    by_loss: dict[str, list[Run]] = {}
    for result in results:
        by_loss.setdefault(result.params["loss"], []).append(result)
    mean = {loss: np.mean([r.metrics["val/top1"] for r in runs]) for loss, runs in by_loss.items()}

    assert code == 0
    assert json.loads(out)["class"]
    assert err.startswith(f"{max(mean, key=mean.__getitem__)} is the best of 3 losses on val")


@pytest.mark.parametrize(
    ("words", "code", "complaint"),
    [
        ((), 2, "expected image files or folders, or data=NAME, or --split test"),
        (("a.png", "--split", "test"), 2, "one of the three"),
        (("a.png", "--csv", "gone/rows.csv"), 2, "there is no folder gone"),
        (("a.png", "--csv", "x.csv", "--json"), 2, "expected one of the two"),
        (("a.png", "--ensemble", "--coverage", "0.9"), 2, "expected one run"),
        (("a.png", "--coverage", "1"), 2, "between 0 and 1"),
        (("a.png", "--top", "0"), 2, "at least 1"),
        (("data=digit",), 2, "no such data; did you mean digits"),
        (("data=synthetic", "data.size=9"), 3, "expected images of 8 x 8 pixels in 1 channel"),
        (("model=cnn", "data=digits"), 2, "one of the three"),
    ],
)
@pytest.mark.usefixtures("place")
def test_a_mistake_is_one_line(predicted, type_words, words, code, complaint):
    sys.argv[1:] = words
    answered, out, err = type_words(predicted["ce"], *words)

    assert (answered, out) == (code, "")
    assert complaint in err
    assert err.count("\n") == 1


def test_a_run_without_weights_or_a_result_is_refused(predicted, type_words, tmp_path):
    unfinished = tmp_path / "unfinished"
    shutil.copytree(predicted["ce"], unfinished)
    (unfinished / "result.json").unlink()
    (unfinished / "net.json").unlink()
    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.copy(predicted["ce"] / "net.json", bare)

    code, _, err = type_words(unfinished, predicted["png"])
    assert code == 3
    assert "the run in it has not finished (killed)" in err
    assert "xent-train loss=ce" in err
    code, _, err = type_words(bare, predicted["png"])
    assert code == 3
    assert "expected weights in" in err


def test_the_reader_of_a_pipe_may_leave(predicted, monkeypatch, capsys):
    class Closed(StringIO):
        def flush(self) -> None:
            raise BrokenPipeError

    closed = Closed()
    closed.fileno = lambda: 1
    monkeypatch.setattr("sys.stdout", closed)
    monkeypatch.setattr("os.dup2", lambda *_: None)  # the output of the tests stays
    with suppress(SystemExit):
        main([str(predicted["ce"]), str(predicted["png"]), "--csv", "-"])

    assert capsys.readouterr().err == ""
