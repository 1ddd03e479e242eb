"""The report as one self-contained HTML page, which opens from disk and prints on paper."""

import base64
import gzip
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from math import isfinite
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from xent_bench.comparison.across import across
from xent_bench.comparison.compare import Comparison
from xent_bench.comparison.evidence import Evidence, folder_of, load_evidence
from xent_bench.comparison.under_shift import under_shift
from xent_bench.comparison.yardsticks import by_key
from xent_bench.palette import colours_of, on_dark
from xent_bench.report import csv_records
from xent_bench.report.across_table import across_sentence, across_tables
from xent_bench.report.bounds import CUT
from xent_bench.report.chart_library import chart_library
from xent_bench.report.charts.as_json import chart_json, script_json
from xent_bench.report.charts.class_sizes import class_sizes
from xent_bench.report.charts.curves import curves, noise_curves
from xent_bench.report.charts.forest import forest
from xent_bench.report.charts.marginals import marginal_charts
from xent_bench.report.charts.pareto import pareto
from xent_bench.report.charts.reliability import diagrams
from xent_bench.report.charts.risk_coverage import risk_coverage
from xent_bench.report.charts.severity import severity_chart
from xent_bench.report.charts.style import GREY
from xent_bench.report.charts.tuning import best_of_k_chart, sensitivities
from xent_bench.report.class_size_tables import class_size_tables
from xent_bench.report.comparison_tables import levels, trials
from xent_bench.report.conclusion import conclusion
from xent_bench.report.design_words import looks_table
from xent_bench.report.model_tables import model_notes, shown_keys
from xent_bench.report.notes import explanations, warnings
from xent_bench.report.page_runs import (
    Surroundings,
    anchors,
    links_to_runs,
    next_commands,
    run_rows,
)
from xent_bench.report.page_tables import (
    configurations,
    contrasts_table,
    costs,
    images,
    origins,
    ranks,
)
from xent_bench.report.page_verdicts import verdict_class, verdicts
from xent_bench.report.preface import Preface
from xent_bench.report.search_tables import search_tables
from xent_bench.report.shift_tables import foreign_in_full, shift_table
from xent_bench.report.task_tables import task_parts
from xent_bench.report.truth_table import label_notes, truth_table
from xent_bench.report.tuned import tuning
from xent_bench.report.worst_group_table import worst_group_table
from xent_bench.runs.mixtures import separated
from xent_bench.runs.result import Run
from xent_bench.runs.whole_files import write_whole
from xent_bench.tables import Best, joined, print_csv

GREYS = (GREY, "#222222", "#787878")  # of charts, whatever the losses


def write_page(
    comparisons: Sequence[Comparison],
    file: Path,
    find_folder: Callable[[Run], Path] = folder_of,
    *,
    over_tasks: bool = False,
    evidences: Sequence[Evidence] | None = None,
    around: Surroundings | None = None,
) -> None:
    """Write the page, so that the file is either complete or not there.

    `find_folder` returns the folder that holds the files of a run. `over_tasks` also ranks the
    losses over all comparisons. `evidences` and `around`: see `page`; without the latter, folders
    are seen from that of the file, and no store is asked.
    """
    around = around or Surroundings(file.parent)
    text = page(comparisons, find_folder, over_tasks=over_tasks, evidences=evidences, around=around)
    write_whole(file, text)


def page(
    comparisons: Sequence[Comparison],
    find_folder: Callable[[Run], Path] = folder_of,
    *,
    over_tasks: bool = False,
    evidences: Sequence[Evidence] | None = None,
    around: Surroundings | None = None,
    preface: Preface | None = None,
) -> str:
    """Build the HTML of one or more comparisons, one after another, below the ranks over tasks.

    `evidences` is the data of the charts of each comparison; None: it is read from the runs.
    `around` tells where runs are linked to; None: nowhere. `preface` stands above all.
    """
    if evidences is None:
        evidences = [load_evidence(comparison, find_folder) for comparison in comparisons]
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.tests["best"] = lambda cell: isinstance(cell, Best)
    environment.filters["verdict"] = verdict_class
    colours = loss_colours(comparisons)
    dark = {colour: on_dark(colour) for colour in (*colours.values(), *GREYS)}
    ids = anchors(f"{one.experiment} {one.setting}" for one in comparisons)
    parts = [
        _parts(comparison, evidence, colours)
        | _of_runs(comparison, anchor, around or Surroundings(), is_alone=len(comparisons) == 1)
        for comparison, evidence, anchor in zip(comparisons, evidences, ids, strict=True)
    ]
    experiments = joined(list(dict.fromkeys(one.experiment for one in comparisons)))
    return environment.from_string(_file("page.html")).render(
        title=f"Report: {experiments}" if preface is None else preface.title,
        preface=preface,
        comparisons=parts,
        across=[
            {"tables": across_tables(conditions), "sentence": across_sentence(conditions)}
            for conditions in across(comparisons)
        ],
        tasks=_over_tasks(comparisons, colours) if over_tasks else None,
        separated=separated([run for one in comparisons if one.noun == "loss" for run in one.runs]),
        css=Markup(_file("page.css")),
        dark_css=Markup(dark_css(dark)),
        dark_json=Markup(script_json(dark)),
        records=packed(_records(comparisons, over_tasks=over_tasks)),
        plotly=packed(chart_library()),
        charts_js=Markup(_file("page_charts.js")),
        js=Markup(_file("page.js")),
    )


def _file(name: str) -> str:
    return resources.files("xent_bench.report").joinpath(name).read_text(encoding="utf-8")


