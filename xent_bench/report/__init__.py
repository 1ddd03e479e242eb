"""Output of comparisons: tables, conclusion, HTML page and pictures.

Modules here compute no statistics; `xent_bench.comparison` does.
"""
