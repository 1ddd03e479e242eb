"""The comparison that a run is part of: what the report concludes from the runs beside it."""

from pathlib import Path

from xent_bench.comparison.compare import compare
from xent_bench.report.conclusion import conclusion
from xent_bench.runs.begun import load_unfinished
from xent_bench.runs.files import RESULT
from xent_bench.runs.result import Run, load_run
from xent_bench.runs.sweep_record import RECORD


def compared_with(folder: Path, run: Run) -> str:
    """The conclusion over the finished runs of the experiment whose folders lie beside a run's.

    Empty where no other loss is among them, or where they cannot be compared.
    """
    beside = folder.resolve().parent
    try:
        runs = [load_run(file) for file in sorted(beside.glob(f"*/{RESULT}"))]
        # without the record of a sweep the folder above may be any folder, with anything in it
        unfinished = load_unfinished(beside) if (beside / RECORD).is_file() else []
        comparisons = compare(
            [other for other in runs if other.experiment == run.experiment],
            [other for other in unfinished if other.experiment == run.experiment],
        )
    except (ValueError, OSError):  # a sibling that is damaged is no fault of this run
        return ""
    for comparison in comparisons:
        keys = {other.tags.get("key") for other in comparison.runs}
        if run.tags.get("key") in keys and sum(row.n > 0 for row in comparison.rows) > 1:
            return f"The report on the finished runs beside it concludes: {conclusion(comparison)}"
    return ""
