"""Losses, one in each file: a pure function with the file's name, one value for each example."""
