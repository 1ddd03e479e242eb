"""What is said about a whole split: pure functions of its log-probabilities and targets."""
