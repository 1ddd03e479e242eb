"""The advice for a training that diverged."""

ADVICE = "a smaller optimizer.lr may help"
