"""Runs on rare classes and on few labels, from the config to the report."""

import base64
import csv
import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import SMALL
from hydra import compose, initialize_config_dir
from mlflow import MlflowClient
from trained_run import assert_same_weights, mlflow_run, untimed

from xent_bench.commands.report import main
from xent_bench.config.configure import ConfigError
from xent_bench.config.identity import run_folder
from xent_bench.config.parts import resolve
from xent_bench.config.schema import CONF, register_schema
from xent_bench.evaluation.rescore import rescore
from xent_bench.failures import DataError
from xent_bench.process.signals import Notice
from xent_bench.runs.predictions import load
from xent_bench.runs.result import load_run
from xent_bench.tracking.mirror import artifact_place
from xent_bench.training.build import build
from xent_bench.training.checkpoint_files import LastingCheckpointIO
from xent_bench.training.run import run

TAIL = ("imbalance=exponential", "imbalance.ratio=10")
# of 600 images 120 are test, 72 val, 72 calib and 336 train: 33 or 34 of each of ten classes
SIZES = [33, 25, 19, 15, 11, 9, 7, 5, 4, 3]
LOSSES = ("ce", "balanced_softmax")


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory, store: str) -> Path:
    """Runs of two losses with two seeds on a long tail."""
    register_schema()
    root = tmp_path_factory.mktemp("tail")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for loss in LOSSES:
            for seed in (0, 1):
                words = (*SMALL, *TAIL, f"loss={loss}", f"seed={seed}", "machine=cpu")
                config = compose("train", [*words, "machine.threads=1"])
                config.machine.runs, config.machine.tracking = str(root), store
                config.experiment = root.name
                run(config, "xent-train " + " ".join(words))
    return root / root.name


@pytest.fixture
def folders(swept: Path) -> dict[str, Path]:
    """The folders of the first seed, by loss."""
    return {loss: next(swept.glob(f"{loss}-*-s0-*")) for loss in LOSSES}


def test_all_losses_are_trained_on_the_same_images_and_tested_on_those_of_any_run(folders, config):
    plain = config()
    run(plain)
    both = [load(folder / "predictions.npz") for folder in folders.values()]
    tags = [load_run(folder / "result.json").tags for folder in folders.values()]
    usual = load(run_folder(plain) / "predictions.npz")

    assert tags[0]["split_sha256"] == tags[1]["split_sha256"]
    assert [given.train_counts.tolist() for given in both] == [SIZES, SIZES]
    for given in both:
        assert np.array_equal(given.test.id, usual.test.id)
        assert np.array_equal(given.test.target, usual.test.target)
        assert np.isin(given.calib.id, usual.calib.id).all()
        kept, before = (np.bincount(run.calib.target) for run in (given, usual))
        # of each class calib keeps the share that train keeps of its 33 or 34, rounded
        assert (np.abs(kept - before * np.array(SIZES) / 33.5) < 0.7).all()
    assert usual.train_counts is None


def test_a_loss_gets_the_class_sizes_that_are_left(config, tmp_path):
    wanted = config(*TAIL, "loss=balanced_softmax", "imbalance.order=[9,8,7,6,5,4,3,2,1,0]")
    built = build(wanted, resolve(wanted), tmp_path, Notice(""))

    assert built.classifier.loss.keywords["class_counts"].tolist() == [
        *(3, 4, 5, 7, 9, 12, 15, 20, 26, 34),  # the last class has an image more than the first
    ]
    halved = config(*TAIL, "loss=ldam", "train_fraction=0.5")
    built = build(halved, resolve(halved), tmp_path, Notice(""))
    assert built.classifier.loss.keywords["class_counts"].tolist() == [
        math.floor(n / 2 + 0.5) for n in SIZES
    ]


def test_a_run_reports_what_depends_on_class_sizes_and_the_correction(folders):
    metrics = load_run(folders["ce"] / "result.json").metrics

    for name in ("top1_many", "top1_medium", "top1_few", "worst_class_top1"):
        assert {f"test/{name}", f"test_ts/{name}", f"test_pc/{name}"} <= metrics.keys()
    for name in ("top1", "nll", "brier", "ece"):
        assert f"test_ts_se/{name}_train_prior" in metrics
        assert f"test_pc/{name}_train_prior" not in metrics
    assert {"test_pc/temperature", "test_pc/prior_exponent"} <= metrics.keys()


def test_a_rescored_run_has_the_same_numbers_and_gets_its_table_of_classes_back(
    folders, tmp_path, store
):
    folder = Path(shutil.copytree(folders["ce"], tmp_path / "copy"))
    table = (folder / "classes.csv").read_text()
    (folder / "classes.csv").unlink()
    run_id = (folder / "mlflow_run_id").read_text()
    stored = artifact_place(MlflowClient(store).get_run(run_id).info.artifact_uri) / "classes.csv"
    assert stored.read_text() == table
    stored.unlink()
    rescored = rescore(folder)

    assert (rescored.added, rescored.rounded, rescored.changed) == ([], [], [])
    assert (folder / "classes.csv").read_text() == table
    assert [int(row["train_images"]) for row in csv.DictReader(table.splitlines())] == SIZES
    assert stored.read_text() == table


