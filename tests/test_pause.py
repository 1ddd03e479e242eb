"""A run that pauses after an epoch, and goes on later to the bits of one that did not."""

import importlib
import itertools
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import SMALL, answer
from omegaconf import DictConfig
from test_image_folder import encoded, write
from trained_run import assert_same_weights, curve, mlflow_run, untimed

from xent_bench.commands import train
from xent_bench.config.identity import run_folder, run_key
from xent_bench.process.signals import Preempted
from xent_bench.runs.begun import Unfinished, is_paused, load_begun, pause, paused_epoch
from xent_bench.runs.files import LOCK, NOT_IN_MLFLOW, PREDICTIONS, has_result
from xent_bench.runs.lacking import Asked, Lack, lacking
from xent_bench.runs.pace import load_pace
from xent_bench.runs.predictions import load
from xent_bench.runs.val_at import val_at
from xent_bench.training.checkpoint_files import epochs_in, last_checkpoint
from xent_bench.training.run import run

NET = """
from torch import nn
from torch.nn import functional as F
from xent_bench.types import Index, Logits, PerExample

calls, act = 0, lambda call: None

def loss(logits: Logits, target: Index) -> PerExample:
    global calls
    if logits.grad_fn is not None:  # in training
        calls += 1
        act(calls)
    return F.cross_entropy(logits, target, reduction="none")

def net(shape, classes, *, width=16, depth=2) -> nn.Module:
    channels, h, w = shape
    hidden = nn.Sequential(nn.Flatten(), nn.Linear(channels * h * w, width), nn.ReLU())
    return nn.Sequential(hidden, nn.Dropout(0.5), nn.Linear(width, classes))
"""
RANDOM = ("data.flip=true", "data.crop=1", "schedule.warmup=0.2", "epochs=4")
BEST = ("choose=best", "patience=2", "ema=0.9", "optimizer.lr=0.05", "epochs=6")
STEPS = 5  # of an epoch: 336 images of train, in batches of 64


class PowerCut(BaseException):
    """Ends a run where it stands."""


@pytest.fixture
def users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A loss that acts at a call, and a net with dropout."""
    (tmp_path / "pausing.py").write_text(NET)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "pausing", raising=False)
    monkeypatch.setattr("xent_bench.data.groups.SECONDS", 0)  # any step may be the last
    # epochs are too short to be saved, but for the last before a pause
    monkeypatch.setattr("xent_bench.training.saving.MAX_SHARE", 1e-9)
    return importlib.import_module("pausing")


@pytest.fixture
def wanted(config: Callable[..., DictConfig]) -> Callable[..., DictConfig]:
    parts = ("loss=sparse_ce", "loss._target_=pausing.loss", "model._target_=pausing.net")
    return lambda *more, folder="runs": config(*parts, *more, folder=folder)


def paused(config: DictConfig) -> str:
    """The reason that the run's folder keeps; nobody holds it, and it has no result."""
    folder = run_folder(config)
    assert not has_result(folder)
    return load_begun(folder).reason


def assert_same(one: DictConfig, other: DictConfig) -> None:
    """Fail unless two finished runs agree in every bit."""
    first, second = run(one), run(other)
    assert first["metrics"] == second["metrics"]
    assert first["tags"]["weights_sha256"] == second["tags"]["weights_sha256"]
    assert_same_weights(one, other)
    assert untimed(one) == untimed(other)
    for key in ("val/nll", "train/loss", "test/nll"):
        assert curve(one, key) == curve(other, key)
    predictions = [load(run_folder(config) / PREDICTIONS) for config in (one, other)]
    for split in ("calib", "test"):
        arrays = [getattr(prediction, split) for prediction in predictions]
        for name in ("outputs", "target", "id"):
            np.testing.assert_array_equal(*(getattr(part, name) for part in arrays))
    assert mlflow_run(other).info.status == "FINISHED"
    assert not {"paused", "failure"} & mlflow_run(other).data.tags.keys()


