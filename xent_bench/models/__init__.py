"""Nets that torchvision does not have, or has only for large images."""
