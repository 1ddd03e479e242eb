"""Metrics of a whole split: pure functions of its outputs and targets, never means over batches."""
