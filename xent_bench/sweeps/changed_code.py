"""Runs that are done, of a loss, net, optimizer or schedule of the user's whose code was edited.

A run's key holds no code: the same command finds such a run done, and trains nothing.
"""

from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from itertools import islice
from pathlib import Path

from xent_bench.config.code_hash import code_of, digest_of
from xent_bench.runs.files import RESULT
from xent_bench.runs.mixtures import CODE
from xent_bench.runs.result import load_run
from xent_bench.tables import n_runs

MOST = 100  # results that are read: 60 ms


def changed_since(folders: Iterable[Path]) -> list[str]:
    """Say of the runs in these folders whose code of the user's own is another one by now.

    Of more than MOST folders the first ones are read, and a count is then 'at least' so many.
    Nothing is imported: sources are read.
    """
    changed: dict[tuple[str, str], list[str]] = defaultdict(list)
    rest = iter(folders)
    for folder in islice(rest, MOST):
        with suppress(ValueError):  # a damaged result is for a report to refuse
            run = load_run(folder / RESULT)
            for group, word in CODE.items():
                target = str(run.params.get(group))
                then = run.tags.get(f"{group}_sha256")
                if then and _is_own(target) and _hash_now(target) not in (None, then):
                    changed[word, target].append(run.name)
    least = "at least " if next(rest, None) is not None else ""
    return [
        f"{least}{n_runs(len(names))} done before with other code of {word} {target}, or of a "
        f"module that it imports ({names[0]}{', for one' * (len(names) > 1)}): nothing is trained "
        "again; to do so: xent-status --remove FOLDER, then this command"
        for (word, target), names in changed.items()
    ]


def _is_own(target: str) -> bool:
    return "." in target and not target.startswith("xent_bench.")


def _hash_now(target: str) -> str | None:
    """Hash of the code as it is; None where there is no such module."""
    try:
        return digest_of(code_of(target))
    except (StopIteration, SyntaxError, OSError):
        return None
