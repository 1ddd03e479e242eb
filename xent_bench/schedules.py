"""Schedules: the factor on the learning rate at each `step`, from 0 to `steps` - 1."""

import math

from xent_bench.ranges import Fraction


def constant(step: int, steps: int) -> float:  # noqa: ARG001  a schedule's signature
    """1 at every step."""
    return 1.0


def cosine(step: int, steps: int, *, warmup: Fraction = 0.1) -> float:
    """Linear rise over the fraction `warmup` of the steps, then half a cosine from 1 down to 0.

    Loshchilov and Hutter, 2017, arXiv:1608.03983, without restarts.
    """
    warm = warmup * steps
    if step < warm:
        return (step + 1) / (warm + 1)
    return (1 + math.cos(math.pi * (step - warm) / max(steps - warm, 1))) / 2
