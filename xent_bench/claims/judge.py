"""Verdicts on a claim, under the published and under the fair protocol.

Each part of the claim is a comparison of two arms, paired by seed, by the statistics of a report:
Student's t for a difference, two one-sided tests for a tie. The p values of a protocol are
corrected over the parts of the claim (Holm), for differences, ties and margins apart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple, TypeAlias

from xent_bench.claims.cells import Cells, Params, has_diverged
from xent_bench.claims.schema import PROTOCOLS, Part, Protocol, Rules
from xent_bench.claims.sweep import Asked
from xent_bench.claims.yardstick import yardstick_of
from xent_bench.comparison.compare import Comparison, Options, compare
from xent_bench.comparison.contrasts import Field, Pairs, all_same_weights, verdict_of
from xent_bench.comparison.stats import LEVEL, Difference, difference, holm, widest
from xent_bench.comparison.yardsticks import YARDSTICKS, Yardstick
from xent_bench.failures import DataError
from xent_bench.runs.begun import Unfinished
from xent_bench.runs.result import Run

Outcome: TypeAlias = Literal["shown", "refuted", "open"]
REPLICATED, NOT_REPLICATED, INCONCLUSIVE = "replicated", "not replicated", "inconclusive"
ONLY_AS_PUBLISHED = "only as published"
TITLES: dict[Protocol, str] = {"published": "as published", "fair": "fair"}


class Tested(NamedTuple):
    """One part of a claim, as the runs of a protocol decide it; p values are corrected (Holm)."""

    part: Part
    yardstick: Yardstick
    difference: Difference | None  # of the arm minus the other one; None without a pair
    p: float | None  # of no difference
    p_tie: float | None  # of a difference at least as large as the margin
    p_beyond: float | None  # of an arm that is worse by no more than the margin
    equal_pairs: int  # pairs that ended with the same weights, bit for bit
    verdict: str  # better, worse, tie within D, same, inconclusive or not judged
    outcome: Outcome  # of the part


class Judged(NamedTuple):
    """A claim under one protocol."""

    protocol: Protocol
    comparison: Comparison  # of the arms, as a report makes it
    parts: list[Tested]
    verdict: str  # replicated, not replicated or inconclusive


class Judgement(NamedTuple):
    """The verdict on a claim, with that of each protocol."""

    published: Judged
    fair: Judged
    verdict: str

    @property
    def protocols(self) -> tuple[Judged, Judged]:
        """Both protocols, the published one first."""
        return self.published, self.fair


def judge(asked: Asked, cells: Cells, arms: Mapping[str, Params]) -> Judgement:
    """Judge a claim whose design is complete. DataError where its runs have different images."""
    published, fair = (_under(protocol, asked, cells, arms) for protocol in PROTOCOLS)
    return Judgement(published, fair, overall(asked.claim.rules, published.verdict, fair.verdict))


def overall(rules: Rules, published: str, fair: str) -> str:
    """The verdict on a claim, by its verdicts under both protocols: the fair one decides."""
    is_paper_only = rules.only_as_published == "fair_not_replicated" and published == REPLICATED
    return ONLY_AS_PUBLISHED if fair == NOT_REPLICATED and is_paper_only else fair


def verdict_by(rules: Rules, outcomes: Sequence[Outcome]) -> str:
    """The verdict of a protocol by the outcomes of its parts."""
    needed = {"all": len(outcomes), "most": len(outcomes) // 2 + 1, "any": 1}
    if outcomes.count("shown") >= needed[rules.replicated.partition("_")[0]]:
        return REPLICATED
    if outcomes.count("refuted") >= needed[rules.not_replicated.partition("_")[0]]:
        return NOT_REPLICATED
    return INCONCLUSIVE


def tested_parts(
    parts: Sequence[Part], field: Field, protocol: Protocol, seeds: int
) -> list[Tested]:
    """Test each part by the runs of its two arms, and correct over the parts (Holm).

    A part that lacks a pair of the `seeds` is shown and not judged: its runs diverged, or have no
    such metric, and those that are left are the ones that went well.
    """
    yardsticks = [yardstick_of(part.metric(protocol), part.margin) for part in parts]
    pairs = [
        field.paired(part.arm, part.against, by.key)
        if part.arm in field.runs and part.against in field.runs
        else []
        for part, by in zip(parts, yardsticks, strict=True)
    ]
    same = list(map(all_same_weights, pairs))
    deltas = [
        field.difference(pair, by) if pair else None
        for pair, by in zip(pairs, yardsticks, strict=True)
    ]
    tested = [None if is_same else delta for delta, is_same in zip(deltas, same, strict=True)]
    ps = holm([None if delta is None else delta.p for delta in tested])
    ties = holm([None if delta is None else delta.p_tie for delta in tested])
    beyond = holm(
        [
            None if delta is None or part.expect != "as_good" else _p_beyond(field, pair, by)
            for part, pair, by, delta in zip(parts, pairs, yardsticks, tested, strict=True)
        ]
    )
    results = []
    for place, (part, by, delta) in enumerate(zip(parts, yardsticks, deltas, strict=True)):
        is_whole = len(pairs[place]) == seeds
        verdict = _verdict(same[place], delta if is_whole else None, ps[place], ties[place], by)
        p_beyond = beyond[place]
        outcome = _outcome(part, verdict, is_beyond=p_beyond is not None and p_beyond < LEVEL)
        equal = sum(all_same_weights([pair]) for pair in pairs[place])
        results.append(
            Tested(part, by, delta, ps[place], ties[place], p_beyond, equal, verdict, outcome)
        )
    return results


def _under(protocol: Protocol, asked: Asked, cells: Cells, arms: Mapping[str, Params]) -> Judged:
    runs, unfinished = _of_protocol(protocol, asked, cells, arms)
    comparisons = compare(runs, unfinished, _options(asked, protocol))
    if len(comparisons) != 1:
        settings = "; ".join(comparison.setting for comparison in comparisons)
        raise DataError(
            f"{asked.name}: expected runs on the same images, got {len(comparisons)} settings: "
            f"{settings}; remove the runs of one of them"
        )
    parts = tested_parts(asked.parts, comparisons[0].field, protocol, asked.design.seeds)
    verdict = verdict_by(asked.claim.rules, [tested.outcome for tested in parts])
    return Judged(protocol, comparisons[0], parts, verdict)


def _of_protocol(
    protocol: Protocol, asked: Asked, cells: Cells, arms: Mapping[str, Params]
) -> tuple[list[Run], list[Unfinished]]:
    """The runs of a protocol, named after their arm where a report has the loss.

    Keys in which arms differ on purpose, as augmentation.mixup, are no part of the setting, in
    which a report expects all runs to agree; a loss keeps its own keys.
    """
    points = asked.design.of_protocol(protocol)
    differing = {
        key
        for params in arms.values()
        for key, value in params.items()
        if not key.startswith("loss.") and any(value != other.get(key) for other in arms.values())
    }
    experiment = f"{asked.name}, {TITLES[protocol]}"

    def params_of(arm: str, params: Params) -> dict[str, Any]:
        return {key: params[key] for key in params if key not in differing} | {"loss": arm}

    runs = [
        replace(run, experiment=experiment, params=params_of(cell.arm, run.params))
        for cell, run in cells.runs.items()
        if cell.hyper in points
    ]
    unfinished = [
        replace(run, experiment=experiment, params=params_of(cell.arm, run.params))
        for cell, run in cells.unfinished.items()
        if cell.hyper in points and has_diverged(run)
    ]
    return runs, unfinished


def _options(asked: Asked, protocol: Protocol) -> Options:
    """The options of the report: the claim's metrics are judged, with its margins."""
    metrics = {part.metric(protocol): part.margin for part in asked.parts}
    further = [key for key in metrics if key not in {by.key for by in YARDSTICKS}]
    keys = [*(by.key for by in YARDSTICKS), *further]
    primary, *_ = metrics
    return Options(
        baseline=asked.parts[0].against,
        yardsticks=tuple(yardstick_of(key, metrics.get(key)) for key in keys),
        choose_by=asked.design.choose_by,
        primary=primary,
        is_primary_asked=True,
        compared=tuple(metrics),
    )


