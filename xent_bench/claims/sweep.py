"""The sweeps that train the runs of a claim, as words of xent-train."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from xent_bench.claims.schema import Claim, Design, Part, Size
from xent_bench.tables import joined

CLAIM, RULES = "claim", "claim_rules"  # tags of each run: the claim's name, and the hash


class Asked(NamedTuple):
    """A claim at one size, as a user asks for it, and the words that are passed on."""

    name: str
    claim: Claim
    size: Size
    hash: str  # of what decides the verdict
    words: tuple[str, ...] = ()  # of xent-train: where and how fast runs are computed

    @property
    def design(self) -> Design:
        """The runs that the claim has at this size."""
        return self.claim.sizes[self.size]

    @property
    def parts(self) -> list[Part]:
        """The parts of the claim, with the metrics that they have at this size."""
        return self.claim.parts_at(self.size)

    @property
    def sweep_name(self) -> str:
        """The name that the runs are filed under: claim-NAME, or claim-NAME-gpu."""
        return f"claim-{self.name}" + ("-gpu" if self.size == "gpu" else "")

    @property
    def number_of_runs(self) -> int:
        """How many runs the design has."""
        return len(self.claim.arms) * len(self.design.points()) * self.design.seeds


def sweeps(asked: Asked) -> list[list[str]]:
    """The words of each sweep, without `xent-train`.

    Arms that differ in nothing but the loss are one sweep, so that their runs share batches.
    """
    return [_words(asked, group) for group in _groups(asked.claim.arms.values())]


def arm_words(words: str) -> list[str]:
    """The words of one arm, as a single run is typed."""
    return words.split()


def loss_of(words: Sequence[str]) -> str:
    """The name of the loss among the words of an arm."""
    return next(word.removeprefix("loss=") for word in words if word.startswith("loss="))


def _groups(arms: Iterable[str]) -> list[list[list[str]]]:
    """Arms that can be typed as one sweep: the same words beside the loss, and other losses."""
    groups: list[list[list[str]]] = []
    for words in map(arm_words, arms):
        for group in groups:
            losses = [loss_of(other) for other in group]
            if _beside_loss(group[0]) == _beside_loss(words) and loss_of(words) not in losses:
                group.append(words)
                break
        else:
            groups.append([words])
    return groups


def _beside_loss(words: Sequence[str]) -> list[str]:
    return [word for word in words if not word.startswith(("loss=", "loss."))]


def _words(asked: Asked, group: Sequence[Sequence[str]]) -> list[str]:
    design = asked.design
    tuned = [f"{key}={','.join(map(str, values))}" for key, values in design.tuning.items()]
    of_losses = [
        word.replace("loss.", f"loss.{loss_of(words)}.", 1)
        for words in group
        for word in words
        if word.startswith("loss.")
    ]
    return [
        "-m",
        *design.setting.split(),
        *_beside_loss(group[0]),
        f"loss={','.join(map(loss_of, group))}",
        *of_losses,
        *tuned,
        f"seed={','.join(map(str, range(design.seeds)))}",
        f"name={asked.sweep_name}",
        f"tags={{{CLAIM}: {asked.name}, {RULES}: {asked.hash}}}",
        *asked.words,
    ]


def described(asked: Asked) -> str:
    """The number of runs in words: '2 losses x 3 values of optimizer.lr x 8 seeds: 48 runs'."""
    design = asked.design
    values = [f"{len(values)} values of {key}" for key, values in design.tuning.items()]
    factors = [f"{len(asked.claim.arms)} arms ({joined(list(asked.claim.arms))})", *values]
    return f"{' x '.join([*factors, f'{design.seeds} seeds'])}: {asked.number_of_runs} runs"
