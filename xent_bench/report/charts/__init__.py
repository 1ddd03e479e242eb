"""Charts of the HTML page, one in each module. No number of a table is computed here."""
