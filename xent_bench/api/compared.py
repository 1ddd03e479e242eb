"""The report of xent-report in Python: which loss, or which model, is better."""

import html
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from xent_bench.api.nets import members_of
from xent_bench.api.run_frames import PathOrStore
from xent_bench.comparison.compare import Comparison, Options
from xent_bench.comparison.compare import compare as compare_runs
from xent_bench.comparison.evidence import Evidence, load_evidence
from xent_bench.comparison.models import ComparedModels, compare_models
from xent_bench.comparison.yardsticks import (
    METRICS,
    PRIMARY,
    YARDSTICKS,
    Yardstick,
    with_ties,
)
from xent_bench.failures import UsageError
from xent_bench.report.comparison_tables import differences, levels
from xent_bench.report.conclusion import conclusion
from xent_bench.report.csv_records import losses
from xent_bench.report.model_tables import model_tables
from xent_bench.report.places import Place, folder_finder, load_places
from xent_bench.runs.given_outputs import LinkLike
from xent_bench.tables import Best, Table

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from xent_bench.api.nets import Nets, Outputs


class Report:
    """The comparisons of xent-report: one for each setting, that is data set and net.

    `len(report)` is their number, and `report[0]` a Report of the first alone. In a notebook a
    Report shows its tables and its conclusion.

    comparisons: the report's own objects, with rows, contrasts, verdicts and leaders.
    """

    def __init__(
        self,
        comparisons: Sequence[Comparison],
        places: Sequence[Place] = (),
        models: ComparedModels | None = None,
    ) -> None:
        """Keep the comparisons, with the places of their runs, or with the models compared."""
        self.comparisons = tuple(comparisons)
        self._places = tuple(places)
        self._models = models

    @property
    def conclusion(self) -> str:
        """One paragraph for each setting: which losses are better, worse, tied or undecided."""
        return "\n\n".join(conclusion(comparison) for comparison in self.comparisons)

    def frame(self) -> "pd.DataFrame":
        """One row for each setting and loss, in full precision, as `xent-report --format csv`.

        `test/top1` and the like are means over seeds, `test/top1/half_width` half of their 95 %
        interval. `test/top1/difference` and the columns that begin so compare with the baseline:
        `.../difference/half_width`, `.../p_holm`, `.../verdict`.
        """
        import pandas as pd

        return pd.DataFrame(
            [record for comparison in self.comparisons for record in losses(comparison)]
        )

    def figure(self) -> "Figure":
        """Draw scores with intervals over seeds, a line of panels for each setting."""
        from xent_bench.report.plots import picture

        return picture(self.comparisons)

    def forest(self) -> "Figure":
        """Draw the forest plot: differences to the baseline, with intervals and tie margins.

        ValueError if there are several settings (draw that of `report[0]`), or no difference.
        """
        from xent_bench.report.plot_forest import forest_figure

        if len(self) != 1:
            raise ValueError(
                f"expected one setting, got {len(self)}; draw each: report[0].forest()"
            )
        with tempfile.TemporaryDirectory() as folder:
            return forest_figure(self.comparisons[0], self._evidence(Path(folder))[0])

    def to_html(self, file: "str | PathLike[str] | None" = None) -> str:
        """Return the report as one page of HTML with charts, and write it to `file`, if given."""
        from xent_bench.report.page import page
        from xent_bench.runs.whole_files import write_whole

        with tempfile.TemporaryDirectory() as folder:
            text = page(self.comparisons, evidences=self._evidence(Path(folder)))
        if file is not None:
            write_whole(Path(file), text)
        return text

    def __len__(self) -> int:
        """Return the number of settings."""
        return len(self.comparisons)

    def __getitem__(self, place: int) -> "Report":
        """Return the report of one setting alone."""
        return Report([self.comparisons[place]], self._places, self._models)

    def __iter__(self) -> "Iterator[Report]":
        """Yield the report of each setting."""
        return (self[place] for place in range(len(self)))

    def __repr__(self) -> str:
        """Return the conclusion."""
        return f"<xent_bench.Report: {self.conclusion}>"

    def _repr_html_(self) -> str:
        """Return the tables and the conclusion for a notebook."""
        parts = []
        for comparison in self.comparisons:
            parts += [_table_html(table) for table in self._tables(comparison)]
            parts.append(f"<p>{html.escape(conclusion(comparison))}</p>")
        return "\n".join(parts)

    def _tables(self, comparison: Comparison) -> list[Table]:
        if self._models is not None:
            return model_tables(self._models)
        tables = [levels(comparison)]
        return [*tables, differences(comparison)] if comparison.contrasts else tables

    def _evidence(self, folder: Path) -> list[Evidence]:
        """Load what charts need from the runs' folders, or from their store into `folder`."""
        if self._models is not None:
            return [self._models.evidence]
        find_folder = folder_finder(self._places, folder)
        return [load_evidence(comparison, find_folder) for comparison in self.comparisons]


