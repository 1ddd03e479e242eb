"""One loss a file: a pure function of the file's name, never reduced over examples."""
