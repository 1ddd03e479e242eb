"""Outputs of several nets of several models, as `xb.compare` takes them."""

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import TYPE_CHECKING, TypeAlias

from xent_bench.comparison.models import Member
from xent_bench.runs.given_outputs import LinkLike, refuse_other_columns
from xent_bench.runs.given_predictions import given

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from torch import Tensor

Outputs: TypeAlias = "ArrayLike | Tensor"  # (n, classes)
# outputs of a model's nets: by seed, or a list, for seeds 0, 1, ...; one array is of seed 0
Nets: TypeAlias = "Mapping[int, Outputs] | Sequence[Outputs] | Outputs"


def members_of(
    models: "Mapping[str, Nets]",
    target: "Outputs",
    calib: "Mapping[str, Nets] | None",
    calib_target: "Outputs | None",
    link: "LinkLike | Mapping[str, LinkLike]",
) -> list[Member]:
    """Check the outputs of every net, and return a Member for each.

    ValueError names the model and the seed whose outputs or labels do not fit.
    """
    members = []
    if calib is not None and calib.keys() != models.keys():
        raise ValueError(f"calib: expected the models {', '.join(models)}, got {', '.join(calib)}")
    first: Outputs | None = None
    for model, nets in models.items():
        if isinstance(link, Mapping) and model not in link:
            raise ValueError(f"link: expected one for each model, got none for {model}")
        reading = link[model] if isinstance(link, Mapping) else link
        by_seed = _by_seed(nets)
        calib_by_seed = None if calib is None else _by_seed(calib[model])
        if calib_by_seed is not None and calib_by_seed.keys() != by_seed.keys():
            seeds = ", ".join(map(str, by_seed))
            raise ValueError(f"calib: expected seeds {seeds} of {model}, got {list(calib_by_seed)}")
        for seed, outputs in by_seed.items():
            source = f"{model}, seed {seed}"
            first = outputs if first is None else first
            refuse_other_columns(first, outputs, f"{source}, beside the first net")
            pair = None if calib_by_seed is None else (calib_by_seed[seed], calib_target)
            try:
                held = given(outputs, target, pair, reading, ("outputs", "target", "calib "))
            except ValueError as error:
                raise ValueError(f"{source}: {error}") from None
            members.append(Member(str(model), seed, held, source))
    return members


def _by_seed(nets: "Nets") -> "dict[int, Outputs]":
    """The outputs of each net by its seed: a mapping, a list, or one array of a single net."""
    if isinstance(nets, Mapping):
        if not all(isinstance(seed, Integral) and seed >= 0 for seed in nets):
            raise ValueError(f"expected seeds of 0 or more as keys, got {list(nets)}")
        return {int(seed): outputs for seed, outputs in nets.items()}
    dimensions = getattr(nets, "ndim", None)
    if dimensions == 2 or (dimensions is None and _is_matrix(nets)):
        return {0: nets}  # type: ignore[dict-item]
    return dict(enumerate(nets))  # type: ignore[arg-type]


def _is_matrix(nets: object) -> bool:
    """Whether a list holds rows of numbers, the outputs of one net, and not several nets."""
    row = nets[0] if isinstance(nets, Sequence) and nets else None
    return isinstance(row, Sequence) and bool(row) and not hasattr(row[0], "__len__")
