"""A trained net to take along: `load` gives it back from a run's folder, with its calibration."""

from xent_bench.trained_net.net import TrainedNet, load

__all__ = ["TrainedNet", "load"]
