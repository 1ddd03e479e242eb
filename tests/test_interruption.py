"""A run that is cut short at any step, or told to end, goes on to the numbers of one that is not.

What kills a whole process, a sweep, or a job of a cluster is in other files.
"""

import importlib
import math
import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from mlflow import MlflowClient
from omegaconf import DictConfig

from xent_bench.config.identity import run_folder
from xent_bench.process.signals import Notice, Preempted
from xent_bench.runs.begun import load_unfinished
from xent_bench.runs.curves import SECONDS, load_curves
from xent_bench.training.checkpoint_files import LastingCheckpointIO, last_checkpoint
from xent_bench.training.run import run

SABOTEUR = """
import os
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
    return nn.Sequential(
        nn.Flatten(), nn.Linear(channels * h * w, width), nn.BatchNorm1d(width), nn.ReLU(),
        nn.Dropout(0.5), nn.Linear(width, classes),
    )
"""
STEPS = 6  # of an epoch: 336 images of train, in batches of 50

ON_A_GPU = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


class PowerCut(BaseException):
    """Ends a run where it stands."""


@pytest.fixture
def saboteur(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A loss that acts at a call, and a net whose every step draws at random."""
    (tmp_path / "saboteur.py").write_text(SABOTEUR)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(importlib.import_module("sys").modules, "saboteur", raising=False)
    # a group of minibatches each, so that any step may be the last before the end
    monkeypatch.setattr("xent_bench.data.groups.SECONDS", 0)
    return importlib.import_module("saboteur")


@pytest.fixture
def wanted(config: Callable[..., DictConfig]) -> Callable[..., DictConfig]:
    parts = ("loss=sparse_ce", "loss._target_=saboteur.loss", "model._target_=saboteur.net")
    recipe = ("data.flip=true", "data.crop=1", "batch_size=50", "schedule.warmup=0.2")
    return lambda *more, folder: config(*parts, *recipe, *more, folder=folder)


def ended(config: DictConfig) -> dict[str, object]:
    """All that an undisturbed run and one that was cut short must agree in."""
    result = run(config)
    curves = load_curves(run_folder(config))
    untimed = {
        step: {key: value for key, value in values.items() if not key.startswith("time/")}
        for step, values in curves.items()
    }
    client = MlflowClient(config.machine.tracking)
    experiment = client.get_experiment_by_name(config.experiment)
    (stored,) = client.search_runs([experiment.experiment_id])
    points = {
        key: sorted((p.step, p.value) for p in client.get_metric_history(stored.info.run_id, key))
        for key in ("val/nll", "train/loss", "test/nll")
    }
    return {
        "metrics": result["metrics"],
        "weights": result["tags"]["weights_sha256"],
        "curves": untimed,
        "points": points,
        "status": (stored.info.status, stored.data.tags.get("failure")),
    }


@pytest.fixture(scope="module")
def endings() -> dict[str, dict[str, object]]:
    """How undisturbed runs ended, by machine: each is trained once for the tests of this file."""
    return {}


@pytest.fixture
def undisturbed(
    saboteur: ModuleType,  # noqa: ARG001  loss and net of the run
    wanted: Callable[..., DictConfig],
    endings: dict[str, dict[str, object]],
) -> Callable[[str], dict[str, object]]:
    """Return how a run ends that nothing interrupts, on a machine."""

    def ending(machine: str) -> dict[str, object]:
        if machine not in endings:
            endings[machine] = ended(wanted(f"machine={machine}", folder="straight"))
        return endings[machine]

    return ending


@pytest.mark.parametrize(
    ("sent", "step"),
    [
        (signal.SIGTERM, 1),
        (signal.SIGTERM, STEPS - 1),
        (signal.SIGTERM, STEPS),
        (signal.SIGUSR1, STEPS + 2),
        (signal.SIGINT, STEPS + 2),
    ],
)
def test_a_run_that_is_told_to_end_saves_after_the_step_and_goes_on_from_there(
    saboteur, wanted, undisturbed, sent, step
):
    cut = wanted(folder="cut")
    expected = undisturbed("cpu")

    def tell(call: int) -> None:
        if call == step:
            os.kill(os.getpid(), sent)

    saboteur.calls, saboteur.act = 0, tell
    with pytest.raises(KeyboardInterrupt if sent == signal.SIGINT else Preempted):
        run(cut)
    last, _ = last_checkpoint(run_folder(cut))
    kept = torch.load(last, weights_only=True)
    (begun,) = load_unfinished(run_folder(cut).parent)
    saboteur.calls = STEPS * 10
    found = ended(cut)

    assert kept["global_step"] in (step, step + 1)  # one group is always fetched ahead
    assert ("within_epoch" in kept) == (kept["global_step"] % STEPS != 0)
    assert saboteur.calls == STEPS * 13 - kept["global_step"]
    assert begun.reason == f"Preempted: told to end by {signal.Signals(sent).name}"
    assert found == expected


@pytest.mark.parametrize(
    ("step", "machine"),
    [
        (3, "cpu"),
        (STEPS + 4, "cpu"),
        pytest.param(STEPS + 4, "gpu", marks=ON_A_GPU),
    ],
)
def test_a_run_cut_within_an_epoch_goes_on_from_the_last_checkpoint_there(
    saboteur, wanted, undisturbed, step, machine
):
    cut = wanted(f"machine={machine}", "machine.checkpoint_minutes=1e-9", folder="cut")
    expected = undisturbed(machine)

    def cut_the_power(call: int) -> None:
        if call == step:
            raise PowerCut

    saboteur.calls, saboteur.act = 0, cut_the_power
    with pytest.raises(PowerCut):
        run(cut)
    saboteur.calls = STEPS * 10
    found = ended(cut)

    assert saboteur.calls == STEPS * 10 + 3 * STEPS - (step - 1)
    assert found == expected


def test_a_run_cut_after_epochs_too_short_to_be_saved_trains_them_again(
    saboteur, wanted, undisturbed, monkeypatch
):
    cut = wanted(folder="cut")
    expected = undisturbed("cpu")

    def cut_the_power(call: int) -> None:
        if call == 2 * STEPS + 2:
            raise PowerCut

    monkeypatch.setattr("xent_bench.training.saving.MAX_SHARE", 1e-9)
    saboteur.calls, saboteur.act = 0, cut_the_power
    with pytest.raises(PowerCut):
        run(cut)
    saboteur.calls = STEPS * 10
    found = ended(cut)

    assert saboteur.calls == STEPS * (10 + 2)
    assert found == expected


@pytest.mark.usefixtures("saboteur")
@pytest.mark.parametrize(("share", "epochs"), [(math.inf, [1, 2, 3]), (1e-9, [1, 3])])
def test_a_checkpoint_is_written_after_epochs_that_are_worth_it(wanted, monkeypatch, share, epochs):
    saved = []
    monkeypatch.setattr("xent_bench.training.saving.MAX_SHARE", share)
    save = LastingCheckpointIO.save_checkpoint
    monkeypatch.setattr(
        LastingCheckpointIO,
        "save_checkpoint",
        lambda own, checkpoint, path, **more: (
            saved.append(checkpoint["global_step"]),
            save(own, checkpoint, path, **more),
        ),
    )
    run(wanted(folder="straight"))

    assert saved == [STEPS * epoch for epoch in epochs]
    assert SECONDS in load_curves(run_folder(wanted(folder="straight")))[1]


def within_notice(*sent: signal.Signals, then: Callable[[], object]) -> None:
    with Notice() as notice:
        notice.listen()
        for each in sent:
            os.kill(os.getpid(), each)
        then()


def test_whoever_listened_before_hears_the_signal_after_the_run():
    heard: list[str] = []
    before = signal.signal(signal.SIGUSR2, lambda *_: heard.append("earlier"))
    try:
        with pytest.raises(Preempted):
            within_notice(signal.SIGUSR2, then=lambda: heard.append("run"))
    finally:
        signal.signal(signal.SIGUSR2, before)

    assert heard == ["run", "earlier"]


def test_before_there_is_anything_to_save_a_signal_ends_a_run_at_once(monkeypatch, wanted):
    monkeypatch.setattr(
        "xent_bench.training.build.build_loaders", lambda *_: os.kill(os.getpid(), told)
    )
    for told, ending in ((signal.SIGUSR1, Preempted), (signal.SIGINT, KeyboardInterrupt)):
        with pytest.raises(ending):
            run(wanted(folder=told.name))
        (left,) = load_unfinished(run_folder(wanted(folder=told.name)).parent)
        assert left.reason in ("interrupted", "Preempted: told to end by SIGUSR1")


def test_ctrl_c_twice_ends_at_once():
    with pytest.raises(KeyboardInterrupt):
        within_notice(signal.SIGINT, signal.SIGINT, then=lambda: pytest.fail("went on"))


def test_a_failure_of_the_run_comes_before_the_signal():
    with pytest.raises(ZeroDivisionError):
        within_notice(signal.SIGTERM, then=lambda: 1 / 0)
