"""Cross-entropy with a penalty on the logits.  Kornblith et al., 2021, arXiv:2010.16402."""

from torch.nn import functional as F

from xent_bench.ranges import NonNegative
from xent_bench.types import Index, Logits, PerExample


def logit_penalty(logits: Logits, target: Index, *, beta: NonNegative = 6e-4) -> PerExample:
    """-log p_y + (beta/2) sum_k z_k^2 with p = softmax(z).

    beta = 0 is sparse_ce.
    """
    nll = F.cross_entropy(logits, target, reduction="none")
    return nll + beta / 2 * logits.square().sum(dim=1)
