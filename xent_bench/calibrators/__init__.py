"""Maps from outputs to calibrated probabilities, fitted on calib: each file's function `fit`."""

# of a calibrator's numbers
PREFIXES = {"temperature": "test_ts", "vector_scaling": "test_vs", "isotonic": "test_iso"}
# how a person reads them
TITLES = {
    "test": "as trained",
    "test_ts": "temperature scaling",
    "test_vs": "vector scaling",
    "test_iso": "isotonic regression",
}
