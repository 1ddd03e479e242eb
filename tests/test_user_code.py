"""Errors that a user's code raises; a StopIteration is to Lightning the end of an epoch."""

import math
import re
from pathlib import Path

import pytest
from trained_run import mlflow_run

from xent_bench.config.configure import ConfigError
from xent_bench.config.explain import exit_code
from xent_bench.config.identity import run_folder
from xent_bench.data.batches import ShuffledBatches
from xent_bench.failures import DataError, Diverged
from xent_bench.runs.begun import load_unfinished
from xent_bench.training.run import run

HEADER = """
import torch
from torch import nn, optim
from torch.nn import functional as F
from xent_bench.data.image_set import ImageSet
from xent_bench.data.synthetic import synthetic
from xent_bench.types import Index, Logits, PerExample

def ce(logits, target): return F.cross_entropy(logits, target, reduction="none")
def linear(shape, classes): return nn.Sequential(nn.Flatten(), nn.Linear(64 * shape[0], classes))
"""
# 6 steps an epoch: 336 images of train, in batches of 50; called in the try-out and on val too
LOSS = """
left = iter(range(1 + 6 + 1 + 2))
def mine(logits: Logits, target: Index) -> PerExample:
    next(left)  # here
    return ce(logits, target)
"""
LOSS_ON_VAL = """
def mine(logits: Logits, target: Index) -> PerExample:
    return ce(logits, target) if logits.requires_grad else next(iter(()))  # here
"""
LOSS_BACKWARD = """
class Identity(torch.autograd.Function):
    left = iter(range(1 + 8))
    @staticmethod
    def forward(ctx, x): return x.clone()
    @staticmethod
    def backward(ctx, gradient):
        next(Identity.left)  # here
        return gradient
def mine(logits: Logits, target: Index) -> PerExample: return ce(Identity.apply(logits), target)
"""
LINK = """
from xent_bench.links import use, softmax
left = iter(range({calls}))
def link(outputs):
    next(left)  # here
    return softmax(outputs)
@use(link)
def mine(logits: Logits, target: Index) -> PerExample: return ce(logits, target)
"""
NET = """
class Net(nn.Module):
    def __init__(self, shape, classes):
        super().__init__()
        self.inner = linear(shape, classes)
    def forward(self, x):
        if {when}:
            next(iter(()))  # here
        return self.inner(x)
calls = 0
def called():
    global calls
    calls += 1
    return calls
def mine(shape, classes, *, width=16, depth=2) -> nn.Module: return Net(shape, classes)
"""
SCHEDULE = """
def mine(step, steps, *, warmup=0.1) -> float:
    return 1.0 if step < 7 else next(iter(()))  # here
"""
OPTIMIZER = """
class Mine(optim.SGD):
    left = iter(range(8))
    def step(self, closure=None):
        next(Mine.left)  # here
        return super().step(closure)
def mine(net, *, lr=0.1, beta1=0.9, beta2=0.9, weight_decay=0.0) -> optim.Optimizer:
    return Mine(net.parameters(), lr=lr)
"""
DATA = """
def mine(*, n=600, separation=1.0, **_) -> ImageSet:
    return next(iter(()))  # here
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Write a module with the function `mine`; the name to use as a target."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(source: str) -> str:
        name = f"mine_{abs(hash((source, tmp_path)))}"
        (tmp_path / f"{name}.py").write_text(HEADER + source)
        return f"{name}.mine"

    return write


@pytest.mark.parametrize(
    ("part", "source", "when"),
    [
        ("loss", LOSS, "in epoch 2, step 3"),
        ("loss", LOSS_ON_VAL, "on val after epoch 1"),
        ("loss", LOSS_BACKWARD, "in epoch 2, step 3"),
        ("loss", LINK.format(calls=3), "on val after epoch 3"),
        ("loss", LINK.format(calls=4), "when its link read the predictions"),
        ("model", NET.format(when="called() > 10 and self.training"), "in epoch 2, step 1"),
        ("model", NET.format(when="called() > 2 and not self.training"), "on val after epoch 1"),
        ("model", NET.format(when="called() > 25"), "in the predictions after training"),
        ("model", NET.format(when="True"), "when it was tried out"),
        ("schedule", SCHEDULE, "in epoch 2, step 2"),
        ("optimizer", OPTIMIZER, "in epoch 2, step 3"),
        ("data", DATA, "when it was loaded"),
    ],
    ids=lambda value: "source" if "\n" in value else value,
)
def test_an_exhausted_iterator_is_an_error_that_names_part_step_and_line(
    config, mine, tmp_path, part, source, when
):
    target = mine(source)
    wanted = config("loss=sparse_ce", "batch_size=50", f"{part}._target_={target}")
    with pytest.raises(ConfigError) as refused:
        run(wanted)

    file = tmp_path / f"{target.removesuffix('.mine')}.py"
    line = 1 + next(i for i, text in enumerate(file.read_text().splitlines()) if "# here" in text)
    assert refused.value.key == part
    assert str(refused.value).startswith(f"{part}: StopIteration {when}, at {file}:{line}: ")
    assert exit_code(refused.value) == 2
    assert not (run_folder(wanted) / "result.json").exists()


@pytest.mark.parametrize(
    ("part", "source", "when", "code"),
    [
        ("loss", LOSS, "in epoch 2, step 3", 2),
        ("loss", LOSS_ON_VAL, "on val after epoch 1", 2),
        ("loss", LOSS_BACKWARD, "in epoch 2, step 3", 2),
        ("loss", LINK.format(calls=4), "when its link read the predictions", 2),
        ("model", NET.format(when="called() > 10 and self.training"), "in epoch 2, step 1", 2),
        ("model", NET.format(when="called() > 25"), "", 2),
        ("model", NET.format(when="True"), "", 2),
        ("schedule", SCHEDULE, "in epoch 2, step 2", 2),
        ("optimizer", OPTIMIZER, "in epoch 2, step 3", 2),
        ("data", DATA, "when it was loaded", 2),
        ("data", DATA.replace("# here", "# here, OSError"), "when it was loaded", 3),
    ],
    ids=lambda value: "source" if "\n" in str(value) else str(value),
)
@pytest.mark.parametrize("kind", ["AttributeError", "SystemExit"])
def test_whatever_the_code_of_a_user_raises_names_the_part_and_the_line(
    config, mine, tmp_path, part, source, when, code, kind
):
    kind = "OSError" if code == 3 else kind
    # the same places as above, which raise another error once the iterator is exhausted
    raising = f"def fails(): raise {kind}('some words')  # here\n" + source.replace("# here", "")
    raising = re.sub(r"next\(iter\(\(\)\)\)", "fails()", raising)
    raising = re.sub(r"next\(([\w.]*left)\)", r"next(\1, None) is None and fails()", raising)
    target = mine(raising)
    wanted = config("loss=sparse_ce", "batch_size=50", f"{part}._target_={target}")
    with pytest.raises((ConfigError, DataError)) as refused:
        run(wanted)

    file, folder = tmp_path / f"{target.removesuffix('.mine')}.py", run_folder(wanted)
    line = 1 + next(i for i, text in enumerate(file.read_text().splitlines()) if "# here" in text)
    text = str(refused.value)
    assert text.startswith(f"{part}: ")
    assert f"{kind}: some words" in text or "cannot train on a batch" in text
    assert f"{when}, at {file}:{line}" in text
    assert exit_code(refused.value) == code
    assert not (folder / "result.json").exists()
    if folder.exists():  # it had begun
        assert text.endswith(f"; the traceback is in {folder / 'log.txt'}")
        assert f'File "{file}", line {line}, in fails' in (folder / "log.txt").read_text()
        (left,) = load_unfinished(folder.parent)
        assert left.reason == f"{type(refused.value).__name__}: {text}"
        assert mlflow_run(wanted).data.tags["failure"] == left.reason


LATE_LOSS = """
calls = 0
def mine(logits: Logits, target: Index) -> PerExample:
    global calls
    calls += 1
    values = ce(logits, target)
    return {late} if calls == 3 else values
