"""Stored predictions: complete, exact, and enough to compute everything from again."""

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from conftest import SMALL
from mlflow import MlflowClient

from xent_bench.commands.sync import main as sync
from xent_bench.config.identity import run_folder
from xent_bench.evaluation.rescore import rescore
from xent_bench.failures import DataError, Unavailable
from xent_bench.links import projection, softmax, use
from xent_bench.runs.files import is_pending
from xent_bench.runs.predictions import Predictions, load, predicted, save
from xent_bench.runs.result import load_run, save_run
from xent_bench.tracking.named_stores import note_store
from xent_bench.training.run import run

XENT_RESCORE = str(Path(sys.executable).with_name("xent-rescore"))


def predictions(n: int = 40, link: partial | None = None) -> Predictions:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(n, 3)).astype(np.float32)
    target, ids = rng.integers(3, size=n), rng.permutation(1000)[:n]
    splits = (predicted(split, logits, target, ids) for split in ("calib", "test"))
    return Predictions(*splits, link or partial(softmax), ("cat", "dog", "panda"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory, store):
    """The folder of a run of square, whose link has a hyper-parameter."""
    from hydra import compose, initialize_config_dir

    from xent_bench.config.schema import CONF, register_schema

    register_schema()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", ["machine=cpu", *SMALL, "loss=square", "loss.M=2.0"])
    root = tmp_path_factory.mktemp("rescored")
    config.machine.runs, config.machine.tracking = str(root), store
    config.experiment = root.name
    run(config)
    return run_folder(config)


@pytest.fixture
def folder(trained, tmp_path):
    """A copy of it."""
    return Path(shutil.copytree(trained, tmp_path / trained.name))


def logged(folder: Path, store: str) -> dict[str, float]:
    return MlflowClient(store).get_run((folder / "mlflow_run_id").read_text()).data.metrics


def test_predictions_come_back_as_they_were_saved(tmp_path):
    saved = predictions(link=partial(projection, M=3.0))
    save(saved, tmp_path / "predictions.npz")
    loaded = load(tmp_path / "predictions.npz")

    for one, other in zip((*saved.calib, *saved.test), (*loaded.calib, *loaded.test), strict=True):
        assert np.array_equal(one, other)
        assert getattr(one, "dtype", None) == getattr(other, "dtype", None)
    assert (loaded.link.func, loaded.link.keywords) == (projection, {"M": 3.0})
    assert loaded.classes == saved.classes
    assert not (tmp_path / "predictions.part").exists()


def with_prior(outputs, *, class_counts):
    return softmax(outputs + np.log(class_counts))


use(with_prior)  # as a loss declares it


def test_class_counts_of_a_link_come_back_as_an_array(tmp_path):
    link = partial(with_prior, class_counts=np.array([3, 1, 2]))
    save(predictions(link=link), tmp_path / "predictions.npz")
    loaded = load(tmp_path / "predictions.npz").link

    assert isinstance(loaded.keywords["class_counts"], np.ndarray)
    assert np.array_equal(loaded(np.zeros((1, 3))), link(np.zeros((1, 3))))


@pytest.mark.parametrize(
    ("ids", "complaint"),
    [
        ([4, 7, 7], "test: expected each example once, got id 7 2 times"),
        ([4, 5, 9], "test: expected every example of the split, got none with id 7"),
        ([4, 5, 7, 9], "test: expected examples of the split alone, got id 9"),
    ],
)
def test_each_example_of_a_split_must_occur_exactly_once(ids, complaint):
    n = len(ids)
    arrays = np.zeros((n, 2), dtype=np.float32), np.zeros(n, dtype=int), np.array(ids)

    with pytest.raises(ValueError, match=complaint):
        predicted("test", *arrays, np.array([4, 5, 7]))


def test_predictions_are_in_the_order_of_their_ids():
    outputs = np.array([[2.0, 0.0], [1.0, 0.0]], dtype=np.float32)
    found = predicted("test", outputs, np.array([1, 0]), np.array([9, 3]), np.array([3, 9]))

    assert found.outputs[:, 0].tolist() == [1, 2]
    assert (found.target.tolist(), found.id.tolist()) == ([0, 1], [3, 9])


def test_every_logged_number_comes_out_again_exactly(folder, store):
    before = load_run(folder / "result.json")
    found = rescore(folder)

    assert (found.added, found.rounded, found.changed) == ([], [], [])
    assert len(before.metrics) > 70
    assert found.run == before
    finite = {key: value for key, value in before.metrics.items() if np.isfinite(value)}
    beside = ("train/", "val/", "time/")
    curves = {k: v for k, v in logged(folder, store).items() if k.startswith(beside)}
    assert logged(folder, store) == finite | curves


def test_rescoring_needs_neither_torch_nor_mlflow(folder):
    code = (
        "import sys; sys.argv = ['xent-rescore', sys.argv[1]]\n"
        "from xent_bench.commands.rescore import main\n"
        "try: main()\n"
        "except SystemExit as stop: assert not stop.code, stop.code\n"
        "assert not {'torch', 'mlflow', 'pytorch_lightning', 'sklearn'} & sys.modules.keys()\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert "numbers as logged" in done.stdout
    for shown in ("auroc_correct", "± SE", "softmax(z / T)", "A calibrated net shows"):
        assert shown in done.stdout
    assert max(map(len, done.stdout.splitlines()[2:])) <= 100


def test_a_metric_that_a_run_has_not_is_added_to_it_and_to_mlflow_once(folder, store):
    before = load_run(folder / "result.json")
    without = {
        key: value
        for key, value in before.metrics.items()
        if "test" not in key or "smece" not in key
    }
    save_run(dataclasses.replace(before, metrics=without), folder)
    found = rescore(folder, ["isotonic"])

    assert {"test/smece", "test_iso/nll"} <= set(found.added)
    after = load_run(folder / "result.json")
    assert {k: v for k, v in after.metrics.items() if k in before.metrics} == before.metrics
    assert after.tags["test_iso_verdict"]
    assert logged(folder, store)["test_iso/nll"] == after.metrics["test_iso/nll"]
    client, run_id = MlflowClient(store), (folder / "mlflow_run_id").read_text()
    assert rescore(folder).added == []
    assert len(client.get_metric_history(run_id, "test_iso/nll")) == 1


def shifted(folder: Path, by: float) -> dict:
    """Its result with an ECE that is off, and without a KS; written."""
    result = json.loads((folder / "result.json").read_text())
    del result["sha256"]
    result["metrics"]["test/ece"] += by
    del result["metrics"]["test/ks"]
    (folder / "result.json").write_text(json.dumps(result))
    return result


def test_a_number_that_comes_out_otherwise_is_named_and_nothing_is_written(folder):
    result = shifted(folder, by=1e-6)
    done = subprocess.run([XENT_RESCORE, folder], capture_output=True, text=True)

    assert done.returncode == 1
    assert "numbers are NOT as logged: test/ece" in done.stdout
    assert json.loads((folder / "result.json").read_text()) == result


def test_a_number_that_differs_by_rounding_is_counted_and_what_is_new_is_added(folder):
    result = shifted(folder, by=1e-16)
    found = rescore(folder)

    assert (found.rounded, found.added, found.changed) == (["test/ece"], ["test/ks"], [])
    assert load_run(folder / "result.json").metrics["test/ece"] == result["metrics"]["test/ece"]


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ("machine:\n  tracking: sqlite:////nowhere/mlflow.db\n", "no store at sqlite:////nowhere"),
        ("machine:\n  tracking: sqlite:///text.db\n", "not a database"),
        ("{}", "machine"),
        (None, "No such file"),
    ],
)
def test_what_mlflow_cannot_be_told_is_kept_and_sent_later(
    folder, store, monkeypatch, config, reason
):
    file = folder / "config.yaml"
    stored = file.read_text()
    if config is None:
        file.unlink()
    else:
        file.write_text(config)
    (folder / "text.db").write_text("this is text, and longer than a header" * 10)
    monkeypatch.chdir(folder)
    note_store("sqlite:///text.db")  # the user's own

    with pytest.raises(Unavailable, match=f"not added to its MLflow run.*{reason}"):
        rescore(folder, ["vector_scaling"])
    assert "test_vs/nll" in load_run(folder / "result.json").metrics
    file.write_text(stored)
    rescore(folder, ["isotonic"])  # it waits for the other
    assert is_pending(folder)
    monkeypatch.setattr(sys, "argv", ["xent-sync", str(folder)])
    with pytest.raises(SystemExit, match="0"):
        sync()
    assert {"test_vs/nll", "test_iso/nll"} <= logged(folder, store).keys()
    assert not is_pending(folder)


