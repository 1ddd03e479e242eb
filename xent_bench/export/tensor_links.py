"""The links of xent_bench.links as tensor operations, for a net that runs without NumPy and SciPy.

Each takes raw outputs (n, classes) and returns log-probabilities (n, classes), as its namesake does
for NumPy rows; only operations are used that ONNX has too.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from xent_bench import links
from xent_bench.calibrators.temperature import scales_outputs
from xent_bench.failures import Unavailable
from xent_bench.links import BoundLink, name_of

TINY = 1e-7  # added to a norm, as in xent_bench.links


def softmax(outputs: Tensor) -> Tensor:
    """log softmax(z)."""
    return F.log_softmax(outputs, dim=1)


def sigmoid(outputs: Tensor) -> Tensor:
    """log(s_k / sum_j s_j) with s = sigmoid(z)."""
    # -softplus(-z) = log sigmoid(z), finite where the sigmoid is 0 in float32
    return softmax(-F.softplus(-outputs))


def simplex(outputs: Tensor) -> Tensor:
    """Log of the point of the probability simplex nearest to z; -inf where that point is 0."""
    shifted = outputs - outputs.amax(dim=1, keepdim=True)
    ordered = shifted.sort(dim=1, descending=True).values
    excess = ordered.cumsum(dim=1) - 1
    rank = torch.arange(1, outputs.shape[1] + 1, dtype=outputs.dtype, device=outputs.device)
    support = (ordered * rank > excess).sum(dim=1, keepdim=True)
    tau = excess.gather(1, support - 1) / support
    return (shifted - tau).clamp_min(0).log()


def projection(outputs: Tensor, *, M: float) -> Tensor:  # noqa: N803  the paper's letter
    """Log of the point of the probability simplex nearest to z / M."""
    return simplex(outputs / M)


def normalised_softmax(outputs: Tensor, *, tau: float) -> Tensor:
    """log softmax(z / (tau (|z| + 1e-7)))."""
    norm = outputs.square().sum(dim=1, keepdim=True).sqrt()
    return softmax(outputs / (tau * (norm + TINY)))


TENSOR_LINKS: dict[Callable[..., object], Callable[..., Tensor]] = {
    links.softmax: softmax,
    links.sigmoid: sigmoid,
    links.simplex: simplex,
    links.projection: projection,
    links.normalised_softmax: normalised_softmax,
}


def tensor_dividend(link: BoundLink, classes: int) -> Callable[[Tensor], Tensor]:
    """The map from outputs to what the temperature divides: the outputs themselves, or log p.

    It is `calibrators.temperature.dividend` for tensors. log p is computed in float64: a small
    temperature would enlarge the rounding of float32. Unavailable for a link of the user's own
    whose log p is needed: it is written for NumPy, and no graph can hold it.
    """
    if scales_outputs(link, classes):
        return _unchanged
    function = TENSOR_LINKS.get(link.func)
    if function is None:
        raise Unavailable(
            f"cannot export the link {name_of(link.func)}: it is written for NumPy; expected "
            f"one of xent_bench.links ({', '.join(links.LINKS)})"
        )
    return partial(_log_p, function=partial(function, **link.keywords))


def _log_p(outputs: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    return function(outputs.double())


def _unchanged(outputs: Tensor) -> Tensor:
    return outputs
