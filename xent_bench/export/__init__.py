"""Trained nets as one file for other programs: from pixels to calibrated probabilities."""
