"""Losses compared: which runs stand side by side, and what their numbers show. Computes only."""
