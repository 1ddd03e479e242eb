"""One-vs-rest focal loss.  Lin et al., 2017, arXiv:1708.02002, section 3."""

from torch.nn import functional as F

from xent_bench import links
from xent_bench.ranges import Fraction, NonNegative
from xent_bench.types import Index, Logits, PerExample


@links.use(links.sigmoid)
def sigmoid_focal(
    logits: Logits, target: Index, *, alpha: Fraction = 0.25, gamma: NonNegative = 2.0
) -> PerExample:
    """-alpha (1 - s_y)^gamma log s_y - (1 - alpha) sum_{j != y} s_j^gamma log(1 - s_j).

    In nats, with s = sigmoid(z). It is the sum over classes of torchvision's unreduced loss.
    alpha = 1/2 with gamma = 0 is half of bce.
    """
    true_class = F.one_hot(target, logits.shape[1]).to(logits.dtype)
    signed = (2 * true_class - 1) * logits
    weight = 1 - alpha + (2 * alpha - 1) * true_class
    # (1 - r)^gamma as exp(gamma log(1 - r)): the power has an infinite slope where 1 - r underflows
    modulation = (gamma * F.logsigmoid(-signed)).exp()
    return -(weight * modulation * F.logsigmoid(signed)).sum(dim=1)
