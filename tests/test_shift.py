"""Trained nets are scored under corruptions, from outputs that are kept; none is trained for it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import answer
from hydra import compose, initialize_config_dir
from mlflow import MlflowClient
from omegaconf import DictConfig
from scipy.special import log_softmax

from xent_bench.commands.rescore import main as rescore_main
from xent_bench.commands.sync import main as sync_main
from xent_bench.config.configure import ConfigError, check_top_level
from xent_bench.config.identity import run_folder
from xent_bench.config.schema import CONF, register_schema
from xent_bench.corruptions import EXTRA, NAMES, corrupted
from xent_bench.data.digits import digits
from xent_bench.evaluation.rescore import rescore
from xent_bench.failures import DataError
from xent_bench.metrics.shifts import FIFTEEN, FOUR
from xent_bench.runs.files import SHIFT
from xent_bench.runs.kept_outputs import halved, kept_in, write_outputs
from xent_bench.runs.lacking import Asked, Lack, lacking
from xent_bench.runs.predictions import load as load_predictions
from xent_bench.runs.result import load_run, save_run
from xent_bench.runs.status import experiments_in
from xent_bench.runs.sweep_record import Planned, Sweep, load_sweep, save_sweep
from xent_bench.shift import corrupted_blocks
from xent_bench.tracking.named_stores import note_store
from xent_bench.tracking.saved_view import view_tag
from xent_bench.trained_net import load as load_net
from xent_bench.training import build
from xent_bench.training.run import run

TINY = ("data=digits", "model=mlp", "model.width=16", "epochs=2", "machine.threads=1")
FEW = ("shift.names=[contrast,fog]", "shift.severities=[1,4]")
CONDITIONS = ["fog/1", "fog/4", "contrast/1", "contrast/4"]
BLOCKS = 4  # of test's 359 images


@pytest.fixture(scope="module")
def trained(tmp_path_factory, store):
    """Two runs that were finished without a shift: of ce, and of hinge, which has no probabilities.

    Test is evaluated in batches of 100 images, so that it has several blocks.
    """
    root = tmp_path_factory.mktemp("shifted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "EVALUATION_BATCH", 100)
        for loss in ("ce", "hinge"):
            run(_config(root, store, f"loss={loss}"), "xent-train")
    return root


@pytest.fixture
def root(trained, tmp_path, monkeypatch):
    """A copy of them, with a cache of its own."""
    monkeypatch.setenv("XENT_BENCH_CACHE", str(tmp_path / "cache"))
    return Path(shutil.copytree(trained, tmp_path / "runs_of_test"))


def _config(root: Path, store: str, *words: str) -> DictConfig:
    register_schema()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", ["machine=cpu", *TINY, *words])
    config.machine.runs, config.machine.tracking = str(root), store
    config.experiment = "shifted"
    return config


@pytest.fixture
def typed(root, store):
    """Type a run's command with further keys; returns the folder and the metrics."""

    def command(*words: str) -> tuple[Path, dict[str, float]]:
        config = _config(root, store, "machine.offline=true", *words)
        metrics = run(config, "xent-train")["metrics"]
        return run_folder(config), metrics

    return command


def folder_of(root: Path, loss: str = "ce") -> Path:
    (folder,) = (root / "shifted").glob(f"{loss}-*")
    return folder


def expected_scores(folder: Path, name: str, severity: int) -> dict[str, float]:
    """The scores of softmax under a corruption, computed by NumPy from the net itself."""
    test = load_predictions(folder / "predictions.npz").test
    ids = torch.from_numpy(test.id)
    images = corrupted(digits().images[ids], name, severity, ids)
    logits = load_net(folder).outputs(images).numpy().astype(np.float16).astype(np.float64)
    temperature = load_run(folder / "result.json").metrics["test_ts/temperature"]
    scores = {"shift/top1": np.mean(logits.argmax(1) == test.target)}
    for prefix, z in (("shift", logits), ("shift_ts", logits / temperature)):
        log_p = log_softmax(z, axis=1)
        p = np.exp(log_p)
        confidence, right = p.max(1), logits.argmax(1) == test.target
        bins = np.minimum((confidence * 15).astype(int), 14)
        gaps = [(confidence - right)[bins == number].sum() for number in range(15)]
        scores |= {
            f"{prefix}/nll": -log_p[np.arange(len(p)), test.target].mean(),
            f"{prefix}/brier": np.square(p - np.eye(10)[test.target]).sum(1).mean(),
            f"{prefix}/ece": np.abs(gaps).sum() / len(p),
        }
    return scores


def test_the_names_are_those_of_the_corruptions():
    assert (tuple(NAMES), tuple(EXTRA)) == (FIFTEEN, FOUR)


