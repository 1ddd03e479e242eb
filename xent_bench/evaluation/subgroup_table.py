"""The table of one run's subgroups: images, accuracy, NLL and ECE of each, with standard errors."""

from xent_bench.metrics.reported import OF_GROUPS, WORST_GROUP
from xent_bench.runs.result import Run
from xent_bench.tables import Table

HEADINGS = (
    *("n", "top1 %\n± SE", "nll\n± SE", "ece %\n± SE", "ece %\nby chance\nat most"),
    *("scaled\nece %\n± SE", "by chance\nat most"),
)


def subgroup_table(run: Run) -> Table | None:
    """Table with a row for each group that has scores; None for images without an attribute."""
    keys = [key.removeprefix(OF_GROUPS) for key in run.metrics if key.startswith(OF_GROUPS)]
    groups = [key.removesuffix("/n") for key in keys if key.endswith("/n")]
    if not groups:
        return None
    rows = [
        [
            group,
            f"{run.metrics[f'{OF_GROUPS}{group}/n']:,.0f}",
            _cell(run, "test", f"{group}/top1", 100),
            _cell(run, "test", f"{group}/nll", 1),
            _cell(run, "test", f"{group}/ece", 100),
            _by_chance(run, "test", group),
            _cell(run, "test_ts", f"{group}/ece", 100),
            _by_chance(run, "test_ts", group),
        ]
        for group in groups
    ]
    attribute = run.tags.get("subgroups", "subgroups").partition(":")[0]
    return Table(f"{run.name}: {attribute}", [attribute, *HEADINGS], rows, _notes(run))


def _cell(run: Run, prefix: str, key: str, scale: int) -> str:
    value = run.metrics.get(f"{prefix}_group/{key}")
    error = run.metrics.get(f"{prefix}_group_se/{key}")
    if value is None:
        return "-"
    decimals = 2 if scale == 100 else 3
    shown = f"{scale * value:.{decimals}f}"
    return f"{shown} ± {scale * error:.{decimals}f}" if error else shown


def _by_chance(run: Run, prefix: str, group: str) -> str:
    value = run.metrics.get(f"{prefix}_group_null/{group}/ece_high")
    return "-" if value is None else f"{100 * value:.2f}"


def _notes(run: Run) -> list[str]:
    notes = [
        f"{run.tags.get('subgroups', '')}. SE: standard error over the test images of the group. "
        "The ECE of few images is large by chance, so groups of other sizes cannot be compared by "
        "it: a calibrated net shows at most the number beside it (97.5 %)."
    ]
    least = run.metrics.get(f"test/{WORST_GROUP}")
    if least is not None:
        chance = run.metrics.get(f"test_null/{WORST_GROUP}", least)
        notes.append(
            f"Worst group: {run.tags.get('worst_group')}, {100 * least:.2f} %. The worst of "
            "several is bad by chance too: if the groups did not differ, it would be "
            f"{100 * chance:.2f} % on average."
        )
    return notes
