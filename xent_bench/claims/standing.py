"""How a claim stands: its runs, its verdict if they are complete, and what was edited.

The verdict is also kept as `verdict.json` beside the runs, so that a list of claims need not judge
each of them anew.
"""

from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from xent_bench.claims.cells import Cells, Params, cells_of, compose_arms
from xent_bench.claims.declared import Edits, edits
from xent_bench.claims.judge import Judgement, judge
from xent_bench.claims.sweep import Asked
from xent_bench.runs.begun import load_unfinished
from xent_bench.runs.files import DAMAGED, RESULT, run_folders, write_json
from xent_bench.runs.reading import read_sealed
from xent_bench.runs.result import Run, load_runs

VERDICT = "verdict.json"
FIELDS = {
    **dict.fromkeys(("hash", "verdict", "published", "fair", "metric", "margin"), str),
    **dict.fromkeys(("hardware", "commit", "torch"), str),
    **dict.fromkeys(("runs", "seeds", "edits"), int),
    "seconds": float,
}


class Standing(NamedTuple):
    """A claim with the runs of its design, and its verdict; None while a run is missing."""

    asked: Asked
    cells: Cells
    judgement: Judgement | None
    edits: Edits

    @property
    def runs(self) -> list[Run]:
        """The finished runs of the design."""
        return list(self.cells.runs.values())


def stand(asked: Asked, folder: Path, added: Path | None) -> Standing:
    """Read the runs of a claim from the folder of its sweeps, and judge it if all have ended."""
    arms = compose_arms(asked, added)
    return stand_by(asked, folder, arms)


def stand_by(asked: Asked, folder: Path, arms: dict[str, Params]) -> Standing:
    """Judge a claim by the runs of a folder; `arms` are the parameters that each arm has."""
    runs = load_runs(folder) if folder.is_dir() and run_folders(folder, RESULT) else []
    begun = load_unfinished(folder) if folder.is_dir() else []
    cells = cells_of(asked, arms, runs, begun)
    judgement = None
    if cells.is_complete() and cells.runs:
        judgement = judge(asked, cells, arms)
    changed = edits(folder, asked.claim.decisive(asked.size), list(cells.runs.values()))
    return Standing(asked, cells, judgement, changed)


def keep(standing: Standing, folder: Path) -> None:
    """Write the verdict beside the runs, for a list of claims."""
    write_json(folder / VERDICT, record(standing))


def forget(folder: Path) -> None:
    """Remove the verdict that was kept: runs that it was made of are no longer there."""
    (folder / VERDICT).unlink(missing_ok=True)


def record(standing: Standing) -> dict[str, Any]:
    """The verdict in a few fields, of a claim that has one."""
    judgement = standing.judgement
    assert judgement is not None
    first = judgement.fair.parts[0]
    by = first.yardstick
    return {
        "hash": standing.asked.hash,
        "verdict": judgement.verdict,
        "published": judgement.published.verdict,
        "fair": judgement.fair.verdict,
        "metric": by.above.removesuffix(" %"),
        "margin": "none" if first.part.margin is None else by.margin(),
        "runs": len(standing.runs),
        "seeds": standing.asked.design.seeds,
        "seconds": sum(run.seconds for run in standing.runs),
        "edits": len(standing.edits.changes),
        **{tag: _of_most(standing.runs, tag) for tag in ("hardware", "commit", "torch")},
    }


def kept(folder: Path) -> dict[str, Any] | None:
    """Read the verdict that was kept; None where there is none, or a damaged one."""
    try:
        content = read_sealed(folder / VERDICT)
        whole = all(isinstance(content[key], kind) for key, kind in FIELDS.items())
    except DAMAGED:
        return None
    return content if whole else None


def _of_most(runs: list[Run], tag: str) -> str:
    """The value of a tag that most runs have, and how many have others."""
    counts = Counter(run.tags.get(tag, "not recorded") for run in runs)
    ((value, count), *others) = counts.most_common()
    return f"{value} ({count} of {len(runs)} runs)" if others else value
