"""The learning rate of a step, and rates by which no weight changes: 0, or lost in rounding.

What is always a mistake is refused; what may be meant is a remark at the start of the run.
"""

import math
from collections.abc import Callable

import torch
from torch.optim import Optimizer

from xent_bench.config.configure import ConfigError

ENOUGH = 0.01  # of the learning rate: a schedule that reaches it trains
PLACES = 1000  # steps at which a schedule is looked at first
MOVED = 0.1  # of the weights: a step that moves fewer of them is lost in rounding


def set_rate(optimizer: Optimizer, factor: float) -> None:
    """Set the learning rates of a step. ValueError for a factor below 0, infinite or NaN."""
    if not 0 <= factor < math.inf:  # below 0 each step would go uphill
        raise ValueError(
            f"expected a finite factor of the learning rate of at least 0, got {factor}"
        )
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factor


def remark_on_schedule(factor: Callable[[int], float], steps: int) -> str:
    """Say that a schedule stays below a hundredth of the rate; empty for one that reaches it.

    It is asked in the order of steps until it reaches that: one that begins at 1 is asked once, and
    one that seems to stay below it is asked at each of the `steps`. ConfigError if it is 0 at each.
    What it raises, the step raises too and names.
    """
    try:
        largest = _largest(factor, range(0, steps, -(-steps // PLACES)))
        if largest < ENOUGH:  # a short peak may lie between two places
            largest = _largest(factor, range(steps))
    except Exception:
        return ""
    if largest == 0:
        raise ConfigError(
            "schedule",
            f"expected a factor of the learning rate above 0 at some of the {steps:,} steps, got 0 "
            "at each, so that the net would stay as it is",
        )
    if largest >= ENOUGH:
        return ""
    return (
        f"the schedule reaches {largest:.2g} of the learning rate in {steps:,} steps: is its "
        "warm-up longer than the training, or does it return rates in place of factors?"
    )


def remark_on_rate(optimizer: Optimizer) -> str:
    """Say that steps of the size of the learning rate are lost in rounding; empty if they are not.

    The gradients of a usual loss are below 1, and the steps of Adam have about the size of the
    rate. The weights that change when the rate is added to them are counted; zeros are left out.
    """
    moved = counted = 0
    rates = set()
    for group in optimizer.param_groups:
        rate = abs(float(group["lr"]))
        for weight in group["params"]:
            if rate >= torch.finfo(weight.dtype).eps:  # no weight up to 1 loses such a step
                return ""
            values = weight.detach()
            nonzero = values != 0
            counted += int(nonzero.sum())
            moved += int(((values + rate != values) & nonzero).sum())
            rates.add((rate, str(weight.dtype).removeprefix("torch.")))
    if not counted or moved >= MOVED * counted:
        return ""
    rate, kind = max(rates)
    if rate == 0:
        return "the learning rate is 0, so that no weight changes"
    return (
        f"a step of the size of the learning rate, {rate:g}, changes {100 * moved // counted} % of "
        f"the weights: for the others it is less than the rounding of {kind}"
    )


def _largest(factor: Callable[[int], float], places: range) -> float:
    """The largest factor at these steps; infinity as soon as one is enough, or is NaN."""
    largest = 0.0
    for step in places:
        value = factor(step)
        if not value < ENOUGH:
            return math.inf
        largest = max(largest, value)
    return largest
