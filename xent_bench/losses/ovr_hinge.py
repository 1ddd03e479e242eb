"""One-vs-rest hinge.  Rifkin and Klautau, 2004, JMLR 5."""

from torch.nn import functional as F

from xent_bench import links
from xent_bench.types import Index, Logits, PerExample


@links.use(links.margin)
def ovr_hinge(logits: Logits, target: Index) -> PerExample:
    """sum_k max(0, 1 - t_k z_k) with t_y = 1 and t_k = -1 elsewhere.

    This is the sum of c binary hinges, one for each class; Keras takes their mean.
    """
    sign = 2 * F.one_hot(target, logits.shape[1]) - 1
    return (1 - sign * logits).clamp_min(0).sum(dim=1)
