"""Code of a user's own that keeps state between calls: it is found in the source, not imported."""

from pathlib import Path

import pytest

from xent_bench.config.identity import run_folder
from xent_bench.config.kept_state import keeps_state
from xent_bench.sweeps.groups import kind_of
from xent_bench.together.train_group import Member, train_group
from xent_bench.training.run import run

HEADER = """
import functools, itertools, math, torch
import numpy as np
from torch import nn
from torch.nn import functional as F
import kept_helper
from kept_helper import counted, pure as renamed
from xent_bench.types import Index, Logits, PerExample

TABLE, seen, running = {"a": 1.0}, [], torch.zeros(1)
left = iter(range(8))

class Mean:
    def __init__(self): self.value = 0.0
    def __call__(self, logits, target):
        self.value = 0.9 * self.value + 0.1
        return logits.sum(1) * self.value
shared = Mean()

class Buffered(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.ones(1))
    def forward(self, logits, target):
        self.mean.mul_(0.9)
        return logits.sum(1) / self.mean
buffered = Buffered()

def counting(function):
    @functools.wraps(function)
    def wrapper(*arguments):
        wrapper.calls += 1
        return function(*arguments)
    wrapper.calls = 0
    return wrapper

@functools.cache
def cached(n): return torch.zeros(n)
@functools.cache
def cached_mean(): return Mean()
def count_in(table): table["a"] += 1
rng, steps = np.random.default_rng(0), itertools.cycle([1, 2])
if True:
    conditional = []
fixed = functools.partial(math.log, 2)
"""
HELPER = """
calls, items = 0, []
def counted():
    global calls
    calls += 1
def pure(x): return x * 2
"""
KEEPS = {
    "a global": "def f(x, y):\n    global left\n    left = None\n    return x",
    "an item": "def f(x, y):\n    TABLE['a'] += 1\n    return x",
    "a method of a list": "def f(x, y):\n    seen.append(x)\n    return x",
    "a tensor in place": "def f(x, y):\n    running.mul_(0.9).add_(x.mean())\n    return x",
    "an iterator": "def f(x, y):\n    return x * next(left)",
    "an attribute of itself": "def f(x, y):\n    f.calls += 1\n    return x",
    "a default": "def f(x, y, *, memory={}):\n    return x",
    "an instance": "def f(x, y):\n    return x\nf = shared",
    "an instance that it calls": "def f(x, y):\n    return shared(x, y)",
    "an outer name": (
        "def made():\n    n = 0\n    def g(x, y):\n        nonlocal n\n        n += 1\n"
        "        return x\n    return g\nf = made()"
    ),
    "a function that it calls": "def g():\n    seen.append(1)\ndef f(x, y):\n    g()\n    return x",
    "a function of a helper": "def f(x, y):\n    counted()\n    return x",
    "a helper": "def f(x, y):\n    kept_helper.counted()\n    return x",
    "an attribute of a helper": "def f(x, y):\n    kept_helper.calls += 1\n    return x",
    "a list of a helper": "def f(x, y):\n    kept_helper.items.append(1)\n    return x",
    "an imported list": (
        "from kept_helper import items\ndef f(x, y):\n    items.append(1)\n    return x"
    ),
    "another name": "def f(x, y):\n    table = TABLE\n    table['a'] += 1\n    return x",
    "a part": "def f(x, y):\n    mean = TABLE.get('a')\n    mean.mul_(0.9)\n    return x",
    "each part": "def f(x, y):\n    for mean in TABLE.values(): mean.mul_(0.9)\n    return x",
    "an argument": "def f(x, y):\n    count_in(TABLE)\n    return x",
    "an output": "def f(x, y):\n    torch.add(running, 1, out=running)\n    return x",
    "a list of an outer function": (
        "def made():\n    n = [0]\n    def g(x, y):\n        n[0] += 1\n        return x\n"
        "    return g\nf = made()"
    ),
    "a decorator": "@counting\ndef f(x, y):\n    return x",
    "a cached tensor": "def f(x, y):\n    cached(3).mul_(0.9)\n    return x",
    "a cached instance": "def f(x, y):\n    return cached_mean()(x, y)",
    "a buffer of an instance": "f = buffered",
    "random numbers": "def f(x, y):\n    return x * rng.normal()",
    "an iterator in a loop": "def f(x, y):\n    return [a * b for a, b in zip(x, steps)]",
    "an argument by place": (
        "def g(x, state, /, y):\n    state['a'] = y\ndef f(x, y):\n    g(x, TABLE, y)\n    return x"
    ),
    "a list in an if": "def f(x, y):\n    conditional.append(1)\n    return x",
    "an attribute of a class": (
        "class A:\n    def step(self): type(self).n = 1\ndef f(x, y):\n    A().step()\n    return x"
    ),
    "a list in a partial": "def g(x, y, seen): return x\nf = functools.partial(g, seen=[])",
}
KEEPS_NOTHING = {
    "reading": "def f(x, y):\n    return x * TABLE['a'] + running + len(seen)",
    "its own list": "def f(x, y):\n    seen = []\n    seen.append(x)\n    return x",
    "its own tensor": "def f(x, y):\n    x.mul_(2).clamp_(0)\n    return torch.relu_(x)",
    "a function of a helper": "def f(x, y):\n    return renamed(kept_helper.pure(x))",
    "another that counts": "def g():\n    seen.append(1)\ndef f(x, y):\n    return x",
    "a long sum": "def f(x, y):\n    return x" + " + 1" * 900,
    "a partial": "f = functools.partial(renamed)",
    "a table's row": "def f(x, y):\n    row = running.to(x.device)[y]\n    return row * x",
    "a cached mask": "def f(x, y):\n    return (x * cached(x.shape[1])).sum(1)",
    "a helper's own tensor": (
        "def g(y): return torch.zeros(len(y), 10)\n"
        "def f(x, y):\n    t = g(y)\n    t.scatter_(1, y[:, None], 1)\n    return t * x"
    ),
    "an instance of each call": "def f(x, y):\n    return Mean()(x, y)",
    "a tuple": "def f(x, y, *, weights=(1, 2)):\n    return next(iter(weights)) * x",
}
NET = """
class Net(nn.Module):
    def __init__(self, shape: tuple[int, int, int], classes: int):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, classes))
        self.register_buffer("mean", torch.zeros(1))
        self.plain, self.rounds = torch.zeros(1), []
        self._init_weights()
    def _init_weights(self):
        self.calls = 0
        nn.init.normal_(self.layers[1].weight)
    def forward(self, x):
        {line}
        return self.layers(x)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Write a module of a user's own."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "kept_helper.py").write_text(HELPER)

    def write(source: str, name: str = "kept_module") -> str:
        (tmp_path / f"{name}.py").write_text(HEADER + source)
        return name

    return write


@pytest.mark.parametrize("source", KEEPS.values(), ids=KEEPS)
def test_a_loss_that_keeps_state_is_found(module, source):
    assert keeps_state(f"{module(source)}.f")


@pytest.mark.parametrize("source", KEEPS_NOTHING.values(), ids=KEEPS_NOTHING)
def test_a_loss_that_keeps_none_is_none(module, source):
    assert not keeps_state(f"{module(source)}.f")


@pytest.mark.parametrize("target", ["xent_bench.losses.ce.ce", "torch.nn.Linear", "nowhere.f"])
def test_code_of_others_is_not_looked_at(target):
    assert not keeps_state(target, in_instances=True)


@pytest.mark.parametrize(
    ("line", "keeps"),
    [
        ("self.calls += 1", True),
        ("self.seen = x", True),
        ("type(self).calls = 1; Net.calls = 2", True),
        ("self.mean.mul_(0.9).add_(0.1)", False),  # a buffer is copied and saved
        ("h = self.layers", False),
        ("self.plain.mul_(0.9)", True),
        ("h = self.layers[1]; h.seen = x", True),
        ("setattr(self, 'seen', x)", True),
        ("h = self.layers(x); h.relu_(); h += 1", False),
        ("for layer in self.layers: x = layer(x)", False),
    ],
)
def test_a_net_keeps_what_it_writes_into_itself_in_training(module, line, keeps):
    target = f"{module(NET.format(line=line))}.Net"

    assert keeps_state(target, in_instances=True) is keeps


def test_runs_whose_code_keeps_state_are_in_no_group(config, module):
    source = KEEPS["a method of a list"] + "\ndef g(x, y):\n    return x" + NET
    name = module(source.format(line="self.calls += 1"))

    assert kind_of(config(f"loss._target_={name}.f")) is None
    assert kind_of(config(f"model._target_={name}.Net")) is None
    assert kind_of(config(f"loss._target_={name}.g")) == kind_of(config())


# state that the source does not show: a file
LOSS = """
from pathlib import Path