def compare(
    what: "PathOrStore | Sequence[PathOrStore] | Mapping[str, Nets]",
    target: "Outputs | None" = None,
    *,
    calib: "Mapping[str, Nets] | None" = None,
    calib_target: "Outputs | None" = None,
    link: "LinkLike | Mapping[str, LinkLike]" = "softmax",
    baseline: str | None = None,
    primary: str | None = None,
    ties: Mapping[str, float] | None = None,
    experiment: str | None = None,
) -> Report:
    """Compare the losses of runs, or models by their outputs.

        xb.compare("runs")
        xb.compare({"mine": {0: logits0, 1: logits1}, "theirs": [logits2, logits3]}, target)

    `what` is a folder of runs, an MLflow store (sqlite:///mlflow.db, http://...), or a list of
    these. Or it maps the name of each model to the outputs of its nets on the same test set, whose
    labels are `target`: by seed, or in a list, for seeds 0, 1, and so on. Arguments are as those of
    `xb.score`; `link` may map each model to its own. Nets with the same seed are paired. With one
    net a model, intervals are over examples only, and there is no verdict.

    `calib` and `calib_target` are outputs of the same nets on held-out examples: they fit a
    temperature. Without them models are compared as trained.

    `baseline`: the loss (ce) or the model (the first one) that others are compared with. `primary`:
    the metric that decides (test_ts/nll, or test/nll without calib). `ties`: the largest difference
    of a tie by metric, in the unit shown, as in {"top1": 0.3}. `experiment`: compare only its runs.

    ValueError for a place without a finished run, and for outputs that do not fit.
    """
    options = Options(
        baseline,
        _yardsticks(ties),
        primary=_checked_primary(primary),
        is_primary_asked=primary is not None,
    )
    if isinstance(what, Mapping):
        if target is None:
            raise ValueError("target: expected the labels of the outputs, got none")
        if (calib is None) != (calib_target is None):
            raise ValueError("expected calib and calib_target together, got one of them")
        members = members_of(what, target, calib, calib_target, link)
        with _named_by_python():
            compared = compare_models(members, options)
        return Report([compared.comparison], models=compared)
    if any(given is not None for given in (target, calib, calib_target)):
        raise ValueError(
            "target: expected none with runs, which have their own labels; several places are a "
            'list, and outputs are given by model: xb.compare({"mine": z, "theirs": w}, target)'
        )
    names = [what] if isinstance(what, str | PathLike) else list(what)
    if not names:
        raise ValueError("expected a folder of runs or an MLflow store, got an empty list")
    places = load_places([str(name) for name in names], experiment)
    runs = [run for place in places for run in place.runs]
    unfinished = [run for place in places for run in place.unfinished]
    with _named_by_python():
        return Report(compare_runs(runs, unfinished, options), places)


@contextmanager
def _named_by_python() -> "Iterator[None]":
    """Turn an error that names an option of the command line into one that names an argument."""
    try:
        yield
    except UsageError as error:
        raise ValueError(str(error).removeprefix("--")) from None


def _yardsticks(ties: Mapping[str, float] | None) -> tuple[Yardstick, ...]:
    for metric, margin in (ties or {}).items():
        if metric not in METRICS or not margin > 0:
            expected = f"one of {', '.join(METRICS)}, with a number above 0"
            raise ValueError(f"ties: expected {expected}, got {metric}: {margin}")
    return with_ties(ties or {})


def _checked_primary(primary: str | None) -> str:
    keys = [by.key for by in YARDSTICKS]
    if primary is not None and primary not in keys:
        raise ValueError(f"primary: expected one of {', '.join(keys)}, got {primary}")
    return primary or PRIMARY


def _table_html(table: Table) -> str:
    """Write a table of the report as HTML, with its brief notes below it."""
    head = "".join(f"<th>{html.escape(text)}</th>" for text in table.headings)
    rows = "".join(f"<tr>{''.join(map(_cell_html, row))}</tr>" for row in table.rows)
    notes = "".join(f"<p><small>{html.escape(note)}</small></p>" for note in table.in_brief().notes)
    caption = f"<caption>{html.escape(table.title)}</caption>"
    head = f"<thead><tr>{head}</tr></thead>"
    return f"<table>{caption}{head}<tbody>{rows}</tbody></table>{notes}"


def _cell_html(cell: str) -> str:
    shown = html.escape(cell.strip())
    return f"<td><b>{shown}</b></td>" if isinstance(cell, Best) else f"<td>{shown}</td>"
