"""Runs of one net that are trained as one: shared batches, stacked weights, one optimizer."""
