"""One run trained, from its config to its result."""
