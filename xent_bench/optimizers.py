"""PyTorch's optimizers, with ranges for their hyper-parameters and weight decay on weights only.

Weight decay leaves out parameters with at most one axis: biases and the scales of normalisations.
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
    """Stochastic gradient descent with momentum, Nesterov's unless `momentum` is 0."""
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

    Its steps do not depend on the scale of the loss, so one learning rate fits more losses.
    """
    return optim.AdamW(_groups(net, weight_decay), lr=lr, betas=(beta1, beta2))


def _groups(net: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Parameter groups: those with two axes or more are decayed, the others are not."""
    weights = [weight for weight in net.parameters() if weight.ndim > 1]
    others = [weight for weight in net.parameters() if weight.ndim <= 1]
    return [
        {"params": weights, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
