"""Nets that begin with the weights of a file: read as data, fitted to the net, and said."""
