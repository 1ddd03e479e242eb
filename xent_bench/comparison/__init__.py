"""Comparison of losses: which runs are compared, and what their metrics show.

Modules here only compute; `xent_bench.report` draws and prints the results.
"""
