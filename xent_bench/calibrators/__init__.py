"""Calibrators: in each file `fit`, which fits a map from outputs to probabilities on calib."""
