"""The moving average of a net's weights, with which it is evaluated (`ema`)."""

from collections.abc import Callable
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


def averaged_copy(net: nn.Module) -> nn.Module:
    """Copy a net to hold its averages, in evaluation mode. It shares weights that are not trained.

    Average and net are equal before the first step.
    """
    untrained = {id(weight): weight for weight in net.parameters() if not weight.requires_grad}
    return deepcopy(net, untrained).requires_grad_(False).eval()


def averaging(averaged: nn.Module, net: nn.Module, decay: float) -> Callable[[int], None]:
    """Return the function that updates the averages after a step of the optimizer.

    average <- d average + (1 - d) weight, with d as `decay_at` says. Floating-point buffers, such
    as the statistics of batch normalisation, are averaged likewise, as timm's ModelEmaV3 does.
    Steps alone decide, so a run that goes on needs no state but the averages.
    """
    averages, weights = averaged_pairs(averaged, net)

    def update(step: int) -> None:
        average = get_ema_multi_avg_fn(decay_at(step, decay))  # type: ignore[no-untyped-call]  # torch's
        average(averages, weights, None)

    return update


def decay_at(step: int, decay: float) -> float:
    """min(decay, (1 + t) / (10 + t)) for step t, counted from 0.

    The first weights, which are random, are soon forgotten, as with `num_updates` of TensorFlow's
    ExponentialMovingAverage.
    """
    return min(decay, (1 + step) / (10 + step))


def averaged_pairs(averaged: nn.Module, net: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """The averages, and the weights and buffers that they are averages of, in the same order."""
    pairs = [
        (average.detach(), weight.detach())
        for average, weight in zip(_state(averaged), _state(net), strict=True)
        if weight.is_floating_point() and average.data_ptr() != weight.data_ptr()
    ]
    return [average for average, _ in pairs], [weight for _, weight in pairs]


@torch.no_grad()
def copy_counters(averaged: nn.Module, net: nn.Module) -> None:
    """Copy the buffers that are whole numbers, such as numbers of batches, which have no mean."""
    for copy, buffer in zip(averaged.buffers(), net.buffers(), strict=True):
        if not buffer.is_floating_point():
            copy.copy_(buffer)


def _state(net: nn.Module) -> list[Tensor]:
    return [*net.parameters(), *net.buffers()]
