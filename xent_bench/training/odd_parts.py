"""Nets, losses and optimizers of a user's own that run without an error and train something else.

What is always a mistake is refused; what may be meant is a remark at the start of the run.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from xent_bench.config.configure import ConfigError
from xent_bench.links import BoundLink, normalised_softmax, sigmoid, softmax
from xent_bench.types import Logits

# links that make probabilities of any numbers, so that probabilities would go through them twice
OF_SCORES = (softmax, sigmoid, normalised_softmax)
# layers that are seldom meant to be the last
ENDS = (nn.Sigmoid, nn.Hardsigmoid, nn.LogSigmoid, nn.ReLU, nn.ReLU6, nn.Softplus, nn.Tanh)
ROUNDING = 1e-4  # of the sum of a row of probabilities
AGREEMENT = 1e-3  # of an output with itself, computed in another batch; rounding is 1e-6
NOTHING = 1e-7  # gradients below this are rounding: those of a loss of one example are near 1


def refuse_probabilities(outputs: Logits, link: BoundLink) -> None:
    """Raise a ConfigError for outputs that are probabilities, where the loss applies a softmax.

    The softmax of probabilities of c classes is at most e / (e + c - 1): 0.23 of ten.
    """
    if link.func not in OF_SCORES:
        return
    rows = outputs.detach().double()
    if bool((rows >= 0).all()) and bool(((rows.sum(dim=1) - 1).abs() < ROUNDING).all()):
        raise ConfigError(
            "model",
            "expected raw outputs, got probabilities: each row sums to 1, and the loss would apply "
            "its softmax to them once more; leave out the softmax at the end of the net",
        )


@contextmanager
def last_layers(net: nn.Module) -> Iterator[list[tuple[nn.Module, Any]]]:
    """Collect the layers of `ENDS` that are called within, each with what it returned."""
    calls: list[tuple[nn.Module, Any]] = []
    hooks = [
        layer.register_forward_hook(lambda layer, _, output: calls.append((layer, output)))
        for layer in net.modules()
        if isinstance(layer, ENDS)
    ]
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


def remark_on_end(calls: list[tuple[nn.Module, Any]], outputs: Logits, link: BoundLink) -> str:
    """Say that a net ends in a layer that bounds its outputs; empty where it does not."""
    if link.func not in OF_SCORES:
        return ""
    kinds = [type(layer).__name__ for layer, output in calls if output is outputs]
    if not kinds:
        return ""
    return (
        f"the net ends in {kinds[-1]}, so that its outputs are bounded; the loss expects raw ones "
        "and applies its own softmax or sigmoid"
    )


def remark_on_direction(values: Tensor, logits: Logits, target: Tensor) -> str:
    """Say that a loss grows with the output of the label, or does not depend on the label.

    `values` (n,) are the losses at equal `logits` (n, c), which require a gradient. A loss falls as
    the outputs of likely classes rise: the sum of gradient times (target - 1 / c) is below 0.
    Empty for a loss that does so, for equal targets, and where the gradient cannot be computed.
    """
    try:
        (gradient,) = torch.autograd.grad(values.sum(), logits)
    except Exception:  # the first step raises it too, and names the epoch and the step
        return ""
    shares = target
    if target.ndim == 1:
        shares = nn.functional.one_hot(target, logits.shape[1])
    tilted = shares.double() - 1 / logits.shape[1]
    products = (gradient.double() * tilted).sum(dim=1)[tilted.abs().sum(dim=1) > ROUNDING]
    if not len(products):
        return ""
    if bool((products.abs() < NOTHING).all()):
        return "the loss has the same gradient for every label, at equal outputs: it ignores labels"
    if bool((products > 0).all()):
        return (
            "the loss grows with the output of the label and falls with the others, at equal "
            "outputs: is its sign the wrong way round?"
        )
    return ""


def remark_on_evaluation(net: nn.Module, images: Tensor) -> str:
    """Say that outputs in evaluation depend on more than the image; empty where they do not.

    The `net` is put into evaluation mode. Its scores would not be those of its predictions.
    """
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            net.eval()
            first, again, alone = net(images), net(images), net(images[:1])
    except Exception:  # evaluation raises it too, and names the split
        return ""
    if not _are_equal(first, again):
        return (
            "in evaluation the net gives other outputs for the same images each time, as one that "
            "draws random numbers does: its scores hold for one draw"
        )
    if not _are_equal(first[:1], alone):
        return (
            "in evaluation the outputs for an image depend on the others of its batch: scores hold "
            "for these batches, and predictions of other images differ"
        )
    return ""


def _are_equal(one: Tensor, other: Tensor) -> bool:
    """Whether outputs agree but for rounding, which differs with the size of a batch."""
    scale = max(1.0, float(one.abs().max()))
    return bool(torch.allclose(one, other, rtol=0, atol=AGREEMENT * scale, equal_nan=True))


def remark_on_weights(optimizer: Optimizer, net: nn.Module) -> str:
    """Say how many tensors of the net an optimizer leaves as they are; empty for none.

    ConfigError if it has none of the net, as one of a copy.
    """
    wanted = {id(weight) for weight in net.parameters() if weight.requires_grad}
    given = {id(weight) for group in optimizer.param_groups for weight in group["params"]}
    if not wanted & given:
        raise ConfigError(
            "optimizer",
            "expected the weights of the net that it is given, got others, so that the net would "
            "stay as it is",
        )
    if wanted <= given:
        return ""
    return (
        f"the optimizer has {len(wanted & given)} of the net's {len(wanted)} tensors of weights; "
        "the others stay as they are"
    )
