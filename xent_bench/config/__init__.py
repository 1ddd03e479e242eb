"""The config of a run: what may be said, how it is checked, and how a mistake is told."""
