"""A run that cannot go on ends with one line and the exit code of that kind of failure."""

import subprocess
import sys
from pathlib import Path

import pytest
from trained_run import mlflow_run

from xent_bench.config.configure import ConfigError
from xent_bench.config.identity import run_folder
from xent_bench.failures import Diverged
from xent_bench.runs.begun import load_unfinished
from xent_bench.training.run import run

XENT_TRAIN = str(Path(sys.executable).with_name("xent-train"))


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["data=fashion_mnist", "data.root=nowhere"], 3, "four files not found in nowhere"),
        (["machine.tracking=sqlite:////proc/nope/x.db"], 4, "MLflow at sqlite:////proc/nope/x.db"),
        (["model=resnet18", "batch_size=1"], 2, "model: cannot train on a batch of shape"),
    ],
)
def test_each_kind_of_failure_has_its_exit_code(tmp_path, arguments, code, complaint):
    done = subprocess.run(
        [XENT_TRAIN, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == code
    assert complaint in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_batch_larger_than_the_training_set_is_refused(config):
    with pytest.raises(ConfigError, match="expected at most the 336 images of train"):
        run(config("batch_size=5000"))


def test_a_diverged_run_stops_with_epoch_and_step_and_is_failed_in_mlflow(config):
    wanted = config("optimizer=sgd", "optimizer.lr=1e30")
    with pytest.raises(Diverged, match=r"the loss became nan in epoch 1, step \d+: a smaller"):
        run(wanted)

    stored = mlflow_run(wanted)
    assert stored.info.status == "FAILED"
    assert "epoch 1, step" in stored.data.tags["failure"]
    (ended,) = load_unfinished(run_folder(wanted).parent)
    assert ended.reason.startswith("Diverged: the loss became nan in epoch 1, step")
    assert not (run_folder(wanted) / "result.json").exists()


def test_a_failure_is_told_by_its_own_reason_where_begun_json_is_gone(config, monkeypatch):
    wanted = config()

    def lose_the_record(*_: object) -> None:
        (run_folder(wanted) / "begun.json").unlink()
        raise Diverged("the loss became nan")

    monkeypatch.setattr("xent_bench.training.finish.evaluate", lose_the_record)

    with pytest.raises(Diverged, match="the loss became nan"):
        run(wanted)


def test_a_target_that_is_no_name_is_one_line(tmp_path):
    done = subprocess.run(
        [XENT_TRAIN, "loss._target_=null"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("xent-train: loss._target_: expected a dotted name, got None")
    assert len(done.stderr.splitlines()) == 1
