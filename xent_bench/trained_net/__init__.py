"""Trained nets to use elsewhere: `load` reads one from a run's folder, with its calibration."""

from xent_bench.trained_net.net import TrainedNet, load

__all__ = ["TrainedNet", "load"]