@pytest.mark.usefixtures("users")
@pytest.mark.parametrize("recipe", [RANDOM, BEST])
def test_a_run_that_paused_twice_ends_with_the_bits_of_one_that_did_not(wanted, recipe):
    straight = wanted(*recipe, folder="straight")
    run(straight)
    outcomes, saved = [], []
    for epoch in (1, 3):
        cut = wanted(*recipe, f"machine.pause_after={epoch}", folder="cut")
        outcomes.append(run(cut)["reason"])
        saved.append(epochs_in(last_checkpoint(run_folder(cut))[0]))
        assert paused(cut) == outcomes[-1]
        assert not (run_folder(cut) / NOT_IN_MLFLOW).exists()
    cut = wanted(*recipe, folder="cut")

    epochs = straight.epochs
    assert outcomes == [f"paused after epoch 1 of {epochs}", f"paused after epoch 3 of {epochs}"]
    assert saved == [1, 3]
    assert_same(straight, cut)


def test_a_run_that_is_cut_between_its_pause_and_its_end_goes_on_from_the_pause(users, wanted):
    straight, cut = wanted(*RANDOM, folder="straight"), wanted(*RANDOM, folder="cut")
    run(straight)
    run(wanted(*RANDOM, "machine.pause_after=2", folder="cut"))

    def cut_the_power(call: int) -> None:
        if call == 3:
            raise PowerCut

    users.calls, users.act = 0, cut_the_power
    with pytest.raises(PowerCut):
        run(cut)
    users.calls = 10 * STEPS
    run(cut)

    assert users.calls == 12 * STEPS  # all of the third epoch again, and the fourth
    assert_same(straight, cut)


def test_decoding_workers_do_not_notice_a_pause(config, tmp_path):
    for name, number in itertools.product(("cat", "dog"), range(8)):
        image = encoded(size=(9 + number, 8))
        write(tmp_path / "images", f"train/{name}/{number}.png", content=image)
    write(tmp_path / "images", "test/cat/t.png", "test/dog/t.png", content=encoded(size=(9, 9)))
    base = ("data=image_folder", f"data.root={tmp_path}/images", "data.size=8", "data.flip=true")
    base += ("machine.workers=1", "machine.cache=false", "model=linear", "batch_size=4", "epochs=2")
    straight, cut = (config(base=base, folder=folder) for folder in ("straight", "cut"))
    run(straight)
    run(config("machine.pause_after=1", base=base, folder="cut"))

    assert paused(cut) == "paused after epoch 1 of 2"
    assert_same(straight, cut)


def test_a_pause_is_no_part_of_a_runs_key_and_none_after_the_last_epoch(config):
    plain, late = config(folder="plain"), config("machine.pause_after=3", folder="late")

    assert run_key(late) == run_key(plain)
    assert run(late)["metrics"] == run(plain)["metrics"]


def test_a_run_that_patience_stops_before_its_pause_is_finished(config):
    recipe = ("epochs=9", "optimizer.lr=0.05", "patience=1")
    expected = run(config(*recipe, folder="straight"))
    trained = int(expected["tags"]["epochs_trained"])
    for epoch in (trained, trained + 1):
        wanted = config(*recipe, f"machine.pause_after={epoch}", folder=f"pause-{epoch}")
        assert run(wanted)["metrics"] == expected["metrics"]

    assert trained < 8


def test_a_paused_or_finished_run_is_not_trained_up_to_its_pause_again(config, monkeypatch):
    first = run(config("machine.pause_after=2"))
    later = run(config("machine.pause_after=2", "seed=1", folder="later"))
    monkeypatch.setattr("xent_bench.training.fit.fit", lambda *_: pytest.fail("trained again"))

    assert run(config("machine.pause_after=2")) == first
    assert run(config("machine.pause_after=1")) == first
    assert first["metrics"]["val/nll"] != later["metrics"]["val/nll"]
    monkeypatch.undo()
    done = run(config())
    monkeypatch.setattr("xent_bench.training.fit.fit", lambda *_: pytest.fail("trained again"))
    assert run(config("machine.pause_after=1")) == done


