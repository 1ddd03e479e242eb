"""Parts of a user's own that run without an error and train something else than is meant."""

import re
from pathlib import Path

import pytest
import torch
from hydra.utils import get_method
from omegaconf import OmegaConf

from xent_bench.config.configure import ConfigError, configured
from xent_bench.config.identity import run_folder
from xent_bench.config.own_code import with_own
from xent_bench.config.schema import CONF
from xent_bench.config.targets import encode, target_kind
from xent_bench.offer import offer
from xent_bench.together.train_group import Member, train_group
from xent_bench.training.odd_parts import remark_on_direction
from xent_bench.training.rates import remark_on_rate, remark_on_schedule
from xent_bench.training.run import run

HEADER = """
import copy
import torch
from torch import nn, optim
from torch.nn import functional as F
from xent_bench.types import Distribution, Index, Logits, PerExample

def net(end):
    def built(shape: tuple[int, int, int], classes: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64 * shape[0], classes), *end)
    return built
plain, probable = net([]), net([nn.Softmax(dim=1)])
log_probable, bounded, positive = net([nn.LogSoftmax(1)]), net([nn.Sigmoid()]), net([nn.ReLU()])

class Noisy(nn.Linear):
    def forward(self, x): return super().forward(x) + torch.randn(len(x), 1)
class Together(nn.Linear):
    def forward(self, x): return super().forward(x - x.mean(0))
def noisy(shape: tuple[int, int, int], classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), Noisy(64 * shape[0], classes))
def together(shape: tuple[int, int, int], classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), Together(64 * shape[0], classes))
dropping = net([nn.BatchNorm1d(10), nn.Dropout(0.5)])

def of_copy(net: nn.Module, *, lr: float = 0.1) -> optim.Optimizer:
    return optim.SGD(copy.deepcopy(net).parameters(), lr=lr)
def of_bias(net: nn.Module, *, lr: float = 0.1) -> optim.Optimizer:
    return optim.SGD([*net.parameters()][-1:], lr=lr)
def idle(step: int, steps: int) -> float: return step // 10_000
def warming_up(step: int, steps: int) -> float: return min(1.0, step / 10_000)
def nan(step: int, steps: int) -> float: return float("nan")
def late(step: int, steps: int) -> float: return float(step == steps - 1)
def of_nothing(net: nn.Module, *, lr: float = 0.1) -> optim.Optimizer: return optim.SGD([], lr=lr)
class Frozen(nn.Linear):
    def __init__(self, shape: tuple[int, int, int], classes: int):
        super().__init__(64, classes)
        self.requires_grad_(False)
    def forward(self, x): return super().forward(x.flatten(1))
class Coarse(nn.Sequential):
    def __init__(self, shape: tuple[int, int, int], classes: int):
        super().__init__(nn.Flatten(), nn.Linear(64, classes).bfloat16())
    def forward(self, x): return super().forward(x.bfloat16()).float()
def uphill(step: int, steps: int) -> float: return 1.0 - 2 * (step > 1)

def upside_down(logits: Logits, target: Index) -> PerExample:
    return -F.cross_entropy(logits, target, reduction="none")
def blind(logits: Logits, target: Index) -> PerExample:
    return -torch.log_softmax(logits, 1).mean(1)
def emptying(logits: Logits, target: Distribution) -> PerExample:
    loss = -(torch.log_softmax(logits, 1) * target.clone()).sum(1)
    target.zero_()
    return loss
"""
BASE = ("data=synthetic", "data.n=200", "epochs=1", "batch_size=32", "machine.offline=true")
FILES = sorted((CONF / "loss").glob("*.yaml"))


@pytest.fixture(autouse=True)
def odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "odd_module.py").write_text(HEADER)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize("loss", ["ce", "bce", "logit_norm"])
def test_a_net_that_returns_probabilities_is_refused_where_a_softmax_follows(config, loss):
    wanted = config(*with_own(["model._target_=odd_module.probable"]), f"loss={loss}", base=BASE)

    with pytest.raises(ConfigError, match=r"^model: expected raw outputs, got probabilities"):
        run(wanted)
    assert not run_folder(wanted).exists()


@pytest.mark.parametrize(
    ("words", "remark"),
    [
        (["model._target_=odd_module.bounded"], "the net ends in Sigmoid, so that its outputs"),
        (["model._target_=odd_module.positive"], "the net ends in ReLU, so that its outputs"),
        (["model._target_=odd_module.noisy"], "gives other outputs for the same images each time"),
        (["model._target_=odd_module.together"], "depend on the others of its batch"),
        (["optimizer._target_=odd_module.of_bias"], "the optimizer has 1 of the net's 2 tensors"),
        (["loss._target_=odd_module.upside_down"], "is its sign the wrong way round?"),
        (
            ["schedule._target_=odd_module.warming_up"],
            "the schedule reaches 0.0002 of the learning",
        ),
        (["optimizer.lr=1e-12"], "rate, 1e-12, changes 0 % of the weights: for the others"),
        (
            ["model._target_=odd_module.Coarse", "optimizer.lr=1e-6"],
            "less than the rounding of bfloat16",
        ),
        (["loss._target_=odd_module.blind"], "the loss has the same gradient for every label"),
    ],
)
def test_an_odd_part_is_remarked_on_where_the_run_starts(config, capsys, words, remark):
    model = [] if "model" in words[0] else ["model=linear"]
    run(config(*with_own(words), *model, base=BASE))

    (line,) = [line for line in capsys.readouterr().err.splitlines() if remark in line]
    assert line.partition(": ")[0].endswith("-s0")


