"""A group asks for a GPU's memory before it is trained, and is split to fit."""

import pytest
import torch
from torch import nn

from xent_bench.config.identity import run_folder
from xent_bench.runs.files import RESULT
from xent_bench.runs.result import load_run
from xent_bench.together.memory import COPIES, PASSES, ROOM, bytes_of_run, fitting, runs_at_once
from xent_bench.together.train_group import Member, train_group
from xent_bench.training.run import run

FLOAT = 4  # bytes


def test_a_run_needs_its_weights_and_what_its_forward_pass_keeps():
    net = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10))
    weights = 64 * 256 + 256 + 256 * 10 + 10
    kept = 64 + 256  # the inputs of both layers; ReLU keeps its output, which is one of them

    needed = bytes_of_run(net, torch.randn(2, 64), 128)

    assert needed == FLOAT * (COPIES * weights + PASSES * 128 * kept)


def test_to_ask_for_memory_leaves_the_net_as_it_was():
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.Flatten()).eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}

    few, more = (bytes_of_run(net, torch.randn(2, 1, 8, 8), n) for n in (8, 16))

    assert all(value.equal(before[name]) for name, value in net.state_dict().items())
    assert not net.training
    assert few < more < 2 * few  # what is kept grows with the batch, the weights do not


@pytest.mark.parametrize(
    ("a_run", "shared", "free", "runs"), [(10, 0, 100, 8), (10, 35, 100, 4), (200, 0, 100, 1)]
)
def test_as_many_runs_fit_as_there_is_room(a_run, shared, free, runs):
    assert ROOM == 0.8
    assert fitting(a_run, shared, free) == runs
    assert runs_at_once(2**40, 2**40, torch.device("cpu")) > 1000


def test_a_group_that_is_split_to_fit_ends_with_the_same_numbers(config, monkeypatch):
    words = ("batch_size=50", "machine.offline=true")
    alone, split = (
        [config(f"loss={loss}", *words, folder=folder) for loss in ("ce", "focal", "hinge")]
        for folder in ("alone", "split")
    )
    for one in alone:
        run(one)
    # on a CPU nothing bounds a group: the room of a small GPU stands in its place
    monkeypatch.setattr("xent_bench.together.group_training.runs_at_once", lambda *_: 2)
    errors: list[BaseException | None] = []
    train_group([Member(one, "") for one in split], lambda _, error: errors.append(error))

    results, others = (
        [load_run(run_folder(one) / RESULT) for one in some] for some in (split, alone)
    )
    assert errors == [None] * 3
    assert [result.metrics for result in results] == [result.metrics for result in others]
    assert [result.tags["together"].startswith("2 runs, ") for result in results] == [
        *(True, True, False),
    ]
