"""Sweeps: which runs there are, how they are trained, and what a person sees of them."""
