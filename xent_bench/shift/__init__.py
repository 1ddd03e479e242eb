"""Scoring of a trained net under shift: corrupted images of test, and images of other sets."""
