"""Runs side by side: which of them make a row, and what the row says. Prints nothing."""

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import Any, NamedTuple

from xent_bench.runs import Run
from xent_bench.stats import Estimate, estimate

VERDICT = "_verdict"  # ends the name of a tag
CONTROL = ("ce", "sparse_ce")  # one loss, two formats of label: equal, or the harness is broken


class Control(NamedTuple):
    """Pairs of ce and sparse_ce runs that differ in nothing else, and how many of them ended with
    the same weights, bit for bit.
    """

    equal: int
    pairs: int


class Row(NamedTuple):
    """One loss, as configured, over its seeds."""

    label: str
    loss: str
    n: int
    estimates: dict[str, Estimate]
    verdicts: dict[str, str]  # on the calibration, by prefix: that of most of these runs
    scaled_map: str

    @property
    def at_bound(self) -> int:
        """How many of these runs had no best temperature within the bounds."""
        return round(self.n * self.estimates["test_ts/temperature_at_bound"].mean)


class Comparison(NamedTuple):
    """The runs of one experiment on one data set with one model."""

    experiment: str
    data: str
    model: str
    rows: list[Row]
    control: Control
    provenance: str


def compare(runs: Sequence[Run]) -> list[Comparison]:
    """A comparison for each experiment, data set and model, best NLL after scaling first."""
    ordered = sorted(runs, key=_setting)
    return [_comparison(*setting[:3], list(group)) for setting, group in groupby(ordered, _setting)]


def _setting(run: Run) -> tuple[str, str, str, str]:
    """What one comparison is about; other images are other data, whatever they are called."""
    sha256 = run.tags.get("data_sha256", "")
    return run.experiment, run.params["data"], run.params["model"], sha256


def _comparison(experiment: str, data: str, model: str, runs: list[Run]) -> Comparison:
    cells: dict[str, list[Run]] = {}
    for run in runs:
        cells.setdefault(_label(run, runs), []).append(run)
    rows = [_row(label, cell) for label, cell in cells.items()]
    rows.sort(key=lambda row: row.estimates["test_ts/nll"].mean)
    return Comparison(experiment, data, model, rows, _control(runs), _provenance(runs))


def _label(run: Run, runs: list[Run]) -> str:
    """The loss, with whatever else differs between runs of this loss or apart from the loss."""
    loss = run.params["loss"]
    varied = [
        f"{key.removeprefix('loss.')}={value}"
        for key, value in run.params.items()
        if key not in ("loss", "seed") and _varies(key, loss, runs)
    ]
    return " ".join([loss, *varied])


def _varies(key: str, loss: str, runs: list[Run]) -> bool:
    peers = [run for run in runs if run.params["loss"] == loss or not key.startswith("loss.")]
    return len({str(run.params.get(key)) for run in peers}) > 1


def _row(label: str, cell: list[Run]) -> Row:
    keys = [key for key in cell[0].metrics if all(key in run.metrics for run in cell)]
    estimates = {key: estimate([run.metrics[key] for run in cell]) for key in keys}
    n = len(cell)
    found: dict[str, list[str]] = {}
    for run in cell:
        for tag in run.tags:
            if tag.endswith(VERDICT):
                found.setdefault(tag.removesuffix(VERDICT), []).append(run.tags[tag])
    verdicts = {prefix: _majority(words) for prefix, words in found.items() if len(words) == n}
    scaled_map = cell[0].tags.get("scaled_map", "softmax(z / T)")
    return Row(label, cell[0].params["loss"], n, estimates, verdicts, scaled_map)


def _majority(words: Sequence[str]) -> str:
    """What more than half of the runs say, if they do."""
    word, count = Counter(words).most_common(1)[0]
    return word if 2 * count > len(words) else "undecided"


def _control(runs: list[Run]) -> Control:
    ended: dict[str, dict[str, str]] = {loss: {} for loss in CONTROL}
    for run in runs:
        if run.params["loss"] in CONTROL:
            pair = str(sorted((k, str(v)) for k, v in run.params.items() if k != "loss"))
            ended[run.params["loss"]][pair] = run.tags["weights_sha256"]
    ce, sparse_ce = (ended[loss] for loss in CONTROL)
    pairs = ce.keys() & sparse_ce.keys()
    return Control(sum(ce[pair] == sparse_ce[pair] for pair in pairs), len(pairs))


def _provenance(runs: list[Run]) -> str:
    """Where the numbers come from; of several commits, versions or machines, all."""

    def named(tag: str) -> str:
        return " and ".join(sorted({run.tags.get(tag, "unknown") for run in runs}))

    commits = {run.tags.get("commit", "unknown")[:10] for run in runs}
    dirty = any(run.tags.get("dirty") == "true" for run in runs)
    sizes = {f"{run.n_test:,}" for run in runs}
    return (
        f"{len(runs)} runs, {' and '.join(sorted(sizes))} test images; {named('hardware')}; "
        f"torch {named('torch')}; commit {' and '.join(sorted(commits))}"
        f"{' with uncommitted changes' if dirty else ''}."
    )


def flat(comparison: Comparison) -> list[dict[str, Any]]:
    """Rows as records, in full precision: what a CSV file or a data frame wants."""
    return [
        {"experiment": comparison.experiment, "data": comparison.data, "model": comparison.model}
        | {"loss": row.label, "n": row.n}
        | {
            column: value
            for key, found in row.estimates.items()
            for column, value in ((key, found.mean), (f"{key}/half_width", found.half_width))
        }
        | {f"{prefix}{VERDICT}": word for prefix, word in row.verdicts.items()}
        for row in comparison.rows
    ]
