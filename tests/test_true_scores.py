"""Scores of the true class: those of gather, bit for bit, in value and gradient."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from xent_bench.true_scores import true_scores


def gathered(scores: Tensor, target: Tensor) -> Tensor:
    return scores.gather(1, target[:, None]).squeeze(1)


def normalised(pick: Callable[[Tensor, Tensor], Tensor], z: Tensor, target: Tensor) -> Tensor:
    log_p = z.log_softmax(dim=1)
    return pick(log_p, target) / log_p.sum(dim=1)


def margin(pick: Callable[[Tensor, Tensor], Tensor], z: Tensor, target: Tensor) -> Tensor:
    rival = z.scatter(1, target[:, None], -float("inf")).amax(dim=1)
    return (1 + rival - pick(z, target)).clamp_min(0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("loss", [normalised, margin, lambda pick, z, target: pick(z, target)])
def test_they_have_the_bits_of_gather_in_value_and_gradient(loss, dtype, rng):
    for trial in range(50):
        z = 10 ** (trial % 5 - 2) * torch.randn(40, 7, generator=rng, dtype=dtype)
        z[torch.rand(40, 7, generator=rng) < 0.2] = -0.0
        target = torch.randint(7, (40,), generator=rng)
        weights = torch.randn(40, generator=rng, dtype=dtype)
        bits = []
        for pick in (gathered, true_scores):
            logits = z.clone().requires_grad_()
            value = loss(pick, logits, target)
            value.backward(weights)
            assert logits.grad is not None
            bits.append((as_hex(value.detach()), as_hex(logits.grad)))

        assert bits[0] == bits[1]


def as_hex(values: Tensor) -> list[str]:
    return [value.hex() for value in values.flatten().tolist()]
