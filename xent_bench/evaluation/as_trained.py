"""Every number about a classifier as it was trained, where no outputs on calib are at hand."""

from xent_bench.evaluation.evaluate import Evaluation, scaled_map
from xent_bench.links import BoundLink
from xent_bench.metrics.examples import examine
from xent_bench.metrics.score import summary
from xent_bench.metrics.uncertainty import null_draws, standard_errors, verdict
from xent_bench.runs.predictions import Predicted


def evaluate_as_trained(test: Predicted, link: BoundLink) -> Evaluation:
    """Compute the numbers on test that need no calibrator, with the keys that `evaluate` gives.

    There is no number after temperature scaling, since no temperature is fitted.
    """
    examples = examine(test.outputs, test.target, link)
    metrics = {f"test/{key}": value for key, value in summary(examples).items()}
    metrics |= {f"test_se/{key}": value for key, value in standard_errors(examples).items()}
    words = {"link": link.func.__name__, "scaled_map": scaled_map(link, test.outputs.shape[1])}
    if examples.probabilistic is not None:
        draws = null_draws(examples.ranked)
        band = draws.band()
        numbers = {**band._asdict(), "p": draws.p(examples.ranked)}
        metrics |= {f"test_null/{key}": value for key, value in numbers.items()}
        words["test_verdict"] = verdict(examples.ranked, band)
    return Evaluation(metrics, words, {"test": examples})
