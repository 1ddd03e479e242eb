"""The notes and tags that users gave to runs, as a report and xent-status show them."""

from collections import Counter
from collections.abc import Sequence

from xent_bench.config.annotations import NOTES, user_tags
from xent_bench.runs.begun import Unfinished
from xent_bench.runs.result import Run


def annotation_lines(runs: Sequence[Run | Unfinished]) -> list[str]:
    """List the notes and tags of the runs, each with the number of runs unless all have it."""
    notes = Counter(f"Notes: {run.tags[NOTES]}" for run in runs if run.tags.get(NOTES))
    tags = Counter(f"{name}={value}" for run in runs for name, value in user_tags(run.tags).items())
    listed = "; ".join(_counted(text, count, len(runs)) for text, count in tags.items())
    lines = [_counted(text, count, len(runs)) for text, count in notes.items()]
    return lines + [f"Tags: {listed}"] * bool(listed)


def _counted(text: str, count: int, total: int) -> str:
    return text if count == total else f"{text} ({count} of {total} runs)"
