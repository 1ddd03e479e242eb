"""torch's optimizers, with their ranges stated and weight decay where it belongs.

Biases and the scales of normalisations are not decayed: one axis or none.
"""

from torch import nn, optim

from xent_bench.ranges import BelowOne, NonNegative, Positive


def sgd(
    net: nn.Module,
    *,
    lr: Positive = 0.1,
    momentum: BelowOne = 0.9,
    nesterov: bool = True,
    weight_decay: NonNegative = 5e-4,
) -> optim.Optimizer:
    """Stochastic gradient descent.  Nesterov's momentum needs a momentum."""
    groups = _groups(net, weight_decay)
    return optim.SGD(groups, lr=lr, momentum=momentum, nesterov=nesterov and momentum > 0)


def adamw(
    net: nn.Module,
    *,
    lr: Positive = 3e-3,
    beta1: BelowOne = 0.9,
    beta2: BelowOne = 0.999,
    weight_decay: NonNegative = 0.01,
) -> optim.Optimizer:
    """Adam with decoupled weight decay.  Loshchilov and Hutter, 2019, arXiv:1711.05101.

    Its steps do not depend on the scale of the loss: one learning rate fits more losses.
    """
    return optim.AdamW(_groups(net, weight_decay), lr=lr, betas=(beta1, beta2))


def _groups(net: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    weights = [weight for weight in net.parameters() if weight.ndim > 1]
    others = [weight for weight in net.parameters() if weight.ndim <= 1]
    return [
        {"params": weights, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