def _records(comparisons: Sequence[Comparison], *, over_tasks: bool) -> str:
    """JSON with the text that --format csv writes, and with its records as objects."""
    records = [record for comparison in comparisons for record in csv_records.losses(comparison)]
    if over_tasks:
        records += csv_records.tasks(comparisons)
    text = io.StringIO(newline="")
    print_csv(records, text)
    return json.dumps({"csv": text.getvalue(), "records": [_finite(one) for one in records]})


def _finite(record: dict[str, Any]) -> dict[str, Any]:
    """A record without None, and with infinite numbers as texts, since JSON has none: 'inf'."""
    return {
        key: str(value) if isinstance(value, float) and not isfinite(value) else value
        for key, value in record.items()
        if value is not None
    }


def packed(text: str) -> str:
    """The text as gzip in base64, which the page unpacks; it has a third to a half of its size."""
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()


def dark_css(dark: Mapping[str, str]) -> str:
    """CSS that sets the variables of `with_variables` where the reader's system is dark."""
    lines = "".join(f"--c{light[1:]}:{other};" for light, other in dark.items())
    return f"@media screen and (prefers-color-scheme: dark){{:root{{{lines}}}}}"


def with_variables(svg: str) -> str:
    """The drawing with a CSS variable for each colour, which stays as it is where none is set."""
    return re.sub(r"#([0-9a-f]{6})\b(?=[;\" ])", r"var(--c\1, #\1)", svg)


def _over_tasks(comparisons: Sequence[Comparison], colours: dict[str, str]) -> dict[str, Any]:
    """Values of the part on several tasks that the template shows."""
    from xent_bench.report.charts.critical_difference import ranks_svg  # Matplotlib, half a second

    parts = task_parts(comparisons)
    picture = None if parts.over is None else Markup(with_variables(ranks_svg(parts.over, colours)))
    return parts._asdict() | {"picture": picture}


def loss_colours(comparisons: Sequence[Comparison]) -> dict[str, str]:
    """The colours of all losses on the page, by label: a loss has one in every comparison."""
    return colours_of(row.label for comparison in comparisons for row in comparison.rows)


def _parts(comparison: Comparison, evidence: Evidence, colours: dict[str, str]) -> dict[str, Any]:
    """Values of one comparison that the template shows."""
    is_of_runs = comparison.noun == "loss"
    keys = [by.key for by in comparison.options.yardsticks]
    is_tried = len(comparison.trials) > len(comparison.rows)
    shown = keys if is_of_runs else shown_keys(comparison, keys)
    means = levels(comparison, shown, within_bounds=True)
    return {
        "title": f"{comparison.experiment}: {comparison.setting}",
        "tuning": tuning(comparison) if is_of_runs else "",
        "conclusion": conclusion(comparison),
        "warnings": warnings(comparison) if is_of_runs else [],
        "levels": means,
        "notes": [
            *[CUT] * any("−" in cell for row in means.rows for cell in row[1:]),
            *_notes(comparison),
        ],
        "contrasts": contrasts_table(comparison, evidence),
        "looks": looks_table(comparison),
        "truth": truth_table(comparison),
        "worst_group": worst_group_table(comparison),
        "class_size_tables": class_size_tables(comparison),
        "ranks": ranks(comparison) if shown_keys(comparison, ["test_ts/nll"]) else None,
        "shift": shift_table(comparison),
        "foreign": foreign_in_full(comparison),
        "trials": trials(comparison) if is_tried else None,
        "search_tables": search_tables(comparison) if is_tried else [],
        "costs": costs(comparison) if is_of_runs else None,
        "configurations": configurations(comparison) if is_of_runs else None,
        "images": images(comparison, evidence) if is_of_runs else None,
        "origins": origins(comparison) if is_of_runs else None,
        "absent": evidence.absent,
        **_charts(comparison, evidence, colours),
    }


def _notes(comparison: Comparison) -> list[str]:
    """Notes below the table of means."""
    if comparison.noun != "loss":
        return model_notes(comparison, in_brief=False)
    return [*explanations(comparison), *label_notes(comparison)]


def _of_runs(
    comparison: Comparison, anchor: str, around: Surroundings, *, is_alone: bool
) -> dict[str, Any]:
    """Values by which a reader goes on from the page: anchors, verdicts, runs and commands."""
    is_of_runs = comparison.noun == "loss"
    return {
        "id": anchor,
        "is_of_runs": is_of_runs,
        "primary": by_key(comparison.options.yardsticks)[comparison.options.primary].name,
        "verdicts": verdicts(comparison),
        "links": links_to_runs(comparison, anchor) if is_of_runs else {},
        "run_rows": run_rows(comparison, anchor, around) if is_of_runs else [],
        "next_commands": next_commands(comparison, is_alone=is_alone) if is_of_runs else [],
    }


def _charts(comparison: Comparison, evidence: Evidence, colours: dict[str, str]) -> dict[str, Any]:
    """Charts as JSON by name, None where a chart has no data."""
    figures = {
        "pareto": pareto(comparison, colours),
        "forest": forest(comparison, evidence, colours),
        "diagrams": diagrams(comparison, evidence, colours),
        "risk_coverage": risk_coverage(evidence, colours),
        "curves": curves(evidence, colours),
        "severity": severity_chart(under_shift(comparison), colours),
        "noise_curves": noise_curves(evidence, colours),
        "class_sizes": class_sizes(evidence, colours),
        "best_of_k": best_of_k_chart(comparison, colours),
    }
    charts: dict[str, Any] = {name: _json(figure) for name, figure in figures.items()}
    charts["sensitivities"] = [
        (key, _json(figure)) for key, figure in sensitivities(comparison, colours).items()
    ]
    charts["marginals"] = [
        (key, _json(figure)) for key, figure in marginal_charts(comparison, colours).items()
    ]
    return charts


def _json(figure: go.Figure | None) -> Markup | None:
    if figure is None:
        return None
    return Markup(chart_json(figure))
