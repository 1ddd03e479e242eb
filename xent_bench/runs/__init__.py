"""Run folders: the files in them, and how each run stands."""