def test_scores_under_a_corruption_are_those_that_numpy_computes_from_the_net(typed):
    folder, metrics = typed(*FEW)

    for condition in CONDITIONS:
        name, severity = condition.split("/")
        for key, value in expected_scores(folder, name, int(severity)).items():
            prefix, score = key.split("/")
            assert metrics[f"{prefix}/{condition}/{score}"] == pytest.approx(value, abs=1e-9)
    assert "shift_ts/fog/1/top1" not in metrics  # a temperature changes no answer


def test_a_finished_run_is_completed_without_training_and_its_numbers_stay(root, typed):
    before = load_run(folder_of(root) / "result.json").metrics
    checkpoints = {file: file.stat().st_mtime_ns for file in folder_of(root).glob("*.ckpt")}
    folder, metrics = typed(*FEW)

    assert folder == folder_of(root)  # the keys are not hashed
    assert {key: metrics[key] for key in before} == before
    assert checkpoints == {file: file.stat().st_mtime_ns for file in folder.glob("*.ckpt")}
    added = metrics.keys() - before.keys()
    assert {key.split("/")[0] for key in added} == {"shift", "shift_ts"}


def test_a_run_that_is_trained_with_a_shift_has_the_numbers_of_one_that_gets_it_later(
    typed, tmp_path, store, monkeypatch
):
    monkeypatch.setattr(build, "EVALUATION_BATCH", 100)
    _, later = typed(*FEW)
    config = _config(tmp_path / "anew", store, "machine.offline=true", *FEW)

    assert run(config, "xent-train")["metrics"] == later


def test_only_what_is_missing_is_computed(typed, monkeypatch):
    asked = []

    def watched(images, name, severity, ids):
        asked.append(f"{name}/{severity}")
        return corrupted(images, name, severity, ids)

    monkeypatch.setattr(corrupted_blocks, "corrupted", watched)
    typed("shift.names=[fog]", "shift.severities=[1]")
    typed(*FEW)
    typed(*FEW)

    assert sorted(asked) == sorted(BLOCKS * CONDITIONS)


def test_a_run_that_is_killed_half_way_goes_on_to_the_same_file(typed, root, monkeypatch):
    result = (folder_of(root) / "result.json").read_bytes()
    folder, metrics = typed(*FEW)
    straight = (folder / SHIFT).read_bytes()
    (folder / SHIFT).unlink()
    (folder / "result.json").write_bytes(result)
    calls = []

    def cut(images, name, severity, ids):
        calls.append(name)
        if len(calls) == 1 + BLOCKS * len(CONDITIONS) // 2:
            raise KeyboardInterrupt
        return corrupted(images, name, severity, ids)

    monkeypatch.setattr(corrupted_blocks, "corrupted", cut)
    with pytest.raises(KeyboardInterrupt):
        typed(*FEW)
    half = len(calls) - 1
    assert typed(*FEW)[1] == metrics

    assert (folder / SHIFT).read_bytes() == straight
    assert half < len(calls) - 1 < half + BLOCKS * len(CONDITIONS)  # some were there
    assert not list(folder.glob(".shift-*"))


def test_rescoring_finds_the_same_numbers_from_what_is_kept_alone(typed):
    folder, metrics = typed(*FEW, "foreign=[noise]")
    for file in folder.glob("*.ckpt"):
        file.unlink()
    saved = load_run(folder / "result.json")
    fewer = {key: value for key, value in metrics.items() if not key.startswith("shift/fog")}
    save_run(saved.__class__(**saved.content() | {"metrics": fewer}), folder)
    rescored = rescore(folder, offline=True)

    assert rescored.run.metrics == metrics
    assert (rescored.changed, rescored.retired, rescored.rounded) == ([], [], [])
    assert set(rescored.added) == metrics.keys() - fewer.keys()


def test_a_number_that_does_not_follow_from_the_kept_outputs_is_found(typed):
    folder, metrics = typed(*FEW)
    saved = load_run(folder / "result.json")
    wrong = metrics | {"shift/fog/1/nll": metrics["shift/fog/1/nll"] + 1e-3}
    save_run(saved.__class__(**saved.content() | {"metrics": wrong}), folder)

    assert rescore(folder, offline=True).changed == ["shift/fog/1/nll"]


def test_a_loss_without_probabilities_has_what_exists(typed):
    _, metrics = typed("loss=hinge", *FEW)
    scores = {prefix: set() for prefix in ("shift", "shift_ts")}
    for key in metrics:
        prefix, *_, score = key.split("/")
        if prefix in scores:
            scores[prefix].add(score)

    assert scores == {"shift": {"top1", "aurc"}, "shift_ts": {"nll", "brier", "ece"}}


