"""One-vs-rest binary cross-entropy.  Wightman et al., 2021, arXiv:2110.00476."""

from torch.nn import functional as F

from xent_bench import links
from xent_bench.types import Distribution, Logits, PerExample


@links.use(links.sigmoid)
def bce(logits: Logits, target: Distribution) -> PerExample:
    """-sum_k (q_k log s_k + (1 - q_k) log(1 - s_k)), in nats, with s = sigmoid(z).

    This is the sum over classes; the mean that PyTorch and timm take is c times smaller.
    """
    return F.binary_cross_entropy_with_logits(logits, target, reduction="none").sum(dim=1)
