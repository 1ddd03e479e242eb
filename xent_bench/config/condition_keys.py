"""The keys that each kind of noise and imbalance has, and the refusal of those that do nothing."""

from typing import NamedTuple

from omegaconf import DictConfig

from xent_bench.config.schema import ImbalanceKind, Noise, NoiseKind

BY_RATE = (NoiseKind.symmetric, NoiseKind.asymmetric, NoiseKind.pair, NoiseKind.instance)
ALWAYS = ("kind", "seed", "val")  # keys that every kind of noise has
KEYS = {  # that a kind of noise has beside them
    **dict.fromkeys(BY_RATE, ("rate",)),
    NoiseKind.none: (),
    NoiseKind.asymmetric: ("rate", "map"),
    NoiseKind.matrix: ("matrix",),
    NoiseKind.file: ("labels", "column"),
}
NEEDED = {NoiseKind.matrix: "matrix", NoiseKind.file: "labels"}


class Complaint(NamedTuple):
    """A key that does not go with the others, and why."""

    key: str
    text: str


def complaint_of_conditions(config: DictConfig) -> Complaint | None:
    """A key of noise or imbalance that would do nothing, or one that is needed and not given."""
    kind = config.noise.kind
    needed = NEEDED.get(kind)
    if needed is not None and config.noise[needed] is None:
        return Complaint(f"noise.{needed}", f"has to be given, as in noise.{needed}=FILE")
    for name, neutral in vars(Noise()).items():
        if config.noise[name] == neutral or name in (*ALWAYS, *KEYS[kind]):
            continue
        users = ", ".join(user.name for user, names in KEYS.items() if name in names)
        rates = "; noise.rate=0 is no noise" if name == "rate" else ""
        return Complaint(
            f"noise.{name}", f"does nothing with noise={kind.name}; a key of {users}{rates}"
        )
    if config.imbalance.kind is ImbalanceKind.none and config.imbalance.ratio != 1:
        return Complaint(
            "imbalance.ratio",
            "does nothing with imbalance=none; a key of exponential, step; imbalance.ratio=1 is no "
            "imbalance",
        )
    return None
