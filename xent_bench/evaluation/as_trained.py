"""The evaluation of a classifier as trained alone, where outputs on calib are missing."""

from xent_bench.evaluation.evaluate import Evaluation, against_chance, bins_of, measured, scaled_map
from xent_bench.links import BoundLink
from xent_bench.metrics.examples import examine
from xent_bench.metrics.uncertainty import null_draws
from xent_bench.runs.predictions import Predicted


def evaluate_as_trained(test: Predicted, link: BoundLink) -> Evaluation:
    """Compute the numbers on test that need no calibrator, with the keys that `evaluate` gives.

    There is no number after temperature scaling, since no temperature is fitted.
    """
    examples = examine(test.outputs, test.target, link)
    metrics = measured(examples, "test")
    words = {"link": link.func.__name__, "scaled_map": scaled_map(link, test.outputs.shape[1])}
    bins = bins_of({"test": examples})
    if bins:
        draws = null_draws(examples.ranked, bins["test"])
        numbers, words["test_verdict"] = against_chance(examples.ranked, draws)
        metrics |= {f"test_null/{key}": value for key, value in numbers.items()}
    return Evaluation(metrics, words, {"test": examples}, bins)
