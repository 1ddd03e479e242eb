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

    In nats, with s = sigmoid(z). The sum over classes of what torchvision returns unreduced.
    alpha = 1/2 and gamma = 0 are half of bce.
    """
    true_class = F.one_hot(target, logits.shape[1]).to(logits.dtype)
    signed = (2 * true_class - 1) * logits
    weight = 1 - alpha + (2 * alpha - 1) * true_class
    # (1 - r)^gamma as exp(gamma log(1 - r)): a power of an underflown number has no finite slope
    modulation = (gamma * F.logsigmoid(-signed)).exp()
    return -(weight * modulation * F.logsigmoid(signed)).sum(dim=1)
