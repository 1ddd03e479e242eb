"""Several processes that train one run: to the numbers of one, and they end as one."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import DictConfig

from xent_bench.config.configure import ConfigError
from xent_bench.config.identity import run_folder
from xent_bench.failures import Diverged, ProcessEnded, worth_another_try
from xent_bench.process.gather import reached
from xent_bench.process.ranks import run_in_ranks
from xent_bench.process.signals import Notice, Preempted
from xent_bench.runs.predictions import load
from xent_bench.training.checkpoint_files import last_checkpoint
from xent_bench.training.run import run

# 605 images: splits that two processes cannot share equally
SMALL = ("data=synthetic", "data.n=605", "model=mlp", "model.width=16", "epochs=2")
# AdamW would make a full step of a difference in the last digit of a gradient that is nearly 0
BASE = (*SMALL, "optimizer=sgd", "optimizer.lr=0.1")
DROPPING = """
from torch import nn
def net(shape, classes, *, width=16, depth=2) -> nn.Module:
    channels, h, w = shape
    return nn.Sequential(
        nn.Flatten(), nn.Linear(channels * h * w, width), nn.ReLU(), nn.Dropout(0.5),
        nn.Linear(width, classes),
    )
"""


@pytest.fixture
def pair(config: Callable[..., DictConfig]) -> Callable[..., tuple[DictConfig, DictConfig]]:
    """The same run on one device and on two."""
    return lambda *overrides: (
        config(*overrides, folder="one", base=BASE),
        config(*overrides, "machine.devices=2", folder="two", base=BASE),
    )


@pytest.mark.parametrize(
    "recipe",
    [
        (),
        (
            *("loss=ce", "data.flip=true", "data.crop=1", "augmentation.mixup=0.4"),
            *("augmentation.cutmix=1", "augmentation.cutout=2", "accumulate=2", "clip_norm=0.5"),
        ),
        ("loss=ce", "data.labels=posterior", "data.noise=6"),
    ],
    ids=["plain", "recipe", "soft labels"],
)
def test_two_processes_reach_the_numbers_of_one(pair, recipe):
    alone, together = pair(*recipe)
    one, two = run(alone), run(together)

    assert one["tags"]["key"] == two["tags"]["key"]
    for key in ("test/nll", "test/top1", "test/ece", "test_ts/nll", "val/nll"):
        assert two["metrics"][key] == pytest.approx(one["metrics"][key], rel=1e-4, abs=1e-4), key
    for split in ("calib", "test"):
        mine, theirs = (
            getattr(load(run_folder(each) / "predictions.npz"), split) for each in (alone, together)
        )
        np.testing.assert_array_equal(mine.target, theirs.target)
        np.testing.assert_allclose(mine.outputs, theirs.outputs, rtol=1e-4, atol=1e-5)
    assert "2 processes" in two["tags"]["hardware"]


def in_background(act: Callable[[], None]) -> None:
    threading.Thread(target=act, daemon=True).start()


def once(found: Callable[[], Any], act: Callable[[Any], None]) -> Callable[[], None]:
    def wait() -> None:
        while not (what := found()):
            time.sleep(0.01)
        act(what)

    return wait


@pytest.fixture
def dropout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "dropping.py").write_text(DROPPING)
    monkeypatch.syspath_prepend(tmp_path)
    return "model._target_=dropping.net"


def test_told_to_end_they_save_at_one_step_and_go_on_to_the_same_bits(config, dropout):
    chosen = (dropout, "machine.devices=2", "epochs=12", "batch_size=16")
    straight = config(*chosen, folder="straight", base=BASE)
    cut = config(*chosen, folder="cut", base=BASE)
    expected = run(straight)
    begun = once(
        lambda: list(run_folder(cut).glob("step*.ckpt")),
        lambda _: os.kill(os.getpid(), signal.SIGTERM),
    )
    in_background(begun)
    with pytest.raises(Preempted):
        run(cut)
    last, _ = last_checkpoint(run_folder(cut))
    again = run(cut)

    assert last is not None
    assert again["tags"]["weights_sha256"] == expected["tags"]["weights_sha256"]
    assert again["metrics"] == expected["metrics"]


def test_when_one_is_killed_the_others_end_and_the_same_command_goes_on(config, capfd):
    wanted = config("machine.devices=2", "epochs=8", "batch_size=16", base=BASE)
    straight = config("machine.devices=2", "epochs=8", "batch_size=16", folder="s", base=BASE)
    begun = once(
        lambda: list(run_folder(wanted).glob("step*.ckpt")),
        lambda _: multiprocessing.active_children()[-1].kill(),
    )
    in_background(begun)
    start = time.monotonic()
    with pytest.raises(ProcessEnded, match="that train the run was ended by SIGKILL") as ended:
        run(wanted)

    assert time.monotonic() - start < 30
    assert worth_another_try(ended.value)
    assert "Traceback" not in capfd.readouterr().err
    assert multiprocessing.active_children() == []
    assert run(wanted)["metrics"] == run(straight)["metrics"]


@pytest.mark.parametrize("rank", [0, 1])
def test_one_that_is_stopped_is_noticed_and_the_same_command_goes_on(config, capfd, rank):
    chosen = ("machine.devices=2", "epochs=8", "batch_size=16", "machine.rank_timeout=5")
    wanted = config(*chosen, base=BASE)
    stopped = []

    def stop(_: object) -> None:
        os.kill(rank_process(rank), signal.SIGSTOP)
        stopped.append(time.monotonic())

    in_background(once(lambda: list(run_folder(wanted).glob("step*.ckpt")), stop))
    with pytest.raises(ProcessEnded, match=r"silent for machine.rank_timeout") as ended:
        run(wanted)

    assert time.monotonic() - stopped[0] < 30
    assert worth_another_try(ended.value)
    assert multiprocessing.active_children() == []
    assert "Traceback" not in capfd.readouterr().err
    if rank == 0:  # which writes
        assert run(wanted)["tags"]["key"]


def rank_process(rank: int) -> int:
    """The process of a rank: they are started one after the other."""
    return sorted(child.pid or 0 for child in multiprocessing.active_children())[rank]


def test_a_long_word_of_one_is_heard():
    with Notice() as notice, pytest.raises(ValueError, match="xxx"):
        run_in_ranks(fail_at_length, ranks=2, notice=notice)


def fail_at_length(_: Notice) -> None:
    raise ValueError("x" * 100_000)  # more than a pipe holds


def test_what_fails_in_one_is_told_as_it_is_of_one(config):
    with pytest.raises(Diverged, match="the loss became nan in epoch 1, step"):
        run(config("machine.devices=2", "optimizer.lr=1e30", base=BASE))
    with pytest.raises(ConfigError, match="batch, which PyTorch can share between GPUs only"):
        run(config("machine.devices=2", "model=cnn", base=(*BASE[:2], "epochs=1")))
    with pytest.raises(ConfigError, match=r"machine.devices: expected to share a batch equally"):
        run(config("machine.devices=2", "batch_size=63", base=BASE))


@pytest.mark.parametrize(
    ("device", "backends", "place"),
    [
        ("cpu", "cuda:nccl", "cuda"),  # predictions, which Lightning moves to the CPU
        ("cuda", "cuda:nccl", "cuda"),
        ("cpu", "cpu:gloo,cuda:nccl", "cpu"),
        ("cuda", "cpu:gloo,cuda:nccl", "cuda"),
        ("cpu", "cpu:gloo,cuda:gloo", "cpu"),
    ],
)
def test_rows_are_exchanged_on_a_device_that_the_group_reaches(device, backends, place):
    assert reached(torch.device(device), backends).type == place