def test_an_mlflow_that_cannot_be_told_has_its_exit_code(folder):
    (folder / "config.yaml").unlink()
    arguments = [XENT_RESCORE, folder, "--calibrator", "vector_scaling"]
    done = subprocess.run(arguments, capture_output=True, text=True)

    assert done.returncode == 4
    assert "not added to its MLflow run" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_is_added_does_not_change_when_a_run_ended(folder, store):
    client, run_id = MlflowClient(store), (folder / "mlflow_run_id").read_text()
    before = client.get_run(run_id).info
    rescore(folder, ["vector_scaling"])

    after = client.get_run(run_id).info
    assert (after.status, after.end_time) == (before.status, before.end_time)
    assert not is_pending(folder)


def test_two_calibrators_added_at_once_are_both_kept(folder):
    commands = [
        [XENT_RESCORE, folder, "--calibrator", name] for name in ("isotonic", "vector_scaling")
    ]
    running = [subprocess.Popen(each, stdout=subprocess.PIPE) for each in commands]
    assert [each.communicate()[0] and each.returncode for each in running] == [0, 0]

    assert {"test_iso/nll", "test_vs/nll"} <= load_run(folder / "result.json").metrics.keys()


def test_a_damaged_run_does_not_hold_up_the_others(folder, tmp_path):
    for name in ("a", "b", "c"):
        shutil.copytree(folder, tmp_path / "all" / name)
    (tmp_path / "all" / "b" / "predictions.npz").write_bytes(b"")
    (tmp_path / "all" / "c" / "result.json").write_text("[]")
    done = subprocess.run([XENT_RESCORE, tmp_path / "all"], capture_output=True, text=True)

    assert done.returncode == 3
    assert done.stdout.count("numbers as logged") == 1
    assert done.stderr.count("\n") == 2


