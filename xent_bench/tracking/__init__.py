"""MLflow: runs are mirrored to a store, read back for a report, and shown in a saved view."""
