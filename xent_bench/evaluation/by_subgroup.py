"""Scores of the subgroups of test by their names, as trained and after temperature scaling."""

from collections.abc import Mapping

import numpy as np

from xent_bench.metrics.examples import Examples
from xent_bench.metrics.reported import WORST_GROUP
from xent_bench.metrics.subgroups import LEAST, largest, names_in_keys, subgroup_scores, worst
from xent_bench.runs.predictions import Subgroups

SCALED = ("/nll", "/ece", "/ece_high")  # which a temperature changes


def by_subgroup(
    subgroups: Subgroups, by_prefix: Mapping[str, Examples]
) -> tuple[dict[str, float], dict[str, str]]:
    """Metrics such as test_group/VALUE/top1 and test_ts_group/VALUE/ece, and words on them.

    `test/worst_group_top1` is the accuracy of the worst group with LEAST images or more.
    """
    names, ids = names_in_keys(subgroups.values), subgroups.test
    scores = subgroup_scores(by_prefix["test"], ids, names)
    metrics = {f"test_group{key}": value for key, value in scores.items()}
    scaled = subgroup_scores(by_prefix["test_ts"], ids, names)
    metrics |= {f"test_ts_group{k}": value for k, value in scaled.items() if k.endswith(SCALED)}
    occurring = len(np.unique(ids))
    shown = len(largest(ids))
    less = f", of which the {shown} with most images have scores" if shown < occurring else ""
    words = {"subgroups": f"{subgroups.attribute}: {occurring:,} values in test{less}"}
    least = worst(by_prefix["test"].top1, ids)
    if least is not None:
        metrics[f"test/{WORST_GROUP}"] = least.top1
        metrics[f"test_null/{WORST_GROUP}"] = least.by_chance
        words["worst_group"] = (
            f"{names[least.group]}, of {least.of:,} groups with {LEAST} test images or more"
        )
    return metrics, words
