"""The process that runs: its signals, its processors, its peers, and how it computes."""
