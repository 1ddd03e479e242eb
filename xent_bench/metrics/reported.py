"""Metrics that are reported: under which prefix of a key they stand, and how a person reads it."""

from collections.abc import Container

# the prefix of a calibrator's numbers
PREFIXES = {"temperature": "test_ts", "vector_scaling": "test_vs", "isotonic": "test_iso"}
# how a person reads a prefix
TITLES = {
    "test": "as trained",
    "test_ts": "temperature scaling",
    "test_vs": "vector scaling",
    "test_iso": "isotonic regression",
}


def calibrators_in(metrics: Container[str]) -> list[str]:
    """Names of the calibrators whose numbers are among the metrics of a result, by their keys."""
    return [name for name, prefix in PREFIXES.items() if f"{prefix}/top1" in metrics]
