"""The runs of a sweep over lists of values: every combination, as Hydra lists them."""

from collections.abc import Sequence
from itertools import product
from math import prod
from typing import NamedTuple

from xent_bench.designs.swept import LOSS, Sweep, Swept


class Factor(NamedTuple):
    """Alternatives of which each run has one: values of a key, or points of a search."""

    place: int  # of its key in the command
    alternatives: Sequence[tuple[str, ...]]  # words


def grid(sweep: Sweep) -> list[list[str]]:
    """The overrides of each run. A key of one loss multiplies the runs of this loss alone."""
    return listed(sweep, {loss: factors(sweep.of(loss)) for loss in sweep.losses})


def grid_size(keys: Sequence[Swept]) -> int:
    """The number of combinations of the values of some keys beside the loss."""
    return prod(swept.number() for swept in keys if swept.key != LOSS)


def factors(keys: Sequence[Swept]) -> list[Factor]:
    """A factor for each key beside the loss."""
    return [
        Factor(swept.place, [(word,) for word in swept.words()])
        for swept in keys
        if swept.key != LOSS
    ]


def listed(sweep: Sweep, factors_of: dict[str, list[Factor]]) -> list[list[str]]:
    """The overrides of every combination of factors, for each loss.

    They are in the order of Hydra's own sweeps: the key that was typed last varies fastest.
    """
    runs: list[tuple[list[int], list[str]]] = []
    for number, (loss, word) in enumerate(sweep.losses.items()):
        places = sweep.places(loss)
        for ranks in product(*(range(len(factor.alternatives)) for factor in factors_of[loss])):
            order = [0] * len(sweep.keys)
            words = [word] if word else []
            if word:
                order[places[LOSS]] = number
            for factor, rank in zip(factors_of[loss], ranks, strict=True):
                order[factor.place] = rank
                words += factor.alternatives[rank]
            runs.append((order, as_typed(words, places)))
    return [words for _, words in sorted(runs, key=lambda run: run[0])]


def as_typed(words: Sequence[str], places: dict[str, int]) -> list[str]:
    """Overrides in the order in which their keys were typed; others come last."""
    return sorted(words, key=lambda word: places.get(word.partition("=")[0], len(places)))
