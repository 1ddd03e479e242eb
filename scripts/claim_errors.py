"""How often xent-claim says what is not so: verdicts on simulated claims whose truth is known.

The runs go through the code that users run, from their place in the design to the verdict. Every
trial of an arm is equally good, and a run that is lucky on val is as lucky on test, so that the
choice among trials is by nothing but luck: the worst case for a tuned comparison. A claim of
several parts is wrong most often where some of them are so sure that nothing but the others
decides: these are SURELY better or worse.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from xent_bench.claims.cells import all_cells, cells_of
from xent_bench.claims.judge import Judgement, judge
from xent_bench.claims.schema import Claim
from xent_bench.claims.sweep import Asked
from xent_bench.runs.result import Run

KEY, MARGIN = "test_ts/nll", 0.01  # the metric, and the largest difference of a tie
SECOND = "test_ts/brier"  # the metric of the second part of a claim about one arm
SPREAD = 0.005  # standard deviation of a run's score
SURELY = 20 * MARGIN  # a difference that no five seeds miss
CALIBRATED = {f"{prefix}_verdict": "within noise" for prefix in ("test", "test_ts_recipe")}
CALIBRATED_P = {f"{prefix}_null/p": 1.0 for prefix in ("test", "test_ts_recipe")}


class Case(NamedTuple):
    """A verdict that is wrong, the truth, and the claim of which it would be said."""

    verdict: str
    protocol: str  # published, fair, or both together
    truth: str
    asked: Asked
    worse_by: tuple[float, ...] = ()  # of the arm of each part, better if negative; empty: equal

    def said(self) -> str:
        """The verdict, and under which protocol it would be said."""
        return self.verdict + ("" if self.protocol == "together" else f", {self.protocol}")


def cases() -> list[Case]:
    """Every wrong verdict that is simulated."""
    two, four = "2 equal arms, 3 equal trials each", "4 equal arms, 3 equal trials each"
    better, as_good = claim_of("better", 2, 5, 3), claim_of("as_good", 2, 5, 3)
    better_of_8, as_good_of_8 = claim_of("better", 2, 8, 3), claim_of("as_good", 2, 8, 3)
    better_of_3, one_of_3 = claim_of("better", 4, 5, 3), claim_of("better", 4, 5, 3, "any")
    yes, no, paper = "replicated", "not replicated", "only as published"
    worse = "`as good` claimed of an arm that is worse by the margin"
    true = "`better` claimed of an arm that is better by the margin"
    all_true = "`better` claimed of 3 arms that are all better by the margin"
    mixed, most = mixed_claim(5), claim_of("better", 4, 5, 3, "most", "most")
    both = "`better` claimed by one metric and `as good` by another, of an arm that is"
    most_of_3 = "`better` claimed of most of 3 arms, of which"
    return [
        Case(yes, "published", f"`better` claimed, {two}, 5 seeds", better),
        Case(yes, "fair", f"`better` claimed, {two}, 5 seeds", better),
        Case(yes, "fair", f"`better` claimed, {two}, 8 seeds", better_of_8),
        Case(yes, "fair", f"`better` claimed of one of 3, {four}, 5 seeds", one_of_3),
        Case(yes, "fair", f"{worse}, 5 seeds", as_good, (MARGIN,)),
        Case(yes, "fair", f"{worse}, 8 seeds", as_good_of_8, (MARGIN,)),
        Case(
            yes,
            "fair",
            f"{both} surely better and worse by the margin, 5 seeds",
            mixed,
            (MARGIN, -SURELY),
        ),
        Case(
            yes,
            "fair",
            f"{most_of_3} 1 is surely better and 2 are equal, 5 seeds",
            most,
            (-SURELY, 0.0, 0.0),
        ),
        Case(no, "fair", f"`as good` claimed, {two}, 5 seeds", as_good),
        Case(no, "fair", f"{worse}, 5 seeds", as_good, (MARGIN,)),
        Case(no, "fair", f"{true}, 5 seeds", better, (-MARGIN,)),
        Case(no, "fair", f"{all_true}, 5 seeds", better_of_3, (-MARGIN,) * 3),
        Case(
            no,
            "fair",
            f"{both} better and worse by the margin, 5 seeds",
            mixed,
            (MARGIN, -MARGIN),
        ),
        Case(
            no,
            "fair",
            f"{most_of_3} 2 are better by the margin and 1 is surely worse, 5 seeds",
            most,
            (-MARGIN, -MARGIN, SURELY),
        ),
        Case(paper, "together", f"`better` claimed, {two}, 5 seeds", better),
    ]


def claim_of(
    expect: str,
    arms: int,
    seeds: int,
    trials: int,
    replicated: str = "all",
    not_replicated: str = "any",
) -> Asked:
    """A claim that each other arm is to the first one as expected."""
    names = [f"arm{place}" for place in range(arms)]
    parts = [_part(name, expect, KEY) for name in names[1:]]
    return _asked(names, parts, seeds, trials, replicated, not_replicated)


def mixed_claim(seeds: int, trials: int = 3) -> Asked:
    """A claim that the second arm is as good by one metric, and better by another one."""
    parts = [_part("arm1", "as_good", KEY), _part("arm1", "better", SECOND)]
    return _asked(["arm0", "arm1"], parts, seeds, trials, "all", "any")


def _part(arm: str, expect: str, key: str) -> dict[str, object]:
    return {
        "says": "-",
        "arm": arm,
        "against": "arm0",
        "expect": expect,
        "published": key,
        "fair": key,
        "margin": MARGIN,
    }


def _asked(
    names: Sequence[str],
    parts: Sequence[dict[str, object]],
    seeds: int,
    trials: int,
    replicated: str,
    not_replicated: str,
) -> Asked:
    """A claim with these parts, asked for at its one size."""
    rates = [0.1 * (1 + trial) for trial in range(trials)]
    content = {
        "claim": "simulated",
        "sources": [{"authors": "nobody", "year": 2026, "title": "none"}],
        "shown_on": "nothing",
        "arms": {name: f"loss={name}" for name in names},
        "sizes": {
            "cpu": {
                "setting": "data=d",
                "seeds": seeds,
                "tuning": {"optimizer.lr": rates},
                "published": {"optimizer.lr": rates[0]},
                "choose_by": "val/nll",
            }
        },
        "parts": list(parts),
        "rules": {
            "replicated": f"{replicated}_shown",
            "not_replicated": f"{not_replicated}_refuted",
            "only_as_published": "fair_not_replicated",
        },
        "mechanism": "none",
    }
    return Asked("simulated", Claim.model_validate(content), "cpu", "sha256-0")


def judged(rng: np.random.Generator, asked: Asked, worse_by: Sequence[float]) -> Judgement:
    """Judge the claim where the arm of each part is worse by so much, by the metric of the part.

    Each metric has luck of its own; that on val is the luck of KEY.
    """
    worse = worse_by or [0.0] * len(asked.parts)
    shifts = {(part.arm, part.fair): by for part, by in zip(asked.parts, worse, strict=True)}
    keys = dict.fromkeys([KEY, *(part.fair for part in asked.parts)])
    arms = {arm: _params(arm) for arm in asked.claim.arms}
    runs = []
    for cell in all_cells(asked):
        scores = {
            key: 0.5 + SPREAD * rng.standard_normal() + shifts.get((cell.arm, key), 0.0)
            for key in keys
        }
        params = _params(cell.arm) | dict(cell.hyper) | {"seed": cell.seed}
        key = f"{cell.arm} {cell.hyper} {cell.seed}"
        metrics = dict.fromkeys(("test/nll", "test/top1", "val/nll", "val/top1"), scores[KEY])
        tags = {"key": key, "weights_sha256": key, **CALIBRATED}
        runs.append(
            Run(key, "simulated", params, CALIBRATED_P | metrics | scores, tags, "", 359, 1.0)
        )
    return judge(asked, cells_of(asked, arms, runs, []), arms)


def _params(arm: str) -> dict[str, object]:
    return {"loss": arm, "data": "d", "model": "m", "optimizer.lr": 0.1, "seed": 0}


def is_called(judgement: Judgement, verdict: str, protocol: str) -> list[bool]:
    """Whether a claim gets this verdict: under a protocol, or altogether."""
    if protocol == "together":
        return [judgement.verdict == verdict]
    (under,) = (judged for judged in judgement.protocols if judged.protocol == protocol)
    return [under.verdict == verdict]
