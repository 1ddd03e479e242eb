"""A trial call of net, loss, link and optimizer, so that mistakes fail before the first epoch."""

from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.flop_counter import FlopCounterMode

from xent_bench.config.configure import ConfigError
from xent_bench.failures import raise_fault
from xent_bench.training.classifier import Classifier
from xent_bench.training.odd_parts import (
    last_layers,
    refuse_probabilities,
    remark_on_direction,
    remark_on_end,
    remark_on_evaluation,
    remark_on_weights,
)
from xent_bench.training.rates import remark_on_rate, remark_on_schedule
from xent_bench.training.user_code import at_line, blaming, complaint, exhausted
from xent_bench.types import Pixels

WHEN = "when it was tried out"


def try_out(
    classifier: Classifier,
    images: Pixels,
    target: Tensor,
    classes: int,
    steps: int,
    way_out: str = "",
) -> float:
    """Call each part on a few images of train; return the FLOPs of a forward pass for one image.

    What runs and is odd becomes a remark of the classifier, and so does a schedule of so many
    `steps`, or a rate, by which nothing is trained. `way_out` is added to the line that
    says that the net cannot take the images.
    """
    with blaming("model", "when it was copied"):
        # a forward pass changes the running statistics of batch normalisation
        net = deepcopy(classifier.net)
    counter = FlopCounterMode(display=False)
    try:
        with torch.no_grad(), counter, last_layers(net) as ends:
            logits: Any = net(images.cpu())
    except StopIteration as stop:
        raise exhausted("model", stop, WHEN) from stop
    except (
        AssertionError,
        RuntimeError,
        ValueError,
    ) as error:  # the images are too small, or a single one is to be normalised
        raise_fault(error)
        shape = tuple(images.shape)
        line = f"cannot train on a batch of shape {shape}: {error}{way_out}{at_line(error)}"
        raise ConfigError("model", line) from error
    if not isinstance(logits, Tensor):
        raise ConfigError("model", f"expected outputs in a tensor, got {type(logits).__name__}")
    expected = (len(images), classes)
    if logits.shape != expected:
        got = tuple(logits.shape)
        raise ConfigError("model", f"expected outputs of shape {expected}, got {got}")
    refuse_probabilities(logits, classifier.link)
    direction = _try_loss(classifier, torch.zeros_like(logits, device=target.device), target)
    _try_link(classifier, classes)
    try:
        optimizer: Any = classifier.optimizer(net)
    except StopIteration as stop:
        raise exhausted("optimizer", stop, WHEN) from stop
    except Exception as error:  # torch.optim.SGD takes parameters, for example, and no net
        raise_fault(error)
        raise complaint("optimizer", error, WHEN) from error
    if not isinstance(optimizer, Optimizer):
        kind = type(optimizer).__name__
        raise ConfigError("optimizer._target_", f"expected it to return an Optimizer, got {kind}")
    end = remark_on_end(ends, logits, classifier.link)
    remarks = (
        end,
        direction,
        remark_on_weights(optimizer, net),
        remark_on_rate(optimizer),
        remark_on_schedule(classifier.factor, steps),
        remark_on_evaluation(net, images.cpu()),
    )
    classifier.remarks = tuple(remark for remark in remarks if remark)
    return counter.get_total_flops() / len(images)


def forward_flops(net: nn.Module, images: Pixels) -> int:
    """The FLOPs of a forward pass of a copy of the net for these images."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        deepcopy(net)(images)
    return counter.get_total_flops()


def _try_loss(classifier: Classifier, logits: Tensor, target: Tensor) -> str:
    """Check the loss at equal outputs: one finite value for each example, with a gradient.

    Returns a remark on where that gradient leads, empty where it leads to the labels.
    """
    labels = target.clone()  # a loss may write into its target
    try:
        value: Any = classifier.loss(logits.requires_grad_(), target)
    except StopIteration as stop:
        raise exhausted("loss", stop, WHEN) from stop
    except Exception as error:  # whatever a user's loss raises
        raise_fault(error)
        raise complaint("loss", error, WHEN) from error
    expected = tuple(logits.shape[:1])
    if not isinstance(value, Tensor) or value.shape != expected or not value.requires_grad:
        kind = f"{tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise ConfigError(
            "loss",
            f"expected one value for each image of a batch, here {expected}, with a gradient, got "
            f"{kind}" + "; not their mean: reduction='none' in PyTorch" * (kind == "()"),
        )
    is_usual = value.is_floating_point() and value.layout is torch.strided
    if not is_usual or value.device != logits.device:
        got = f"{value.dtype}, {value.layout}, on {value.device}"
        line = f"expected real numbers in a dense tensor on {logits.device}, got {got}"
        raise ConfigError("loss", line)
    if not bool(value.isfinite().all()):
        raise ConfigError("loss", f"expected finite values at equal outputs, got {value[0].item()}")
    return remark_on_direction(value, logits, labels)


def _try_link(classifier: Classifier, classes: int) -> None:
    """Check the link at unequal outputs: probabilities that sum to 1, or None."""
    unequal = np.arange(classes, dtype=float)[None].repeat(2, axis=0)
    try:
        probabilities: Any = classifier.link(unequal)
        sums = None if probabilities is None else np.exp(probabilities).sum(axis=1)
    except StopIteration as stop:
        raise exhausted("loss", stop, WHEN) from stop
    except Exception as error:  # whatever a user's link raises
        raise complaint("loss", error, WHEN) from error
    if sums is not None and not (np.shape(sums) == (2,) and np.allclose(sums, 1, atol=1e-4)):
        raise ConfigError("loss", f"expected its link's probabilities to sum to 1, got {sums}")
    link = classifier.link.func.__qualname__
    if "<" in link:  # stored predictions name the link, to be read again
        raise ConfigError("loss", f"expected its link at the top level of a module, got {link}")
