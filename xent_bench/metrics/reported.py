"""Metrics that are reported: under which prefix of a key they stand, and how a person reads it."""

# the prefix of a calibrator's numbers
PREFIXES = {"temperature": "test_ts", "vector_scaling": "test_vs", "isotonic": "test_iso"}
# how a person reads a prefix
TITLES = {
    "test": "as trained",
    "test_ts": "temperature scaling",
    "test_vs": "vector scaling",
    "test_iso": "isotonic regression",
}
