"""Features of images: what a frozen net makes of them just before its last layer."""
