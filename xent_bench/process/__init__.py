"""Settings of the running process: signals, processors, peers, garbage and arithmetic."""
