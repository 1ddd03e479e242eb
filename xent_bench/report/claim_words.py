"""A published claim in words and tables: what it says, how it was tested, and what follows."""

from collections.abc import Mapping, Sequence
from typing import Any

from xent_bench.claims.judge import TITLES, Judgement, Tested
from xent_bench.claims.schema import PROTOCOLS, Claim
from xent_bench.claims.standing import Standing, record
from xent_bench.claims.sweep import Asked, described
from xent_bench.runs.pace import duration
from xent_bench.tables import Table, joined, n_runs

COSTS = ("seeds", "runs", "time")
SIGNS = {"better": "better than", "worse": "worse than", "as_good": "as good as", "same": "same as"}
NEEDED = {
    "all_shown": "all of its parts are shown",
    "most_shown": "more than half of its parts are shown",
    "any_shown": "one of its parts is shown",
    "any_refuted": "one of its parts is refuted",
    "most_refuted": "more than half of its parts are refuted",
    "all_refuted": "all of its parts are refuted",
}
SHOWN_BY = {
    "better": "the verdict better shows it; worse, a tie or equal weights refute it",
    "worse": "the verdict worse shows it; better, a tie or equal weights refute it",
    "as_good": "a tie, equal weights or better show it; worse by more than the margin refutes it",
    "same": "equal weights in all pairs, bit for bit, show it; other weights in one pair refute it",
}
RATES = (
    "Of claims that are false at most 5 of 100 are called replicated under a protocol, and so at "
    "most 5 of 100 replicated only as published. Of claims that are true, by the margin at "
    "least, at most 5 of 100 are called not replicated."
)
SMALL = (
    "A small net on small images shows something about the mechanism of a claim, and nothing about "
    "the size of an effect on ImageNet."
)


def about(asked: Asked) -> list[str]:
    """The claim, its source and what it was shown on, a sentence each."""
    claim = asked.claim
    return [
        f"Claim: {claim.claim}",
        f"Source: {'; '.join(source.shown() for source in claim.sources)}.",
        f"Shown on: {claim.shown_on}.",
    ]


def verdict_sentence(judgement: Judgement) -> str:
    """The verdict, and those under both protocols."""
    return (
        f"Verdict: {judgement.verdict}. As published: {judgement.published.verdict}; fair: "
        f"{judgement.fair.verdict}."
    )


def rules_in_words(claim: Claim) -> list[str]:
    """The rules by which parts, protocols and the claim get their verdicts."""
    expected = dict.fromkeys(part.expect for part in claim.parts)
    rules = claim.rules
    lines = [f"A part '{sign.replace('_', ' ')}': {SHOWN_BY[sign]}." for sign in expected]
    lines.append(
        f"Replicated: {NEEDED[rules.replicated]}. Not replicated: {NEEDED[rules.not_replicated]}. "
        "Else inconclusive. The fair protocol decides."
    )
    if rules.only_as_published == "fair_not_replicated":
        lines.append("Only as published: replicated as published, not replicated when fair.")
    return lines


def parts_table(judgement: Judgement) -> Table:
    """Table of the parts, with the difference and the outcome under both protocols."""
    rows = [
        [_expected(tested), TITLES[judged.protocol], *_cells(tested)]
        for both in zip(*(judged.parts for judged in judgement.protocols), strict=True)
        for judged, tested in zip(judgement.protocols, both, strict=True)
    ]
    expectations = (f"{tested.part.says} ({_expected(tested)})" for tested in judgement.fair.parts)
    notes = [
        f"{'. '.join(expectations)}.",
        "Differences are of the first arm minus the second, paired by seed, ± 95 % over seeds, in "
        "points where the metric is a share. p values are corrected over the parts (Holm).",
    ]
    headings = ["expected", "protocol", "metric", "difference", "margin", "pairs", "verdict"]
    return Table("What was expected", [*headings, "part"], rows, notes, text=3)


def protocols_table(standing: Standing) -> Table:
    """Table of both protocols side by side: tuning, epoch, scaling, seeds and runs."""
    design, judgement = standing.asked.design, standing.judgement
    number = len(standing.asked.claim.arms) * design.seeds
    tuned = joined([f"{key} {_listed(values)}" for key, values in design.tuning.items()])
    once = joined([f"{key}={value}" for key, value in design.published.items()])
    of_parts = standing.asked.parts
    rows = [
        ["hyper-parameters", f"{once} for every arm", f"{tuned}, by {design.choose_by}"],
        ["chosen by", "nobody: one value", "the other seeds, for each seed"],
        ["epoch", "the last one", "the last one"],
        ["metric", *(_metrics([part.metric(key) for part in of_parts]) for key in PROTOCOLS)],
        ["seeds of an arm", str(design.seeds), str(design.seeds)],
        ["runs", str(number), str(standing.asked.number_of_runs)],
    ]
    if judgement is not None:
        chosen = ", ".join(row.trial.label for row in judgement.fair.comparison.rows)
        rows.append(["chosen", "-", chosen])
        rows.append(["verdict", judgement.published.verdict, judgement.fair.verdict])
    notes = [
        "The epoch with the best score on test, which some papers report, is not offered: test is "
        "read once, at the end."
    ]
    return Table("Both protocols", ["", *TITLES.values()], rows, notes, text=3)


