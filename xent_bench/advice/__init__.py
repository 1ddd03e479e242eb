"""Advice: from what a user needs and the runs at hand to a loss, a calibrator, and what to type."""
