"""The commands that a user types, one in each file; nothing else of the package imports them."""
