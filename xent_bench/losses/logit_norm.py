"""Cross-entropy of normalised logits.  Wei et al., 2022, arXiv:2205.09310."""

import torch
from torch import Tensor
from torch.nn import functional as F

from xent_bench import links
from xent_bench.ranges import Positive
from xent_bench.types import Index, Logits, PerExample


@links.use(links.normalised_softmax)
def logit_norm(logits: Logits, target: Index, *, tau: Positive = 0.04) -> PerExample:
    """-log softmax(z / (tau (|z| + 1e-7)))_y, in nats, with |z| the Euclidean norm.

    Only the direction of z matters, so larger outputs cannot raise the confidence. At z = 0 the
    gradient is huge, 1 / (1e-7 tau), but nets do not have such outputs.
    """
    norm: Tensor = torch.linalg.vector_norm(logits, dim=1, keepdim=True)
    return F.cross_entropy(logits / (tau * (norm + 1e-7)), target, reduction="none")