def test_means_are_over_the_fifteen_at_each_severity_that_all_have(typed):
    _, metrics = typed("shift.names=[fog,saturate]", "shift.severities=[2]")
    assert not [key for key in metrics if "/mean/" in key]
    _, metrics = typed("shift.names=[all]", "shift.severities=[2]")
    values = [metrics[f"shift/{name}/2/ece"] for name in FIFTEEN]

    assert metrics["shift/mean/2/ece"] == pytest.approx(np.mean(values), rel=1e-12)
    assert "shift/mean/ece" not in metrics  # which is over all five


def test_another_run_reads_the_corrupted_images_from_the_cache(typed, monkeypatch, tmp_path):
    typed(*FEW, "machine.cache=true")
    cached = list((tmp_path / "cache" / "corrupted").rglob("*.npy"))
    monkeypatch.setattr(corrupted_blocks, "corrupted", None)
    typed("loss=hinge", *FEW, "machine.cache=true")

    assert len(cached) == BLOCKS * len(CONDITIONS)


def test_a_cached_block_that_is_damaged_is_computed_again(typed, tmp_path):
    typed(*FEW, "machine.cache=true")
    for file in (tmp_path / "cache" / "corrupted").rglob("*.npy"):
        file.write_bytes(file.read_bytes()[:-100])
    folder, hinge = typed("loss=hinge", *FEW, "machine.cache=true")
    (folder / SHIFT).unlink()

    assert typed("loss=hinge", *FEW)[1] == hinge


def test_without_being_asked_nothing_is_kept_in_the_cache(typed, tmp_path):
    typed(*FEW)

    assert not (tmp_path / "cache" / "corrupted").exists()


def test_outputs_of_other_weights_are_not_used(typed):
    folder, metrics = typed(*FEW)
    zeros = [(name, np.zeros((359, 10), np.float16)) for name in CONDITIONS]
    write_outputs(folder / SHIFT, {"weights_sha256": "0" * 64, "images": "computed"}, zeros)
    saved = load_run(folder / "result.json")
    before = {key: value for key, value in metrics.items() if not key.startswith("shift")}
    save_run(saved.__class__(**saved.content() | {"metrics": before}), folder)

    assert typed(*FEW)[1] == metrics


def test_outputs_too_large_for_float16_are_kept_in_float32():
    small, large = np.array([[65504.0, -1.0]]), np.array([[65536.0, -1.0]])

    assert halved(small).dtype == np.float16
    assert halved(large).dtype == np.float32
    assert halved(large)[0, 0] == 65536.0


def test_a_damaged_file_is_named_with_the_way_out(typed):
    folder, _ = typed(*FEW)
    content = bytearray((folder / SHIFT).read_bytes())
    content[2000] ^= 1  # a bit of an array
    (folder / SHIFT).write_bytes(content)

    with pytest.raises(DataError, match=r"cannot read .*shift.npz, delete it and ask for these"):
        rescore(folder)


def test_other_images_than_those_of_the_run_are_refused(typed, root):
    saved = load_run(folder_of(root) / "result.json")
    tags = saved.tags | {"data_sha256": "0" * 64}
    save_run(saved.__class__(**saved.content() | {"tags": tags}), folder_of(root))

    with pytest.raises(DataError, match="the images or labels are not those that the run"):
        typed(*FEW)


def test_weights_that_are_gone_are_named_with_the_way_out(typed, root):
    for file in folder_of(root).glob("*.ckpt"):
        file.unlink()

    with pytest.raises(DataError, match=r"expected the weights .* delete result.json there"):
        typed(*FEW)


def test_mlflow_gets_every_number_of_every_corruption(root, store):
    note_store(store)  # as a command that is typed does
    config = _config(root, store, "shift.names=[all,spatter,saturate,gaussian_blur,speckle_noise]")
    metrics = run(config, "xent-train")["metrics"]
    stored = MlflowClient(store).get_run((run_folder(config) / "mlflow_run_id").read_text()).data

    under_shift = {key: value for key, value in metrics.items() if key.startswith("shift")}
    assert len(under_shift) == (19 * 5 + 5 + 1) * 8
    assert {key: stored.metrics[key] for key in under_shift} == under_shift
    assert stored.tags["shift_images"] == "computed"
    assert len(stored.metrics) > 850


def test_a_run_with_more_numbers_than_a_request_takes_is_sent_whole(typed, store, capsys):
    folder, metrics = typed("shift=all", "foreign=[noise]", "calibrator=isotonic")
    assert len(metrics) > 800
    answer(sync_main, str(folder), "--store", store)
    capsys.readouterr()
    stored = MlflowClient(store).get_run((folder / "mlflow_run_id").read_text()).data

    assert {key for key in metrics if not key.startswith("val")} <= stored.metrics.keys()


