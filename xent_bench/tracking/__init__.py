"""MLflow, the write side: the store, the run of a run folder, and what is written to it."""
