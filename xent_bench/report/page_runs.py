"""The runs of a comparison on the page: where each of them lies, and what trained it."""

import os
import re
import shlex
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, urlsplit, urlunsplit

from xent_bench.comparison.compare import Comparison
from xent_bench.comparison.contrasts import OPEN
from xent_bench.comparison.trials import seed_of
from xent_bench.runs.files import RUN_ID
from xent_bench.runs.result import Run

StoreOf = Callable[[Run], str | None]


class Surroundings(NamedTuple):
    """The folder that a page is written to, and the MLflow store of each run, for its links.

    `folder` is None for a page that is not kept in a folder, `store_of` returns the http address
    of a store that answers, and None for any other.
    """

    folder: Path | None = None
    store_of: StoreOf = lambda _: None


class RunRow(NamedTuple):
    """One run in the table of runs; a text is empty where there is nothing to show."""

    label: str
    seed: str
    in_means: str  # yes or no
    folder: str
    folder_link: str  # only where the run lies beside the page or below it
    mlflow: str
    mlflow_link: str
    command: str
    anchor: str  # only of the first run of a loss


def slug(text: str) -> str:
    """A text as an anchor: lower-case letters, digits and hyphens; 'part' if none is left."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "part"


def anchors(titles: Iterable[str]) -> list[str]:
    """An anchor for each title, which stays the same as long as the titles before it do."""
    taken: dict[str, int] = {}
    ids = []
    for title in titles:
        base = slug(title)
        taken[base] = taken.get(base, 0) + 1
        ids.append(base if taken[base] == 1 else f"{base}--{taken[base]}")
    return ids


def run_rows(comparison: Comparison, anchor: str, around: Surroundings) -> list[RunRow]:
    """All runs of a comparison, those that the means are taken over first within their loss."""
    reported = {id(run) for row in comparison.rows for run in row.runs}
    order = {row.label: place for place, row in enumerate(comparison.rows)}
    runs = sorted(
        (run for run in comparison.runs if run.command),
        key=lambda run: (order.get(run.params["loss"], len(order)), id(run) not in reported),
    )
    labels: set[str] = set()
    rows = []
    for run in runs:
        label = str(run.params["loss"])
        in_means = "yes" if id(run) in reported else "no"
        run_anchor = "" if label in labels else loss_anchor(anchor, comparison, label)
        labels.add(label)
        shown, link = _folder(run, around.folder)
        rows.append(
            RunRow(
                label,
                str(seed_of(run)),
                in_means,
                shown,
                link,
                run.tags.get(RUN_ID, ""),
                _mlflow_link(run, around.store_of(run)),
                run.command,
                run_anchor,
            )
        )
    return rows


def loss_anchor(anchor: str, comparison: Comparison, label: str) -> str:
    """The anchor of a loss's first run: by its place too, since slugs of labels may be equal."""
    place = [row.label for row in comparison.rows].index(label) + 1
    return f"{anchor}-runs-{place}-{slug(label)}"


def links_to_runs(comparison: Comparison, anchor: str) -> dict[str, str]:
    """Anchor of the first run of each loss that has one, by the loss's label."""
    with_runs = {str(run.params["loss"]) for run in comparison.runs if run.command}
    return {
        row.label: loss_anchor(anchor, comparison, row.label)
        for row in comparison.rows
        if row.label in with_runs
    }


def _folder(run: Run, page_folder: Path | None) -> tuple[str, str]:
    """A run's folder as text, seen from the page where that has a folder, and a link to it."""
    if run.folder is None:
        return "", ""
    if page_folder is None:
        return str(run.folder), ""
    relative = os.path.relpath(run.folder, page_folder)
    if relative.startswith(os.pardir):
        return str(run.folder), ""
    return relative, f"./{quote(relative.replace(os.sep, '/'))}/"


def _mlflow_link(run: Run, store: str | None) -> str:
    """The address of a run in the UI of its store, without a login; empty without either."""
    run_id = run.tags.get(RUN_ID, "")
    if not run_id or store is None:
        return ""
    parts = urlsplit(store)
    if parts.scheme not in ("http", "https"):
        return ""
    host = parts.netloc.rpartition("@")[2]
    base = urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))
    return f"{base}/#/runs/{quote(run_id, safe='')}"


def next_commands(comparison: Comparison, *, is_alone: bool) -> list[tuple[str, str]]:
    """Commands to type next, each with its reason; none for runs that lie in no folder.

    `is_alone`: the page has this comparison alone. Only then is the best run offered, which
    xent-predict and xent-export choose within a single setting.
    """
    folders = {run.folder.parent for run in comparison.runs if run.folder is not None}
    if len(folders) != 1:
        return []
    (folder,) = folders
    place = shlex.quote(str(folder))
    commands = []
    if any(
        contrast.verdict == OPEN and contrast.yardstick.key == comparison.options.primary
        for contrast in comparison.contrasts
    ):
        commands.append(("How many seeds a difference needs", f"xent-report {place} --power 0.3"))
    if not is_alone:
        return commands
    return [
        *commands,
        (
            "Calibrated predictions of the best run for images of yours",
            f"xent-predict {place} my_images/",
        ),
        (
            "The best run as one file, from pixels to calibrated probabilities",
            f"xent-export {place} --to onnx exported/",
        ),
    ]