@pytest.mark.parametrize(
    "words",
    [
        ["model._target_=odd_module.plain"],
        ["model._target_=odd_module.log_probable"],
        ["model._target_=odd_module.dropping"],
        ["model._target_=odd_module.probable", "loss=square"],
        ["model._target_=odd_module.bounded", "loss=hinge"],
        ["loss._target_=odd_module.emptying"],
        ["model=cnn", "model.trainable=head"],
        ["schedule._target_=odd_module.late"],
        ["optimizer.lr=1e-7"],
        ["schedule.warmup=1", "optimizer=sgd", "optimizer.backbone_lr=1e-12"],
    ],
)
def test_what_is_in_order_has_no_remark(config, capsys, words):
    run(config(*with_own(words), base=BASE))

    remarks = ("the net ends", "the optimizer has", "the loss grows", "the loss has the same")
    remarks += ("the schedule reaches", "a step of the size of the learning rate", "in evaluation")
    assert not [
        line for line in capsys.readouterr().err.splitlines() if any(map(line.count, remarks))
    ]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_no_loss_of_ours_has_a_remark(file: Path):
    node = OmegaConf.create({"loss": OmegaConf.load(file)})
    loss = offer(configured(node, "loss"), class_counts=torch.tensor([50, 20, 10, 5, 1]))
    kind = target_kind(get_method(node.loss._target_))
    logits = torch.zeros(3, 5, requires_grad=True)
    target = encode(torch.tensor([0, 4, 2]), kind, 5)

    assert remark_on_direction(loss(logits, target), logits, target) == ""


def test_an_optimizer_of_a_copy_of_the_net_is_refused(config):
    with pytest.raises(ConfigError, match=r"^optimizer: expected the weights of the net"):
        run(config(*with_own(["optimizer._target_=odd_module.of_copy"]), base=BASE))


@pytest.mark.parametrize(("name", "got"), [("uphill", "-1.0"), ("nan", "nan")])
@pytest.mark.parametrize("in_group", [False, True])
def test_a_rate_below_0_or_nan_is_refused_with_its_step(config, name, got, in_group):
    wanted = [
        config(*with_own([f"schedule._target_=odd_module.{name}"]), f"seed={seed}", base=BASE)
        for seed in range(1 + in_group)
    ]
    step = 3 if name == "uphill" else 1
    complaint = rf"^schedule: .*rate of at least 0, got {got} in epoch 1, step {step}"
    errors: dict[int, BaseException | None] = {}
    if in_group:
        train_group([Member(one, "xent-train") for one in wanted], errors.__setitem__)
    else:
        with pytest.raises(ConfigError) as refused:
            run(wanted[0])
        errors[0] = refused.value

    assert len(errors) == len(wanted)
    for error in errors.values():
        assert isinstance(error, ConfigError)
        assert re.search(complaint, str(error))


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["schedule._target_=odd_module.idle"], r"^schedule: .* of the 3 steps, got 0 at each"),
        (["optimizer._target_=odd_module.of_nothing"], "^optimizer: .*empty parameter list"),
        (["model._target_=odd_module.Frozen"], "^model: expected weights that require a gradient"),
    ],
)
def test_a_training_that_would_change_nothing_is_refused_before_the_first_step(
    config, words, complaint
):
    wanted = config(*with_own(words), base=BASE)

    with pytest.raises(ConfigError, match=complaint):
        run(wanted)
    assert not run_folder(wanted).exists()


def test_a_schedule_is_asked_until_it_trains_and_not_further():
    asked: list[int] = []

    def factor(step: int) -> float:
        asked.append(step)
        return step / 50_000

    assert remark_on_schedule(factor, 100_000) == ""
    assert asked == [*range(0, 501, 100)]


def test_a_schedule_with_a_short_peak_is_not_said_to_stay_low():
    assert remark_on_schedule(lambda step: 1.0 if step == 2501 else 1e-5, 5000) == ""
    assert "reaches 0.002 of" in remark_on_schedule(
        lambda step: 2e-3 if step == 2501 else 1e-5, 5000
    )


def test_a_rate_of_0_is_said_in_its_own_words():
    net = torch.nn.Linear(3, 2)

    assert remark_on_rate(torch.optim.SGD(net.parameters(), lr=0.0)).startswith("the learning rate")
    assert (
        remark_on_rate(
            torch.optim.SGD([{"params": [net.weight]}, {"params": [net.bias], "lr": 1e-3}], lr=0.0)
        )
        == ""
    )