def remarks(standing: Standing) -> list[str]:
    """Facts that a reader must know beside the verdict: failed runs, unfair tuning and rates."""
    lines = []
    cells = standing.cells
    if diverged := len(cells.unfinished):
        lines.append(
            f"{n_runs(diverged)} diverged: a trial with one is not chosen where another has none, "
            "and a part that lacks a pair for it is not judged."
        )
    if cells.strangers:
        lines.append(
            f"{n_runs(cells.strangers)} in the folder are not of this design, and do not count."
        )
    if standing.judgement is not None:
        for judged in standing.judgement.protocols:
            if judged.comparison.unranked:
                why = judged.comparison.unranked
                lines.append(f"{_capital(TITLES[judged.protocol])}: not judged, since {why}.")
    is_estimated = any(part.margin is not None for part in standing.asked.parts)
    rates = RATES if is_estimated else "Weights are compared bit for bit: nothing is estimated."
    return [*lines, f"What it can show: {standing.asked.claim.mechanism} {SMALL}", rates]


def edit_lines(standing: Standing) -> list[str]:
    """How the rules differ from those that were declared before the first run, if they do."""
    edits, today = standing.edits, standing.asked.hash
    lines = []
    if edits.changes:
        lines.append(
            f"EDITED after the first run was asked for: the rules were {edits.declared} and are "
            f"{today}: {'; '.join(edits.changes)}."
        )
    if edits.other_runs:
        lines.append(
            f"{n_runs(edits.other_runs)} of {len(standing.runs)} were trained under other rules "
            f"than {today}, or under none."
        )
    if not edits.declared and standing.runs:
        lines.append("No rules were declared before the first run, or their record was deleted.")
    return lines


def cost_sentence(standing: Standing) -> str:
    """The runs, their time, and what they were trained with."""
    fields = record(standing)
    return (
        f"{n_runs(fields['runs'])}, {fields['seeds']} seeds, {duration(fields['seconds'])} in sum; "
        f"{fields['hardware']}, torch {fields['torch']}, commit {fields['commit'][:10]}; rules "
        f"{fields['hash']}."
    )


def incomplete(standing: Standing, folder: str, again: str) -> str:
    """How many runs are missing, and what to type; there is no verdict on the way.

    `folder` and `again`: the folder of the runs and the command of the claim, as they are typed.
    """
    missing, number = len(standing.cells.open()), standing.asked.number_of_runs
    is_begun = len(standing.cells.absent) < number
    status = f"xent-status {folder} says what is missing, " if is_begun else ""
    return (
        f"{missing} of {n_runs(number)} have no result yet. There is no verdict on the way, since "
        f"a claim that is looked at until it is decided is decided too often. {status}{again} "
        "trains it."
    )


def plan(asked: Asked) -> list[str]:
    """The runs that a claim would train, and by which rules it would be judged."""
    parts = [
        f"Expected: {part.says} ({part.arm} {SIGNS[part.expect]} {part.against}"
        f"{'' if part.margin is None else f', margin {part.margin:g}'}; as published by "
        f"{part.published}, fair by {part.fair})."
        for part in asked.parts
    ]
    return [
        *about(asked),
        f"{described(asked)}.",
        *parts,
        *rules_in_words(asked.claim),
        f"Rules: {asked.hash}.",
    ]


def claims_table(rows: Sequence[tuple[str, str, Mapping[str, Any] | None]]) -> Table:
    """Table of all claims with the verdict so far; a row: name, today's hash, verdict if any."""
    cells = [[name, *_standing_cells(today, kept)] for name, today, kept in rows]
    notes = [
        "xent-claim NAME --show says what one claims and how it is tested; xent-claim NAME trains "
        "what is missing, judges, and writes a page with both protocols. The verdict is that of "
        "the fair one; margin: the largest difference of a tie, by the metric of the first part. "
        f"{SMALL}"
    ]
    return Table("Claims", ["claim", "verdict", *COSTS, "margin"], cells, notes, text=2)


def _standing_cells(today: str, kept: Mapping[str, Any] | None) -> list[str]:
    if kept is None:
        return ["not run", *"----"]
    edited = " (rules edited)" if kept["hash"] != today or kept["edits"] else ""
    margin = "none" if kept["margin"] == "none" else f"{kept['margin']}, {kept['metric']}"
    costs = str(kept["seeds"]), str(kept["runs"]), duration(kept["seconds"])
    return [f"{kept['verdict']}{edited}", *costs, margin]


def _expected(tested: Tested) -> str:
    part = tested.part
    return f"{part.arm} {SIGNS[part.expect]} {part.against}"


def difference_shown(tested: Tested) -> str:
    """The measured difference, ± 95 % over seeds, without its unit: '-4.9±0.3'; '-' without a pair.

    There is no ± for a single pair.
    """
    by, delta = tested.yardstick, tested.difference
    if delta is None:
        return "-"
    half = "" if delta.half_width is None else f"±{by.shown(delta.half_width)}"
    return f"{by.shown(delta.mean, '+')}{half}"


def _cells(tested: Tested) -> list[str]:
    by = tested.yardstick
    margin = "-" if tested.part.margin is None else by.margin()
    number = str(pairs(tested))
    return [by.key, difference_shown(tested), margin, number, tested.verdict, tested.outcome]


def pairs(tested: Tested) -> int:
    """The number of pairs of runs by which a part was tested."""
    return 0 if tested.difference is None else tested.difference.n


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _metrics(keys: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(keys))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
