"""Certificates of losses: properties computed from the function of a loss, and their tables."""