def mine(logits: Logits, target: Index, *, file: str = "calls") -> PerExample:
    with open(file, "a") as lines:
        lines.write(f"{len(target)} {logits.requires_grad} {logits.detach().sum().item()}\\n")
    return F.cross_entropy(logits, target, reduction="none")
"""


def test_a_loss_is_called_in_a_group_as_it_is_alone(config, module, tmp_path):
    name = module(LOSS, "calling_loss")
    words = ("model=mlp", "batch_size=50", "machine.offline=true", "epochs=1")
    mine = ("loss=sparse_ce", f"loss._target_={name}.mine")
    alone = config(*mine, *words, f"+loss.file={tmp_path / 'alone.txt'}", folder="alone")
    own = config(*mine, *words, f"+loss.file={tmp_path / 'group.txt'}", folder="group")
    others = [config(f"loss={loss}", *words, folder="group") for loss in ("ce", "mse")]
    run(alone)
    ends: dict[int, BaseException | None] = {}
    train_group([Member(one, "xent-train") for one in (own, *others)], ends.__setitem__)

    assert set(ends.values()) == {None}
    calls = (tmp_path / "alone.txt").read_text()
    assert calls.count("True") > 5
    assert (tmp_path / "group.txt").read_text() == calls
    assert (run_folder(own) / "result.json").exists()
