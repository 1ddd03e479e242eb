"""Published claims about losses, each with a design and rules that are fixed before its runs."""