def test_an_interrupted_run_ends_with_the_same_images_and_numbers(config, monkeypatch):
    straight, cut = (config(*TAIL, folder=name) for name in ("straight", "cut"))
    save = LastingCheckpointIO.save_checkpoint
    monkeypatch.setattr("xent_bench.training.saving.MAX_SHARE", math.inf)  # after every epoch

    class PowerCut(BaseException):
        pass

    def cut_the_power(*arguments: object, **options: object) -> None:
        save(*arguments, **options)
        raise PowerCut

    run(straight)
    with monkeypatch.context() as patch:
        patch.setattr(LastingCheckpointIO, "save_checkpoint", cut_the_power)
        with pytest.raises(PowerCut):
            run(cut)
    run(cut)

    assert_same_weights(straight, cut)
    assert untimed(cut) == untimed(straight)
    assert (
        mlflow_run(cut).data.tags["split_sha256"] == mlflow_run(straight).data.tags["split_sha256"]
    )


def test_without_an_effect_the_keys_give_the_run_without_them(config, monkeypatch):
    first = run(config())
    monkeypatch.setattr("xent_bench.training.fit.fit", lambda *_: pytest.fail("trained again"))

    assert run(config("imbalance=step", "imbalance.ratio=1", "train_fraction=1.0")) == first
    with np.load(run_folder(config()) / "predictions.npz") as stored:
        assert "train_counts" not in stored
    assert not (run_folder(config()) / "classes.csv").exists()
    assert not [key for key in first["metrics"] if "pc" in key or "prior" in key or "few" in key]


def test_few_labels_alone_bring_no_new_number(config):
    wanted = config("train_fraction=0.5")
    plain, few = run(config()), run(wanted)

    assert few["metrics"].keys() == plain["metrics"].keys()
    assert few["params"]["train_fraction"] == 0.5
    images = json.loads((run_folder(wanted) / "images.json").read_text())
    assert images["splits"] == {"train": 170, "val": 72, "calib": 72, "test": 120}


def test_noise_makes_no_class_rare_and_rare_classes_count_by_the_labels_trained_on(config):
    """Three quarters of a class become another: the one has a quarter of its images, by label."""
    noisy = config("noise=asymmetric", "noise.rate=0.75", "noise.map={class 0: class 1}")
    metrics = run(noisy)["metrics"]
    rare = config("noise=asymmetric", "noise.rate=0.75", "noise.map={class 0: class 1}", *TAIL)
    run(rare)
    counts = load(run_folder(rare) / "predictions.npz").train_counts

    assert load(run_folder(noisy) / "predictions.npz").train_counts is None
    assert not [key for key in metrics if "prior" in key or "few" in key]
    assert counts.sum() == sum(SIZES)
    assert counts[:2].sum() == sum(SIZES[:2])
    assert counts[1] > 1.5 * SIZES[1]
    assert counts[2:].tolist() == SIZES[2:]


def test_a_run_that_is_asked_for_the_correction_has_it_and_one_that_was_not_says_why(config):
    asked = config("calibrator=prior_correction", folder="asked")
    assert "test_pc/nll" in run(asked)["metrics"]
    run(config())

    with pytest.raises(DataError, match=r"prior_correction needs .* of about one size"):
        run(config("calibrator=prior_correction"))
    assert "test_pc/nll" not in run(config())["metrics"]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("imbalance=step", "imbalance.ratio=1000"), "imbalance.ratio: expected one at which"),
        (("imbalance=step", "imbalance.order=[1,2]"), "imbalance.order: expected all 10 classes"),
        (("train_fraction=0.1",), "val, calib and test, or left out by"),
    ],
)
def test_what_the_images_cannot_give_is_refused_and_leaves_nothing(config, words, complaint):
    wanted = config(*words)
    with pytest.raises(ConfigError, match=re.escape(complaint)):
        run(wanted)

    assert not run_folder(wanted).exists()


def shown(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    capsys.readouterr()
    main([str(word) for word in words])
    return capsys.readouterr().out


def test_the_report_has_recalls_and_the_correction_and_can_judge_by_it(swept, capsys):
    text = shown(capsys, swept)
    rows = list(csv.DictReader(shown(capsys, swept, "--format", "csv").splitlines()))
    few = {row["loss"]: 100 * float(row["test/top1_few"]) for row in rows}

    for title in ("By class size", "At other class frequencies"):
        assert title in text
    for loss, value in few.items():
        assert re.search(rf"\n {loss} +2 .*{value:.1f}±", text)
    judged = shown(capsys, swept, "--primary", "test_pc/nll")
    assert "in NLL after prior correction, the primary metric" in " ".join(judged.split())
    assert {"test_pc/nll/difference", "test_pc/nll/difference/verdict"} <= rows[0].keys()


def test_the_page_draws_recall_by_class_size(swept, tmp_path):
    main([str(swept), "--page", str(tmp_path / "page.html")])
    page = (tmp_path / "page.html").read_text()
    drawn = _traces(page, "recall (%), as trained")

    assert "recall (%), after prior correction" in page
    first = [
        [float(row["recall"]) for row in csv.DictReader(file.read_text().splitlines())]
        for file in sorted(swept.glob("ce-*/classes.csv"))
    ]
    line = next(trace for trace in drawn if trace.get("name") == "ce" and trace["xaxis"] == "x")
    assert _numbers(line["y"]) == pytest.approx(100 * np.mean(first, axis=0), abs=1e-3)
    assert "class 0 (33)" in page


def _traces(page: str, title: str) -> list[dict]:
    """The traces of the chart that has this title."""
    charts = re.findall(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)
    traces: list[dict] = next(json.loads(chart)["data"] for chart in charts if title in chart)
    return traces


def _numbers(values: object) -> list[float]:
    """Values as a list: Plotly writes arrays as base64."""
    if isinstance(values, dict):
        return np.frombuffer(base64.b64decode(values["bdata"]), values["dtype"]).tolist()
    return [float(value) for value in values]
