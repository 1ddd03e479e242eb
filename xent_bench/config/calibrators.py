"""The choices of `calibrator`: a file of `xent_bench/calibrators` each."""

from enum import Enum


class Calibrator(Enum):
    """The calibrator to fit on calib; temperature is always fitted too."""

    temperature = "temperature"
    vector_scaling = "vector_scaling"
    isotonic = "isotonic"
    prior_correction = "prior_correction"  # by itself, where train has other class sizes than test
    structured_vector = "structured_vector"
    structured_matrix = "structured_matrix"
    dirichlet = "dirichlet"
