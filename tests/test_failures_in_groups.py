"""What goes wrong in one run of a group, or ends its process, is no matter of the other runs."""

import gc
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig
from test_together import differing, state, trained_together

from xent_bench.config.configure import ConfigError
from xent_bench.config.identity import run_folder
from xent_bench.data.batches import ShuffledBatches
from xent_bench.failures import DataError, Diverged
from xent_bench.runs.begun import load_begun
from xent_bench.runs.files import RESULT
from xent_bench.runs.pace import load_pace
from xent_bench.runs.result import load_run
from xent_bench.together import group_training, one_training
from xent_bench.together.learner import Learner
from xent_bench.together.one_training import OneTraining
from xent_bench.training.checkpoint_files import LastingCheckpointIO, last_checkpoint
from xent_bench.training.run import run

USERS = """
import sys
from torch import nn, optim
from torch.nn import functional as F
from xent_bench.links import softmax, use
from xent_bench.types import Index, Logits, PerExample

def infinite(logits: Logits, target: Index) -> PerExample:
    return F.cross_entropy(logits, target, reduction="none") / 0

def exiting(outputs):
    if len(outputs) > 100:  # images of test
        sys.exit(9)
    return softmax(outputs)

@use(exiting)
def exiting_link(logits: Logits, target: Index) -> PerExample:
    return F.cross_entropy(logits, target, reduction="none")

def sgd(net: nn.Module, *, lr: float = 0.1, weight_decay: float = 0.0) -> optim.Optimizer:
    return optim.SGD(net.parameters(), lr=lr, weight_decay=weight_decay)
"""
NOT_OF_USERS = ("momentum", "nesterov", "decay_bias_and_norm", "backbone_lr", "layer_decay")
SGD = (
    "optimizer=sgd",
    "optimizer._target_=users_parts.sgd",
    *(f"~optimizer.{k}" for k in NOT_OF_USERS),
)


@pytest.fixture
def wanted(config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., DictConfig]:
    """Compose a run that MLflow does not hear of; it may have parts of a user's own."""
    (tmp_path / "users_parts.py").write_text(USERS)
    monkeypatch.syspath_prepend(tmp_path)

    def compose(*words: str, folder: str = "group") -> DictConfig:
        return config("batch_size=50", "machine.offline=true", *words, folder=folder)

    return compose


def test_a_step_that_overflows_fails_one_run(wanted):
    words = (*SGD, "machine.pause_after=1")
    fine, alone = (wanted("loss=ce", *words, folder=folder) for folder in ("group", "alone"))
    run(alone)
    ends = trained_together(fine, wanted("loss=mse", "optimizer.lr=1e39", *words))

    assert ends[0] is None
    assert isinstance(ends[1], Diverged)
    assert "the optimizer's step became infinite in epoch 1, step 1" in str(ends[1])
    assert differing(state(fine), state(alone)) == []


def test_a_link_that_exits_in_the_evaluation_fails_one_run(wanted):
    others = [wanted(f"loss={loss}") for loss in ("ce", "mse")]
    exiting = wanted("loss=sparse_ce", "loss._target_=users_parts.exiting_link")
    ends = trained_together(exiting, *others)

    assert isinstance(ends[0], ConfigError)
    assert str(ends[0]).startswith("loss: SystemExit: 9 when its link read the predictions")
    assert ends[1] is ends[2] is None
    assert all((run_folder(other) / RESULT).exists() for other in others)


def test_a_checkpoint_that_lacks_weights_fails_one_run(wanted):
    losses = ("ce", "focal", "hinge")
    paused = [wanted(f"loss={loss}", "machine.pause_after=1") for loss in losses]
    trained_together(*paused)
    folder = run_folder(paused[0])
    checkpoint, _ = last_checkpoint(folder)
    assert checkpoint is not None
    content = torch.load(checkpoint, weights_only=True)
    del content["state_dict"]["net.1.weight"]
    checkpoint.unlink()
    LastingCheckpointIO().save_checkpoint(content, folder)
    ends = trained_together(*(wanted(f"loss={loss}") for loss in losses))

    assert isinstance(ends[0], DataError)
    assert str(ends[0]).startswith(f"cannot go on from {folder}")
    assert ends[1] is ends[2] is None


class PowerCut(BaseException):
    """The end of a process at an instant that it did not choose."""


