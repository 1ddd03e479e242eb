"""A comparison of losses for image classifiers: accuracy and trust in their probabilities."""
