"""Seeds that were added by hand: looks outside of any design, and how often they mislead.

Whoever looks at three seeds, adds seven more if nothing was decided, and looks again at a level of
5 % each time, calls a difference that is none better or worse more often than in 5 of 100 cases.
"""

from collections.abc import Sequence
from itertools import pairwise

from xent_bench.comparison.boundary import Boundary
from xent_bench.comparison.stats import LEVEL


def seeds_after(steps: Sequence[Sequence[int]]) -> list[int]:
    """Numbers of seeds after each sweep that was typed, in their order, where it added seeds.

    `steps` are the seeds of each sweep. Two pairs are the least that can be looked at.
    """
    seeds: set[int] = set()
    numbers: list[int] = []
    for step in steps:
        seeds |= set(step)
        if len(seeds) > (numbers[-1] if numbers else 1):
            numbers.append(len(seeds))
    return numbers


def false_rate(numbers: Sequence[int]) -> float:
    """Probability that one of the looks after so many pairs is significant without a difference.

    Each look is a paired t test at LEVEL. `numbers` are ascending, from 2 on.
    """
    return Boundary(tuple(numbers), shape=0.0).p(LEVEL)


def by_hand_note(steps: Sequence[Sequence[int]]) -> str:
    """Point out that seeds were added, and how often that misleads; empty if they were not."""
    numbers = seeds_after(steps)
    if len(numbers) < 2:
        return ""
    more = [later - earlier for earlier, later in pairwise(numbers)]
    listed = ", ".join([str(numbers[0]), f"then {more[0]} more", *map(str, more[1:])])
    later = "the second was" if len(numbers) == 2 else "the later ones were"
    return (
        f"Seeds were added in {len(numbers)} steps ({listed}). If {later} taken because of what "
        "was seen before, the verdicts of this report, which know of one look, are wrong too "
        "often: a loss that does not differ is called better or worse in about "
        f"{100 * false_rate(numbers):.0f} of 100 cases and not in 5 (simulated). until=decided "
        "adds seeds with the rates of error kept."
    )