def test_a_run_that_was_stopped_beyond_its_pause_is_paused_without_training(users, wanted):
    cut = wanted(*RANDOM, folder="cut")

    def tell(call: int) -> None:
        if call == 2 * STEPS + 2:
            os.kill(os.getpid(), signal.SIGTERM)

    users.calls, users.act = 0, tell
    with pytest.raises(Preempted):
        run(cut)
    stopped, calls = paused(cut), users.calls
    outcome = run(wanted(*RANDOM, "machine.pause_after=1", folder="cut"))

    assert stopped.startswith("Preempted")
    assert users.calls == calls
    assert outcome["reason"] == paused(cut) == "paused after epoch 2 of 4"
    assert outcome["metrics"]["val/nll"] == dict(untimed(cut))[2]["val/nll"]
    stored = mlflow_run(cut)
    assert (stored.info.status, stored.data.tags["paused"]) == ("KILLED", outcome["reason"])
    assert {"commit", "data_sha256"} <= load_begun(run_folder(cut)).tags.keys()


def test_mlflow_has_a_paused_run_as_killed_with_its_reason(config):
    wanted = config("machine.pause_after=2")
    run(wanted)
    stored = mlflow_run(wanted)

    assert stored.info.status == "KILLED"
    assert stored.data.tags["paused"] == "paused after epoch 2 of 3"
    assert "failure" not in stored.data.tags
    assert str(load_pace(run_folder(wanted))) == "epoch 2.0/3"  # and not at its end, scoring
    assert [step for step, _ in curve(wanted, "val/nll")] == [1, 2]


def test_a_pause_is_what_was_asked_for_if_it_is_not_too_early(config):
    wanted = config("machine.pause_after=2", "machine.offline=true")
    run(wanted)
    folder = run_folder(wanted)

    assert lacking(folder, Asked(pause_after=1)) == lacking(folder, Asked(pause_after=2)) == Lack(0)
    assert lacking(folder, Asked(pause_after=3)) == lacking(folder, Asked()) == Lack.RESULT
    # what is asked for beside the training waits for its end
    assert lacking(folder, Asked("isotonic", weights=True, pause_after=2)) == Lack(0)
    assert lacking(folder, Asked(offline=False, pause_after=2)) == Lack.UPLOAD
    run(config("machine.offline=true"))
    assert lacking(folder, Asked(pause_after=1)) == Lack(0)
    assert lacking(folder, Asked("isotonic", pause_after=1)) == Lack.CALIBRATOR


@pytest.mark.parametrize(
    ("reason", "epoch"),
    [
        ("paused after epoch 7 of 20", 7),
        ("paused after epoch 0 of 20", None),
        ("paused after epoch 7 of 20 or so", None),
        ("PowerCut: paused after epoch 7 of 20", None),
        ("paused after epoch \N{ARABIC-INDIC DIGIT SEVEN} of 20", None),
        ("killed", None),
    ],
)
def test_only_a_pause_counts_as_one(reason, epoch):
    begun = Unfinished("ce-s0", "mine", {}, "xent-train", reason)

    assert paused_epoch(begun) == epoch
    assert is_paused(begun) == (epoch is not None)
    assert paused_epoch(Unfinished("ce-s0", "mine", {}, "", pause(13, 20))) == 13


def test_a_pause_typed_as_a_command_says_how_far_it_is_and_what_goes_on(place, capsys):
    words = (*SMALL, "machine=cpu", "machine.threads=1", "machine.offline=true")
    codes = [answer(train.main, *words, f"seed={seed}", "machine.pause_after=1") for seed in (0, 1)]
    shown = capsys.readouterr().out
    code = answer(train.main, *words, "seed=1")
    ended = capsys.readouterr().out
    first, second = sorted((place / "runs" / "default").iterdir())

    assert codes == [0, 0]
    assert code == 0
    nll = val_at(first, 1, "val/nll")
    assert f"ce-s0          paused after epoch 1 of 3: val/nll {nll:.3f}\n" in shown
    assert f"Folder: runs/default/{first.name}; without machine.pause_after the command" in shown
    assert "ce-s1          top-1" in ended
    assert [has_result(folder) for folder in (first, second)] == [False, True]
    assert (first / LOCK).exists()  # and free: `paused` would be 'still running'
    code = answer(train.main, *words, "machine.pause_after=0")
    assert code == 2
    assert "machine.pause_after" in capsys.readouterr().err