def _p_beyond(field: Field, pairs: Pairs, by: Yardstick) -> float | None:
    """p of the test that the arm is worse by no more than the margin; None without a spread.

    It is the paired test, two-sided, of the arm against the other one made worse by the margin, and
    1 where the mean is within the margin.
    """
    ours = [run.metrics[by.key] for run, _ in pairs]
    theirs = [other.metrics[by.key] - by.better * by.tie for _, other in pairs]
    delta = difference(ours, theirs, by.tie, by.better, widening=widest(len(pairs), field.rivals))
    return delta.p if delta.p is None or by.better * delta.mean < 0 else 1.0


def _verdict(
    same: bool, delta: Difference | None, p: float | None, p_tie: float | None, by: Yardstick
) -> str:
    if delta is None:
        return "not judged"
    return "same" if same else verdict_of(delta, p, p_tie, by)


def _outcome(part: Part, verdict: str, *, is_beyond: bool) -> Outcome:
    """Whether a verdict shows what the part expects, refutes it, or leaves it open."""
    equal = verdict == "same" or verdict.startswith("tie")
    decided = equal or verdict in ("better", "worse")
    if not decided and not (part.expect == "same" and verdict == "inconclusive"):
        return "open"
    if part.expect == "same":
        return "shown" if verdict == "same" else "refuted"
    if part.expect == "as_good":
        return "shown" if equal or verdict == "better" else "refuted" if is_beyond else "open"
    return "shown" if verdict == part.expect else "refuted"
