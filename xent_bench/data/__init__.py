"""Image sets, their splits, and the batches cut from them."""
