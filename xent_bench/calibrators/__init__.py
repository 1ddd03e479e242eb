"""Maps from outputs to calibrated probabilities, fitted on calib: `fit` of each file."""
