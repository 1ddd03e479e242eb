"""The rules of a claim as they stood before its first run, and what was edited since.

They are kept beside the runs, in `claim.json`, before a run is trained, and each run has their hash
as a tag. Rules that are edited after results are known can be made to fit them: so every edit is
printed, with the number of runs that were trained under other rules.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from xent_bench.claims.schema import hash_of
from xent_bench.claims.sweep import RULES
from xent_bench.failures import DataError
from xent_bench.runs.files import BEGUN, DAMAGED, RESULT, run_folders, write_json
from xent_bench.runs.reading import read_sealed
from xent_bench.runs.result import Run

DECLARED = "claim.json"
SHOWN = 60  # characters of an edited value
Decisive: TypeAlias = dict[str, Any]


class Edits(NamedTuple):
    """How the rules differ from those that were declared before the first run."""

    declared: str  # the hash of the first rules; empty if none were declared
    changes: list[str]  # 'parts.0.margin: 0.5 -> 1.0'
    other_runs: int  # that were trained under other rules than today's, or under none

    def __bool__(self) -> bool:
        """Whether a verdict by today's rules needs a word of warning."""
        return bool(self.changes) or self.other_runs > 0


def declare(folder: Path, rules: Decisive) -> None:
    """Keep the rules beside the runs, unless they are those that were kept last."""
    versions = declared_rules(folder)
    if not versions or hash_of(versions[-1]) != hash_of(rules):
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / DECLARED, {"versions": [*versions, rules]})


def withdraw(folder: Path) -> None:
    """Remove the rules where no run was begun: a sweep that was refused leaves nothing behind."""
    if run_folders(folder, BEGUN, RESULT):
        return
    (folder / DECLARED).unlink(missing_ok=True)
    for emptied in (folder, folder.parent):
        if emptied.is_dir() and not any(emptied.iterdir()):
            emptied.rmdir()


def declared_rules(folder: Path) -> list[Decisive]:
    """The rules that were declared, the first ones first; none if nothing was declared.

    A DataError if the record is damaged.
    """
    file = folder / DECLARED
    try:
        versions = read_sealed(file)["versions"]
        if not isinstance(versions, list) or not all(isinstance(one, dict) for one in versions):
            raise ValueError("expected a list of rules")
    except FileNotFoundError:
        return []
    except DAMAGED as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(
            f"cannot read {file}, which holds the rules of before the first run; delete it to "
            f"declare those of today, which is then said: {reason}"
        ) from error
    return versions


def edits(folder: Path, rules: Decisive, runs: Sequence[Run]) -> Edits:
    """How today's rules differ from the declared ones, and how many runs have other ones."""
    versions = declared_rules(folder)
    today = hash_of(rules)
    others = sum(run.tags.get(RULES) != today for run in runs)
    if not versions:
        return Edits("", [], others)
    return Edits(hash_of(versions[0]), list(_changes(versions[0], rules)), others)


def _changes(before: Any, after: Any, key: str = "") -> Iterator[str]:
    """Each value that differs, by its key; a list of another length is one value."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in dict.fromkeys([*before, *after]):
            place = f"{key}.{name}" if key else str(name)
            yield from _changes(before.get(name), after.get(name), place)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, values in enumerate(zip(before, after, strict=True)):
            yield from _changes(*values, f"{key}.{number}")
    elif before != after:
        yield f"{key}: {_shown(before)} -> {_shown(after)}"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."
