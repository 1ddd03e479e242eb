"""Cross-entropy plus squares of the wrong classes' outputs.  Hui et al., 2023, arXiv:2302.03952."""

from torch.nn import functional as F

from xent_bench.types import Index, Logits, PerExample


def squentropy(logits: Logits, target: Index) -> PerExample:
    """-log p_y + (1/(c - 1)) sum_{j != y} z_j^2 with p = softmax(z).

    The squares are those of raw outputs, so this loss changes if a constant is added to all outputs
    of an example.
    """
    nll = F.cross_entropy(logits, target, reduction="none")
    others = logits.square().scatter(1, target[:, None], 0.0).sum(dim=1)
    return nll + others / (logits.shape[1] - 1)
