"""PyTorch's optimizers, with ranges for their hyper-parameters and weight decay on weights only.

Weight decay leaves out parameters with at most one axis, biases and the scales of normalisations,
unless `decay_bias_and_norm` includes them. For fine-tuning, `backbone_lr` is a factor on the
learning rate of all but the head, and `layer_decay` one for each block from the head down: the d-th
block before the head learns at lr * backbone_lr * layer_decay^d.  Bao et al., 2022,
arXiv:2106.08254 (BEiT); Liu et al., 2022, arXiv:2201.03545 (ConvNeXt).

PyTorch's fused steps are used: one pass over memory in place of one for each operation.
"""

from typing import NamedTuple

from torch import nn, optim

from xent_bench.net_parts import NetParts
from xent_bench.ranges import BelowOne, NonNegative, Positive, PositiveFraction


def sgd(
    net: nn.Module,
    net_parts: NetParts | None = None,
    *,
    lr: Positive = 0.1,
    momentum: BelowOne = 0.9,
    nesterov: bool = True,
    weight_decay: NonNegative = 5e-4,
    decay_bias_and_norm: bool = False,
    backbone_lr: Positive = 1.0,
    layer_decay: PositiveFraction = 1.0,
) -> optim.Optimizer:
    """Stochastic gradient descent with momentum, Nesterov's unless `momentum` is 0."""
    rates = _Rates(lr, backbone_lr, layer_decay)
    groups = _groups(net, net_parts, rates, weight_decay, decay_all=decay_bias_and_norm)
    uses_nesterov = nesterov and momentum > 0
    return optim.SGD(groups, lr=lr, momentum=momentum, nesterov=uses_nesterov, fused=True)


def adamw(
    net: nn.Module,
    net_parts: NetParts | None = None,
    *,
    lr: Positive = 3e-3,
    beta1: BelowOne = 0.9,
    beta2: BelowOne = 0.999,
    weight_decay: NonNegative = 0.01,
    decay_bias_and_norm: bool = False,
    backbone_lr: Positive = 1.0,
    layer_decay: PositiveFraction = 1.0,
) -> optim.Optimizer:
    """Adam with decoupled weight decay.  Loshchilov and Hutter, 2019, arXiv:1711.05101.

    Its steps do not depend on the scale of the loss, so one learning rate fits more losses.
    """
    rates = _Rates(lr, backbone_lr, layer_decay)
    groups = _groups(net, net_parts, rates, weight_decay, decay_all=decay_bias_and_norm)
    return optim.AdamW(groups, lr=lr, betas=(beta1, beta2), fused=True)


class _Rates(NamedTuple):
    """Learning rates by the distance from the outputs."""

    lr: float
    backbone_lr: float
    layer_decay: float

    @property
    def is_one(self) -> bool:
        """Whether all parameters have the same rate."""
        return self.backbone_lr == self.layer_decay == 1

    def at(self, depth: int) -> float:
        """The rate of the block at a depth, which is 0 for the head."""
        return self.lr * (self.backbone_lr if depth else 1) * self.layer_decay**depth


def _groups(
    net: nn.Module,
    net_parts: NetParts | None,
    rates: _Rates,
    weight_decay: float,
    *,
    decay_all: bool,
) -> list[dict[str, object]]:
    """Parameter groups of the parameters that are not frozen.

    Two for each learning rate: those with two axes or more, which are decayed, and the others,
    which are not, unless `decay_all`. The head's come first. ValueError if rates differ and the net
    has no head.
    """
    frozen = frozenset() if net_parts is None else net_parts.frozen
    named = {name: weight for name, weight in net.named_parameters() if name not in frozen}
    if rates.is_one:
        depths = dict.fromkeys(named, 0)
    elif net_parts is None or not net_parts.head:
        raise ValueError(
            "backbone_lr and layer_decay need a net whose head is known: a last linear or "
            "convolution layer with an output for each class, or a method get_classifier"
        )
    else:
        depths = {name: net_parts.depth(name) for name in named}
    groups: list[dict[str, object]] = []
    for depth in sorted(set(depths.values()) or {0}):
        at_depth = [weight for name, weight in named.items() if depths[name] == depth]
        weights = [weight for weight in at_depth if weight.ndim > 1]
        others = [weight for weight in at_depth if weight.ndim <= 1]
        both: list[dict[str, object]] = [
            {"params": weights, "weight_decay": weight_decay},
            {"params": others, "weight_decay": weight_decay if decay_all else 0.0},
        ]
        if not rates.is_one:
            both = [{**group, "lr": rates.at(depth)} for group in both if group["params"]]
        groups += both
    return groups
