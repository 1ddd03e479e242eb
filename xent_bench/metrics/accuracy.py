"""Top-k accuracy, fair to ties."""

from xent_bench.types import Index, Logits, PerExample


def hits(scores: Logits, target: Index, k: int) -> PerExample:
    """Probability that the target is among the k largest scores when ties are broken at random.

    0 or 1 without ties; the same whatever the order of the classes. (The usual first-of-the-tied
    rule gives a net that answers a constant the accuracy of whatever class comes first.)
    """
    true = scores.gather(1, target[:, None])
    ahead = (scores > true).sum(dim=1)
    tied = (scores == true).sum(dim=1)
    return ((k - ahead) / tied).clamp(0, 1).to(scores.dtype)


def accuracy(scores: Logits, target: Index) -> dict[str, float]:
    """top1 and, from five classes on, top5: shares of the examples, in [0, 1]."""
    ks = (1, 5) if scores.shape[1] >= 5 else (1,)
    return {f"top{k}": hits(scores, target, k).mean().item() for k in ks}