def test_an_edited_verdict_is_noticed(folder):
    file = folder / "result.json"
    edited = file.read_text().replace('"test_ts_verdict": "', '"test_ts_verdict": "not ')
    file.write_text(edited)

    with pytest.raises(DataError, match="it was changed after it was written"):
        rescore(folder)
    content = json.loads(edited)
    del content["sha256"]
    file.write_text(json.dumps(content))
    assert rescore(folder).changed == ["test_ts_verdict"]


def test_pictures_are_drawn_again_where_they_are_missing(folder):
    shutil.rmtree(folder / "pictures")
    rescore(folder, pictures=True)

    names = {file.name for file in (folder / "pictures").iterdir()}
    assert names == {"reliability.png", "risk_coverage.png", "confusions.png"}


def edited(**changes: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    def edit(file: Path) -> None:
        with np.load(file) as stored:
            arrays = {k: changes.get(k, lambda x: x)(v) for k, v in stored.items()}
        np.savez(file, **arrays)

    return edit


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda file: file.unlink(), "expected the predictions of a run: no "),
        (lambda file: file.write_bytes(file.read_bytes()[:500]), "cannot read "),
        (lambda file: np.savez(file, calib_logits=np.zeros(3)), "calib_target is not a file"),
        (lambda file: file.write_text("no archive"), "cannot read "),
        (edited(test_target=lambda x: x.astype(float)), "expected targets in int64"),
        (edited(test_target=lambda x: x[1:]), "expected targets in int64"),
        (edited(test_target=lambda x: x - 1), "test: expected targets from 0 to 9, got -1 to 8"),
        (edited(calib_logits=lambda x: x * np.nan), "calib: expected finite outputs"),
        (edited(calib_logits=lambda x: x[:, 0]), "calib: expected outputs in float, (n, classes)"),
        (edited(calib_id=lambda x: x * 0), "calib: expected each example once, got id 0"),
        (edited(classes=lambda x: x[1:]), "expected outputs for 9 classes"),
        (
            edited(link=lambda _: '{"link": "builtins.print"}'),
            "no loss here declares builtins.print as its link",
        ),
        (edited(link=lambda _: "[1]"), "cannot be used"),
        (edited(link=lambda _: '{"link": "xent_bench.links.projection"}'), "cannot be used"),
    ],
)
def test_predictions_that_cannot_be_read_get_one_line(folder, damage, complaint):
    damage(folder / "predictions.npz")
    with pytest.raises(DataError, match=re.escape(complaint)):
        rescore(folder)


def test_a_link_that_is_gone_is_named(tmp_path):
    save(predictions(), tmp_path / "predictions.npz")
    with np.load(tmp_path / "predictions.npz") as stored:
        arrays = dict(stored)
    arrays["link"] = np.array('{"link": "somebodys.module.link"}')
    np.savez(tmp_path / "predictions.npz", **arrays)

    with pytest.raises(DataError, match=r"no loss here declares somebodys\.module\.link .*--trust"):
        load(tmp_path / "predictions.npz")


def test_a_folder_without_a_run_gets_one_line(tmp_path):
    done = subprocess.run([XENT_RESCORE, tmp_path], capture_output=True, text=True)

    assert done.returncode == 3
    assert "no finished run" in done.stderr


def test_another_calibrator_is_fitted_to_a_finished_run_without_training_it(config, monkeypatch):
    first = run(config())
    monkeypatch.setattr("xent_bench.training.fit.fit", None)
    again = run(config("calibrator=vector_scaling"))

    assert "test_vs/nll" in again["metrics"]
    assert {k: v for k, v in again["metrics"].items() if "test_vs" not in k} == first["metrics"]
    assert run(config())["metrics"] == again["metrics"]


def test_a_run_reports_the_calibrator_it_is_asked_for(config):
    metrics = run(config("calibrator=isotonic", "loss=hinge"))["metrics"]

    assert {"test_ts/nll", "test_iso/nll", "test_iso_se/ece"} <= metrics.keys()
    assert "test_vs/nll" not in metrics


def test_what_is_added_offline_is_not_sent(config):
    run(config())
    wanted = config("calibrator=vector_scaling", "machine.offline=true")
    wanted.machine.tracking = "http://127.0.0.1:9"
    again = run(wanted)

    assert "test_vs/nll" in again["metrics"]
    assert is_pending(run_folder(wanted))
