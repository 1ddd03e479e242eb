"""A published claim as JSON for a script: its verdict, its parts and their numbers."""

from math import isfinite
from typing import Any

from xent_bench.claims.judge import Tested
from xent_bench.claims.standing import Standing, record
from xent_bench.report.claim_words import pairs


def json_record(standing: Standing) -> dict[str, Any]:
    """Everything about a claim for a script, in full precision; its verdict is None without one."""
    asked, judgement = standing.asked, standing.judgement
    claim = asked.claim
    about_claim = {
        "name": asked.name,
        "size": asked.size,
        "claim": claim.claim,
        "sources": [source.model_dump() for source in claim.sources],
        "missing": len(standing.cells.open()),  # runs without a result
    }
    edited = {
        "changes": standing.edits.changes,
        "runs_of_other_rules": standing.edits.other_runs,
    }
    if judgement is None:
        return (
            about_claim | {"hash": asked.hash, "verdict": None, "runs": len(standing.runs)} | edited
        )
    parts = {
        judged.protocol: [_part_record(tested) for tested in judged.parts]
        for judged in judgement.protocols
    }
    return about_claim | record(standing) | edited | {"parts": parts}


def _part_record(tested: Tested) -> dict[str, Any]:
    part, delta = tested.part, tested.difference
    numbers = {} if delta is None else {"difference": delta.mean, "half_width": delta.half_width}
    numbers |= {"p": tested.p, "p_tie": tested.p_tie, "p_beyond": tested.p_beyond}
    finite = {
        key: value if value is None or isfinite(value) else str(value)
        for key, value in numbers.items()
    }
    return {
        "arm": part.arm,
        "against": part.against,
        "expect": part.expect,
        "metric": tested.yardstick.key,
        "margin": part.margin,
        "pairs": pairs(tested),
        **finite,
        "equal_pairs": tested.equal_pairs,
        "verdict": tested.verdict,
        "part": tested.outcome,
    }
