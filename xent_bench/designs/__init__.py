"""The runs that a sweep consists of: a grid, or the points of a search."""
