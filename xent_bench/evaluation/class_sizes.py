"""The numbers that depend on class sizes, and the rule that says which of them a run reports.

A set whose classes are about as large as each other, in train and in test, gets none of them.
"""

from xent_bench.metrics.accuracy import PerClass
from xent_bench.metrics.by_class import by_class_size, by_class_size_errors
from xent_bench.metrics.class_sizes import class_counts, differ, is_uneven
from xent_bench.metrics.examples import Examples
from xent_bench.metrics.reported import METRICS
from xent_bench.metrics.train_prior import under_train_prior, under_train_prior_errors
from xent_bench.runs.predictions import Predictions


def counts_of_test(predictions: Predictions) -> PerClass:
    """The number of test images of each class."""
    return class_counts(predictions.test.target, len(predictions.classes))


def has_other_prior(predictions: Predictions) -> bool:
    """Whether a class is at least twice as frequent in train as in test, or the other way round."""
    train_counts = predictions.train_counts
    return train_counts is not None and differ(train_counts, counts_of_test(predictions))


def by_class_sizes(examples: Examples, prefix: str, predictions: Predictions) -> dict[str, float]:
    """Recalls by class size, and scores at train's class frequencies, with their standard errors.

    The first where the largest class of train has at least twice the images of the smallest, the
    second where the frequencies of train and test differ as much.
    """
    train_counts = predictions.train_counts
    if train_counts is None:
        return {}
    scores: dict[str, float] = {}
    errors: dict[str, float] = {}
    if is_uneven(train_counts):
        scores |= by_class_size(examples, train_counts)
        errors |= by_class_size_errors(examples, train_counts)
    if has_other_prior(predictions):
        scores |= under_train_prior(examples, train_counts)
        errors |= under_train_prior_errors(examples, train_counts)
    metrics = {f"{prefix}/{name}": value for name, value in scores.items()}
    metrics |= {f"{prefix}_se/{name}": value for name, value in errors.items()}
    return {
        key: value
        for key, value in metrics.items()
        if prefix in METRICS[key.partition("/")[2]].prefixes
    }
