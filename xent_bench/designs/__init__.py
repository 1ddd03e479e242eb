"""Designs of sweeps: which runs there are, and which follow from the results of others."""
