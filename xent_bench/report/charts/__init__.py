"""The charts of the page, one a module. Nothing is computed here that a table quotes."""