def test_a_run_that_patience_has_ended_trains_no_further_after_a_power_cut(wanted, monkeypatch):
    rates = ("0.003", "0.3", "1.0")  # the last two stop early, at different epochs
    words = ("loss=ce", "patience=1", "choose_by=val/nll", "epochs=6")
    alone, group = (
        [wanted(*words, f"optimizer.lr={rate}", folder=folder) for rate in rates]
        for folder in ("alone", "group")
    )
    for one in alone:
        run(one)

    def cut(*_: Any) -> None:
        raise PowerCut

    with monkeypatch.context() as patch:
        patch.setattr(one_training, "finish", cut)
        with pytest.raises(PowerCut):
            trained_together(*group)
    ends = trained_together(*group)

    assert set(ends.values()) == {None}
    results, others = (
        [load_run(run_folder(one) / RESULT) for one in some] for some in (group, alone)
    )
    assert [result.tags["stopped_early"] for result in results] == ["false", "true", "true"]
    assert [result.metrics for result in results] == [result.metrics for result in others]


def test_the_progress_of_a_group_is_noted_in_the_folders_of_those_that_train(wanted):
    words = ("machine.pause_after=2",)
    refused = wanted("loss=sparse_ce", "loss._target_=users_parts.infinite", *words)
    diverging = wanted("loss=ce", "optimizer.lr=1e38", *words)
    fine = wanted("loss=mse", *words)
    ends = trained_together(diverging, refused, fine)
    ended_at, paused_at = (load_pace(run_folder(one)) for one in (diverging, fine))

    assert isinstance(ends[0], Diverged)
    assert isinstance(ends[1], ConfigError)
    assert not run_folder(refused).exists()
    assert ended_at is not None
    assert ended_at.epoch <= 1
    assert paused_at is not None
    assert paused_at.epoch == 2


def test_groups_hold_the_folders_of_their_runs_in_one_order(wanted, monkeypatch):
    held: list[Path] = []
    prepared = one_training.prepared

    def noting(config: DictConfig, *arguments: Any) -> Any:
        held.append(run_folder(config))
        return prepared(config, *arguments)

    monkeypatch.setattr(one_training, "prepared", noting)
    runs = [wanted(f"loss={loss}", "machine.pause_after=1") for loss in ("mse", "ce", "hinge")]
    trained_together(*runs)

    assert held == sorted(map(run_folder, runs))


def test_seeds_that_find_no_room_together_are_trained_after_each_other(wanted, monkeypatch):
    alone, group = (
        [wanted(f"seed={seed}", "machine.pause_after=1", folder=folder) for seed in range(3)]
        for folder in ("alone", "group")
    )
    for one in alone:
        run(one)
    in_memory: list[int] = []
    train = OneTraining.train

    def counting(self: OneTraining) -> list[int]:
        gc.collect()
        in_memory.append(sum(isinstance(one, ShuffledBatches) for one in gc.get_objects()))
        return train(self)

    monkeypatch.setattr(OneTraining, "train", counting)
    monkeypatch.setattr(group_training, "MOST_BYTES", 1)
    ends = trained_together(*group)

    assert set(ends.values()) == {None}
    assert len(in_memory) == 3
    assert max(in_memory[1:]) <= in_memory[0]
    for one, other in zip(group, alone, strict=True):
        assert differing(state(one), state(other)) == []


def test_a_folder_that_is_deleted_in_training_fails_one_run(wanted, monkeypatch):
    words = ("machine.checkpoint_minutes=1e-6",)
    fine = [wanted(f"loss={loss}", *words) for loss in ("ce", "mse")]
    deleted = wanted("loss=focal", *words)
    begin_epoch = Learner.begin_epoch

    def deleting(self: Learner) -> None:
        begin_epoch(self)
        if self.classifier.current_epoch == 1 and run_folder(deleted).exists():
            shutil.rmtree(run_folder(deleted))

    monkeypatch.setattr(Learner, "begin_epoch", deleting)
    ends = trained_together(fine[0], deleted, fine[1])

    assert isinstance(ends[1], OSError)
    assert ends[0] is ends[2] is None


def test_a_first_run_that_is_refused_leaves_the_others_in_their_group(wanted):
    words = ("machine.pause_after=1",)
    refused = wanted("loss=sparse_ce", "loss._target_=users_parts.infinite", *words)
    others = [wanted(f"loss={loss}", *words) for loss in ("ce", "mse")]
    ends = trained_together(refused, *others)

    assert isinstance(ends[0], ConfigError)
    assert ends[1] is ends[2] is None
    begun = [load_begun(run_folder(other)) for other in others]
    assert [run.tags["together"] for run in begun] == ["3 runs", "3 runs"]


def test_what_cannot_be_added_at_the_end_is_refused_before_the_training_of_one_run(wanted):
    unfit = wanted("loss=focal", "foreign=[/no/such/folder]")
    own_link = wanted(
        *("loss=sparse_ce", "loss._target_=users_parts.exiting_link", "machine.log_model=true")
    )
    ends = trained_together(wanted("loss=ce", "machine.pause_after=1"), unfit, own_link)

    assert ends[0] is None
    assert "/no/such/folder" in str(ends[1])
    assert str(ends[2]).startswith("machine.log_model: cannot export the link")
    assert not any(run_folder(refused).exists() for refused in (unfit, own_link))
