"""One-vs-rest squared hinge.  Rifkin and Klautau, 2004, JMLR 5."""

from torch.nn import functional as F

from xent_bench import links
from xent_bench.types import Index, Logits, PerExample


@links.use(links.margin)
def ovr_squared_hinge(logits: Logits, target: Index) -> PerExample:
    """sum_k max(0, 1 - t_k z_k)^2 with t_y = 1 and t_k = -1 elsewhere.

    Its expectation has its minimum at z_k = 2 P(k) - 1. Unlike the other hinges here, it therefore
    orders the classes by probability even if no class has a majority.
    """
    sign = 2 * F.one_hot(target, logits.shape[1]) - 1
    return (1 - sign * logits).clamp_min(0).square().sum(dim=1)
