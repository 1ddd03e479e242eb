"""Small networks that torchvision lacks, or adapts poorly to small images."""
