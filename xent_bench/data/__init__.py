"""Image sets, their splits, and the batches that are read from them."""
