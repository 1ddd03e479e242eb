"""Metrics against p(y|x), where a data set knows it: free of the noise of labels."""

from xent_bench.arrays import Outputs, SoftLabels
from xent_bench.links import Link
from xent_bench.metrics.calibration import ece
from xent_bench.metrics.examples import examine
from xent_bench.metrics.score import means


def against_truth(outputs: Outputs, posterior: SoftLabels, link: Link) -> dict[str, float]:
    """Distance of a net's outputs from p(y|x), which takes the place of the labels.

    true_kl = mean of sum_k posterior_k log(posterior_k / p_k), in nats. true_ece is the ECE whose
    accuracy is the posterior probability of the answer. Both are absent without probabilities.
    excess_risk = mean of max_k posterior_k - posterior of the answer, ties broken at random; in
    [0, 1].
    """
    examples = examine(outputs, posterior, link)
    best = float(posterior.max(axis=1).mean())
    metrics = {"excess_risk": max(0.0, best - float(examples.top1.mean()))}
    if examples.probabilistic is None:
        return metrics
    kl = float(means(examples)["kl"].mean())
    return {"true_kl": kl, "true_ece": float(ece(examples.ranked))} | metrics
