"""The same command again returns a finished run and goes on with one cut short or damaged."""

import math
from pathlib import Path

import pytest
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from trained_run import assert_same_weights, curve, mlflow_run, untimed

from xent_bench.config.identity import run_folder, run_key
from xent_bench.failures import DataError
from xent_bench.runs.begun import load_unfinished
from xent_bench.training.checkpoint_files import LastingCheckpointIO
from xent_bench.training.run import run


class PowerCut(BaseException):
    """Ends a run where it stands. (test_stress sends real SIGKILLs.)"""


def test_a_finished_run_is_returned_and_not_trained_again(config, monkeypatch):
    first = run(config())
    monkeypatch.setattr("xent_bench.training.fit.fit", lambda *_: pytest.fail("trained again"))

    assert run(config()) == first


@pytest.fixture
def dropout_net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The override that chooses a net whose every step draws at random."""
    (tmp_path / "dropping.py").write_text(
        "from torch import nn\n"
        "def net(shape, classes, *, width=16, depth=2) -> nn.Module:\n"
        "    channels, h, w = shape\n"
        "    hidden = nn.Sequential(nn.Flatten(), nn.Linear(channels * h * w, width), nn.ReLU())\n"
        "    return nn.Sequential(hidden, nn.Dropout(0.5), nn.Linear(width, classes))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return "model._target_=dropping.net"


@pytest.mark.parametrize("epoch", [1, 2, 3])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_interrupted_run_resumes_to_the_same_numbers(
    config, monkeypatch, dropout_net, epoch, moment
):
    random = (dropout_net, "loss=focal", "data.flip=true", "data.crop=1")
    straight, cut = config(*random, folder="straight"), config(*random, folder="cut")
    save, saved, resumed = LastingCheckpointIO.save_checkpoint, [], []
    monkeypatch.setattr("xent_bench.training.saving.MAX_SHARE", math.inf)  # after every epoch

    def cut_the_power(*arguments: object, **options: object) -> None:
        saved.append(None)
        if len(saved) == epoch and moment == "before":
            raise PowerCut
        save(*arguments, **options)
        if len(saved) == epoch:
            raise PowerCut

    run(straight)
    with monkeypatch.context() as patch:
        patch.setattr(LastingCheckpointIO, "save_checkpoint", cut_the_power)
        with pytest.raises(PowerCut):
            run(cut)
    with monkeypatch.context() as patch:
        patch.setattr(
            LastingCheckpointIO,
            "save_checkpoint",
            lambda *arguments, **options: (resumed.append(None), save(*arguments, **options)),
        )
        run(cut)

    # it went on: a run begun afresh would end with the same numbers too
    assert len(resumed) == 3 - (epoch if moment == "after" else epoch - 1)
    assert_same_weights(straight, cut)
    for key in ("val/nll", "train/loss", "test/nll", "test_ts/ece"):
        assert curve(cut, key) == curve(straight, key)
    assert untimed(cut) == untimed(straight)
    ended = mlflow_run(cut)
    assert ended.info.status == "FINISHED"
    assert "failure" not in ended.data.tags


@pytest.mark.parametrize("function", ["save", "evaluate", "weights_sha256"])
def test_a_run_cut_after_training_only_evaluates_again(config, monkeypatch, function):
    straight, cut = config(folder="straight"), config(folder="cut")

    def cut_the_power(*_: object) -> None:
        raise PowerCut

    expected = run(straight)
    with monkeypatch.context() as patch:
        patch.setattr(f"xent_bench.training.finish.{function}", cut_the_power)
        with pytest.raises(PowerCut):
            run(cut)

    assert run(cut)["metrics"] == expected["metrics"]
    assert curve(cut, "test/nll") == curve(straight, "test/nll")
    assert curve(cut, "val/nll") == curve(straight, "val/nll")


def test_a_run_without_a_result_says_why_and_whether_it_still_runs(config, monkeypatch):
    cut = config(folder="cut")
    with monkeypatch.context() as patch:
        patch.setattr(
            "xent_bench.training.finish.evaluate", lambda *_: (_ for _ in ()).throw(PowerCut("zap"))
        )
        with pytest.raises(PowerCut):
            run(cut, "xent-train loss=ce")
    (ended,) = load_unfinished(run_folder(cut).parent)
    with FileLock(run_folder(cut) / ".lock"):
        (running,) = load_unfinished(run_folder(cut).parent)

    assert (ended.name, ended.command) == ("ce-s0", "xent-train loss=ce")
    assert ended.reason == "PowerCut: zap"
    assert running.reason == "still running"
    run(cut)
    assert load_unfinished(run_folder(cut).parent) == []


@pytest.mark.parametrize("spelling", ["2", "2.0", "2e0"])
def test_a_number_spelled_otherwise_goes_on_with_the_same_run(config, monkeypatch, spelling):
    with monkeypatch.context() as patch:
        patch.setattr("xent_bench.training.finish.save", lambda *_: pytest.fail("cut"))
        with pytest.raises(pytest.fail.Exception):
            run(config("loss=focal", "loss.gamma=2"))

    wanted = config("loss=focal", f"loss.gamma={spelling}")
    assert run(wanted)["params"]["loss.gamma"] == 2.0
    assert mlflow_run(wanted).info.status == "FINISHED"


def test_a_run_with_the_same_key_elsewhere_is_left_alone(config):
    mine = config()
    client = MlflowClient(mine.machine.tracking)
    experiment = client.create_experiment(mine.experiment)
    theirs = client.create_run(experiment, tags={"key": run_key(mine), "owner": "somebody"})
    result = run(mine)

    assert result["tags"]["mlflow_run_id"] != theirs.info.run_id
    assert client.get_run(theirs.info.run_id).info.status == "RUNNING"


def test_a_run_whose_tracking_dies_in_the_middle_is_done_and_sent_when_typed_again(
    config, monkeypatch, capsys
):
    def die(*_: object, **__: object) -> None:
        raise MlflowException("gone")

    wanted = config()
    with monkeypatch.context() as patch:
        patch.setattr("mlflow.MlflowClient.set_terminated", die)
        done = run(wanted)
    complaint = capsys.readouterr().err
    status = mlflow_run(wanted).info.status
    again = run(wanted)

    folder = run_folder(wanted)
    assert f"ce-s0: MLflow at {wanted.machine.tracking}: gone; kept in {folder}" in complaint
    assert status == "RUNNING"
    assert mlflow_run(wanted).info.status == "FINISHED"
    assert again == done
    assert [step for step, _ in curve(wanted, "val/nll")] == [1, 2, 3]


def test_a_damaged_result_is_named_with_the_way_out(config):
    wanted = config()
    run(wanted)
    folder = run_folder(wanted)
    result = folder / "result.json"

    result.write_text(result.read_text()[:50])
    with pytest.raises(DataError, match=r"cannot read .*result.json, delete it"):
        run(wanted)
    result.unlink()
    assert math.isfinite(run(wanted)["metrics"]["test/nll"])


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("kept", [1, 0])
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(config, capsys, kept):
    straight, cut = config(folder="straight"), config(folder="cut")
    expected = run(straight)
    run(cut)
    (run_folder(cut) / "result.json").unlink()
    before, last = sorted(run_folder(cut).glob("step*.ckpt"))
    flip_a_bit(last)
    if not kept:
        before.write_bytes(b"")
    capsys.readouterr()
    again = run(cut)

    printed = capsys.readouterr().out
    both = f"{last}" if kept else f"{last}, {before}"
    assert f"damaged: {both}; going on from {before.name if kept else 'the start'}" in printed
    assert again["metrics"] == expected["metrics"]
    assert again["tags"]["weights_sha256"] == expected["tags"]["weights_sha256"]
    assert curve(cut, "val/nll") == curve(straight, "val/nll")
    assert len(list(run_folder(cut).glob("step*.ckpt"))) == 2


def test_a_run_deleted_from_mlflow_is_begun_anew_there(config):
    wanted = config()
    first = run(wanted)["tags"]["mlflow_run_id"]
    MlflowClient(wanted.machine.tracking).delete_run(first)
    (run_folder(wanted) / "result.json").unlink()
    second = run(wanted)

    assert second["tags"]["mlflow_run_id"] != first
    assert mlflow_run(wanted).info.status == "FINISHED"


def test_a_store_half_made_by_a_killed_process_is_made_again(config, tmp_path):
    (tmp_path / "new.db.part").write_bytes(b"half of the tables")
    wanted = config()
    wanted.machine.tracking = f"sqlite:///{tmp_path}/new.db"
    run(wanted)

    assert mlflow_run(wanted).info.status == "FINISHED"
    assert not (tmp_path / "new.db.part").exists()