"""
LATE_LINK = """
from xent_bench.links import use, softmax
calls = 0
def link(outputs):
    global calls
    calls += 1
    return softmax(outputs) * (float("nan") if calls == 2 else 1)
@use(link)
def mine(logits: Logits, target: Index) -> PerExample: return ce(logits, target)
"""
LOSS_WHOSE = "def mine(logits: Logits, target: Index) -> PerExample: return ce(logits, target)"
KEYS = "*, width=16, depth=2) -> nn.Module"
NET_FORWARD = f"""
class Net(nn.Module):
    def __init__(self, shape, classes):
        super().__init__()
        self.inner = linear(shape, classes)
    def forward(self, x):
        {{body}}
def mine(shape, classes, {KEYS}: return Net(shape, classes)
"""
LOCKED = f"""
import threading
def mine(shape, classes, {KEYS}:
    net = linear(shape, classes)
    net.lock = threading.Lock()
    return net
"""
FROZEN = f"def mine(shape, classes, {KEYS}: return linear(shape, classes).requires_grad_(False)"
WARMUP = "def mine(step, steps, *, warmup=0.1) -> float: return "


@pytest.mark.parametrize(
    ("part", "source", "complaint"),
    [
        ("loss", LATE_LOSS.format(late="None"), "in epoch 1, step 2"),
        ("loss", LATE_LOSS.format(late="values.mean()"), "in epoch 1, step 2"),
        ("loss", LATE_LOSS.format(late="values.detach()"), "in epoch 1, step 2"),
        ("loss", LATE_LINK, "got NaN among them on val after epoch 1"),
        ("loss", f"{LOSS_WHOSE} + 0j", "expected real numbers in a dense tensor on cpu"),
        ("loss", f"{LOSS_WHOSE}.to_sparse()", "expected real numbers in a dense tensor on cpu"),
        ("loss", f"{LOSS_WHOSE}.to('meta')", "expected real numbers in a dense tensor on cpu"),
        ("model", f"def mine(shape, classes, {KEYS}: return None", "nn.Module, got NoneType"),
        ("model", f"def mine(shape, classes, {KEYS}: return nn.LazyLinear(10)", "uninitialized"),
        ("model", LOCKED, "cannot pickle .* when it was copied"),
        ("model", FROZEN, "expected weights that require a gradient"),
        ("model", NET_FORWARD.format(body="return (self.inner(x),)"), "a tensor, got tuple"),
        ("model", NET_FORWARD.format(body="return self.inner(x).detach()"), "in epoch 1, step 1"),
        (
            "model",
            NET_FORWARD.format(body="return self.inner(x)[:, : 10 if self.training else 3]"),
            "expected targets from 0 to 2, got 0 to 9 on val after epoch 1",
        ),
        (
            "optimizer",
            "def mine(net, *, lr=0.1, beta1=0.9, beta2=0.9, weight_decay=0.0)"
            " -> optim.Optimizer: return None",
            "expected it to return an Optimizer, got NoneType",
        ),
        (
            "optimizer",
            "def mine(net, *, lr=0.1, beta1=0.9, beta2=0.9, weight_decay=0.0)"
            " -> optim.Optimizer: return optim.SGD(net, lr)",
            "TypeError: optimizer can only optimize Tensors.* when it was tried out",
        ),
        ("schedule", f"{WARMUP}None", "in epoch 1, step 1"),
        ("schedule", f"{WARMUP}1j", "in epoch 1, step 1"),
    ],
    ids=lambda value: "source" if " " in value else value,
)
def test_what_a_users_code_returns_or_does_not_take_is_an_error_of_its_part(
    config, mine, part, source, complaint
):
    wanted = config("loss=sparse_ce", "batch_size=50", f"{part}._target_={mine(source)}")
    with pytest.raises(ConfigError, match=complaint) as refused:
        run(wanted)

    assert refused.value.key.partition(".")[0] == part
    assert exit_code(refused.value) == 2
    assert not (run_folder(wanted) / "result.json").exists()


def test_an_error_with_characters_that_no_file_can_hold_is_named_and_logged(config, mine):
    source = LOSS.replace("next(left)", r"next(left, None) is None and int('\udc80')")
    wanted = config("loss=sparse_ce", "batch_size=50", f"loss._target_={mine(source)}")
    with pytest.raises(ConfigError, match=r"^loss: ValueError: .* in epoch 2, step 3"):
        run(wanted)

    assert r"\udc80" in (run_folder(wanted) / "log.txt").read_text()


def test_a_step_too_large_for_the_weights_is_a_divergence(config, mine):
    source = (
        "def mine(net, *, lr=0.1, beta1=0.9, beta2=0.9, weight_decay=0.0)"
        " -> optim.Optimizer: return optim.AdamW(net.parameters(), lr=lr)"
    )
    with pytest.raises(Diverged, match=r"step became infinite in epoch 1, step 1: a smaller"):
        run(config(f"optimizer._target_={mine(source)}", "optimizer.lr=1e38"))
    with pytest.raises(Diverged, match=r"loss became nan in epoch 1, step 2: a smaller"):
        run(config("optimizer.lr=1e38"))


def test_a_net_that_returns_bfloat16_is_evaluated(config, mine):
    net = NET_FORWARD.format(body="return self.inner(x).bfloat16()")
    wanted = config("epochs=1", f"model._target_={mine(net)}")
    run(wanted)

    assert (run_folder(wanted) / "result.json").exists()


def test_an_epoch_with_fewer_steps_than_it_should_have_is_an_error(config, monkeypatch):
    after = ShuffledBatches.after

    def short(self: ShuffledBatches, taken: int):
        minibatches = list(after(self, taken))
        return iter(minibatches[:-1] if self.epoch == 1 else minibatches)

    monkeypatch.setattr("xent_bench.data.groups.SECONDS", 0)
    monkeypatch.setattr("xent_bench.training.saving.MAX_SHARE", math.inf)  # after every epoch
    monkeypatch.setattr(ShuffledBatches, "after", short)
    wanted = config("batch_size=50")
    with pytest.raises(DataError, match="epoch 2 ended after 5 of 6 steps; expected all"):
        run(wanted)

    (left,) = load_unfinished(run_folder(wanted).parent)
    assert left.reason == "DataError: epoch 2 ended after 5 of 6 steps; expected all"
    assert [file.name[:14] for file in run_folder(wanted).glob("*.ckpt")] == ["step0000000006"]