def test_a_run_without_its_scores_is_not_done(root, typed):
    folder = folder_of(root)
    asked = Asked(shift=("fog/1", "fog/4", "contrast/1", "contrast/4"), foreign=("noise_uniform",))
    lacks = lacking(folder, asked)
    planned = Planned(
        *("ce-s0", "xent-train", [], Path("shifted") / folder.name, "temperature", False, True),
        shift=asked.shift,
        foreign=asked.foreign,
    )
    save_sweep(folder.parent, Sweep("key", "xent-train -m", [planned]))
    (status, *_) = experiments_in(folder.parent)[0].runs
    typed(*FEW, "foreign=[noise]")

    assert lacks == Lack.SHIFT | Lack.FOREIGN
    assert status.why == "trained; it lacks its scores under shift and its scores on foreign images"
    assert load_sweep(folder.parent).runs == [planned]
    assert not lacking(folder, asked)
    (folder / SHIFT).unlink()
    assert lacking(folder, asked) == Lack.SHIFT


def test_a_record_of_a_sweep_from_before_is_read(tmp_path):
    planned = Planned("ce-s0", "xent-train", [], tmp_path, "temperature", False, True)
    save_sweep(tmp_path, Sweep("key", "xent-train -m", [planned]))
    record = json.loads((tmp_path / ".sweep.json").read_text())
    record["runs"] = [of_run[:7] for of_run in record["runs"]]
    record.pop("sha256")
    (tmp_path / ".sweep.json").write_text(json.dumps(record))

    assert load_sweep(tmp_path).runs == [planned]


def test_xent_rescore_scores_a_folder_whose_command_is_not_at_hand(root, typed, capsys):
    result = (folder_of(root) / "result.json").read_bytes()
    folder, typed_again = typed(*FEW, "foreign=[noise]")
    for name in ("shift.npz", "foreign.npz"):
        (folder / name).unlink()
    (folder / "result.json").write_bytes(result)
    few = ("--shift", "fog,contrast", "--severities", "1,4", "--foreign", "noise")
    code = answer(rescore_main, str(folder), *few)
    shown = capsys.readouterr().out

    assert code == 0
    assert f"{len(typed_again.keys() - json.loads(result)['metrics'].keys())} added" in shown
    assert load_run(folder / "result.json").metrics == typed_again


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--shift", "fogg"), "--shift: no such corruption as fogg; did you mean fog?"),
        (("--shift", "fog", "--severities", "0"), "--severities: expected numbers from 1 to 5"),
        (("--foreign", "digits"), "--foreign: digits is the run's own data"),
    ],
)
def test_xent_rescore_refuses_names_that_do_not_exist(root, capsys, words, complaint):
    code = answer(rescore_main, str(folder_of(root)), *words)

    assert code == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("shift.names=[fogg]", "shift.names: no such corruption as fogg; did you mean fog?"),
        (
            "shift.names=[fog] shift.severities=[6]",
            "shift.severities: should be less than or equal",
        ),
        ("shift.names=[fog] shift.severities=[]", "shift.severities: expected one of 1 to 5"),
        ("shift=all shift.root=/no/such", "shift.root: expected a folder of published images"),
        (
            "foreign=[fashion_mnst]",
            "foreign: no such data as fashion_mnst; did you mean fashion_mni",
        ),
        ("foreign=[digits]", "foreign: digits is the run's own data"),
        ("foreign=[./nowhere]", "foreign: expected a folder of images, got no folder ./nowhere"),
    ],
)
def test_a_mistake_is_refused_before_anything_is_loaded(composed, words, complaint):
    with pytest.raises(ConfigError) as refusal:
        check_top_level(composed(*words.split()))

    assert str(refusal.value).startswith(complaint)


def test_what_a_file_holds_is_known_without_its_arrays(tmp_path):
    arrays = [("fog/1", np.zeros((3, 2), np.float16))]
    write_outputs(tmp_path / SHIFT, {"weights_sha256": "w", "images": "computed"}, arrays)

    kept = kept_in(tmp_path / SHIFT)
    assert kept.names == ("fog/1",)
    assert kept.texts == {"weights_sha256": "w", "images": "computed"}
    assert kept_in(tmp_path / "none.npz").names == ()


def test_the_view_in_mlflow_stays_within_what_a_tag_takes():
    assert len(view_tag(losses=[f"loss_number_{number}" for number in range(50)])) < 20_000


def test_scores_whose_outputs_were_deleted_are_said_to_be_unchecked(typed, capsys):
    folder, _ = typed(*FEW)
    (folder / SHIFT).unlink()
    code = answer(rescore_main, str(folder))

    assert code == 0
    assert "32 not checked, since shift.npz or foreign.npz lacks" in capsys.readouterr().out
