"""Transition matrices of label noise: row i holds the probabilities of the new label of class i."""

from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from xent_bench.conditions.class_maps import class_map
from xent_bench.config.configure import ConfigError
from xent_bench.config.schema import Noise, NoiseKind
from xent_bench.failures import DataError

Transition: TypeAlias = Float64[Tensor, "c c"]

SUM_TOLERANCE = 1e-4  # of a row that was written with few decimals


def transition(noise: Noise, classes: tuple[str, ...]) -> Transition:
    """The matrix of noise that depends on the class alone; rows sum to 1.

    symmetric: each of the other c - 1 classes with probability rate / (c - 1). (Where the class
    itself is drawn among the c, a rate r changes r (c - 1) / c of the labels alone.) pair: the next
    class, and after the last the first, with probability rate. asymmetric: the class of the map,
    with probability rate. ConfigError or DataError for a map or a file that is wrong.
    """
    c = len(classes)
    if noise.kind is NoiseKind.matrix:
        return _read(Path(str(noise.matrix)).expanduser(), c)
    matrix = torch.eye(c, dtype=torch.float64)
    if noise.kind is NoiseKind.symmetric:
        matrix *= 1 - noise.rate - noise.rate / (c - 1)
        return matrix + noise.rate / (c - 1)
    next_class = {number: (number + 1) % c for number in range(c)}
    taken_for = next_class if noise.kind is NoiseKind.pair else class_map(noise.map, classes)
    for number, other in taken_for.items():
        matrix[number, number] -= noise.rate
        matrix[number, other] += noise.rate
    return matrix


def _read(file: Path, c: int) -> Transition:
    try:
        if file.suffix.lower() == ".npy":
            values = np.load(file, allow_pickle=False)
        elif file.suffix.lower() == ".csv":
            values = np.loadtxt(file, delimiter=",", ndmin=2)
        else:
            raise ConfigError("noise.matrix", f"expected a file in .npy or .csv, got {file}")
        matrix = torch.from_numpy(values.astype(np.float64))
    except ConfigError:
        raise
    except (OSError, ValueError, TypeError, EOFError) as error:
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())[:200]
        raise DataError(f"cannot read noise.matrix={file}: {reason}") from error
    if matrix.shape != (c, c):
        got = " x ".join(map(str, matrix.shape))
        raise DataError(f"expected {c} x {c} numbers in noise.matrix={file}, got {got}")
    sums = matrix.sum(dim=1)
    wrong = ~((sums - 1).abs() <= SUM_TOLERANCE) | ~((matrix >= 0).all(dim=1))
    if wrong.any():
        row = int(wrong.nonzero()[0])
        raise DataError(
            f"expected rows of probabilities that sum to 1 in noise.matrix={file}, got in row {row}"
            f" a sum of {sums[row]:g} and a least value of {matrix[row].min():g}"
        )
    return matrix / sums[:, None]
