"""Maps from outputs to calibrated probabilities, fitted on calib: each file's function `fit`."""

# of a calibrator's numbers; a net's as it was trained stand under `test`
PREFIXES = {"temperature": "test_ts", "vector_scaling": "test_vs", "isotonic": "test_iso"}
