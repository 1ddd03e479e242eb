"""xent-report: compare finished runs, in the terminal, as an HTML page or as other tables."""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xent_bench.comparison.yardsticks import PRIMARY, with_ties
from xent_bench.exit_codes import one_line_errors
from xent_bench.process.streams import replace_what_cannot_be_shown
from xent_bench.report.options import parser
from xent_bench.runs.trusted import import_trusted

if TYPE_CHECKING:
    from xent_bench.comparison.compare import Comparison, Options
    from xent_bench.comparison.models import ComparedModels
    from xent_bench.tables import Table


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the console script xent-report."""
    replace_what_cannot_be_shown()
    report_parser = parser()
    options = report_parser.parse_intermixed_args(arguments)
    with one_line_errors("xent-report"):
        import_trusted(report_parser, options)
        report(options)


def report(options: argparse.Namespace) -> None:
    """Compare the runs of folders and MLflow stores, and write what the options ask for."""
    if options.predictions:
        report_models(options)
        return
    from xent_bench.comparison.compare import compare  # SciPy is slow to import
    from xent_bench.report.places import folder_finder, load_places, store_to_publish

    store = store_to_publish(options.runs) if options.publish else None
    places = load_places(options.runs, options.experiment)
    runs = [run for place in places for run in place.runs]
    unfinished = [run for place in places for run in place.unfinished]
    comparisons = compare(runs, unfinished, _options(options))
    over_tasks = options.tasks or len(places) > 1
    try:
        _print(comparisons, options, over_tasks=over_tasks)
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit):  # xent-report | head; Rich turns it into an exit
        # the files below are written nevertheless
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if options.picture is not None:
        from xent_bench.report.plots import draw

        draw(comparisons, options.picture, over_tasks=over_tasks)
        print(f"Picture: {options.picture}", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        find_folder = folder_finder(places, Path(folder))
        if options.page is not None:
            from xent_bench.report.page import write_page
            from xent_bench.report.page_runs import Surroundings
            from xent_bench.report.run_stores import answering_stores

            around = Surroundings(options.page.parent, answering_stores(places))
            write_page(comparisons, options.page, find_folder, over_tasks=over_tasks, around=around)
            print(f"Page: {options.page}", file=sys.stderr)
        if options.publish:
            from xent_bench.report.publish import publish

            for place in publish(comparisons, store, find_folder):
                print(f"Published: {place}", file=sys.stderr)


def report_models(options: argparse.Namespace) -> None:
    """Compare models by files of their predictions, and write what the options ask for."""
    from xent_bench.comparison.models import compare_models
    from xent_bench.report.given_models import check_options, load_members

    check_options(options)
    compared = compare_models(load_members(options.predictions), _options(options))
    try:
        _print_models(compared, options)
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit):  # as for runs
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    comparisons = [compared.comparison]
    if options.picture is not None:
        from xent_bench.report.plots import draw

        draw(comparisons, options.picture)
        print(f"Picture: {options.picture}", file=sys.stderr)
    if options.page is not None:
        from xent_bench.report.page import write_page

        write_page(comparisons, options.page, evidences=[compared.evidence])
        print(f"Page: {options.page}", file=sys.stderr)


def _print_models(compared: "ComparedModels", options: argparse.Namespace) -> None:
    from xent_bench.report.conclusion import conclusion
    from xent_bench.report.csv_records import losses
    from xent_bench.report.model_tables import model_notes, model_tables
    from xent_bench.tables import FORMS, TEXT, print_csv

    if options.form == "csv":
        print_csv(losses(compared.comparison))
        return
    in_brief = options.form == "table" and not options.legend
    for table in model_tables(compared):
        FORMS[options.form](table.in_brief() if in_brief else table)
    TEXT[options.form](model_notes(compared.comparison, in_brief=in_brief))
    TEXT[options.form]([f"\nIn short. {conclusion(compared.comparison)}"])


def _options(options: argparse.Namespace) -> "Options":
    from xent_bench.comparison.compare import Options

    return Options(
        options.baseline,
        with_ties(dict(options.tie)),
        options.choose_by,
        options.rank_anyway,
        options.primary or PRIMARY,
        is_primary_asked=options.primary is not None,
    )


def _print(
    comparisons: Sequence["Comparison"], options: argparse.Namespace, *, over_tasks: bool
) -> None:
    if options.form == "csv":
        from xent_bench.report import csv_records as records
        from xent_bench.tables import print_csv

        records_of: Callable[[Comparison], list[dict[str, Any]]] = records.losses
        if options.power is not None:
            records_of = partial(records.power, points=options.power)
        elif options.trials:
            records_of = records.trials
        every = [record for comparison in comparisons for record in records_of(comparison)]
        if over_tasks and not (options.trials or options.power is not None):
            every += records.tasks(comparisons)
        print_csv(every)
        return
    from xent_bench.runs.mixtures import separated
    from xent_bench.runs.sweep_record import without_result
    from xent_bench.tables import FORMS as SHOW
    from xent_bench.tables import TEXT

    for comparison in comparisons:
        _show(comparison, options, SHOW[options.form])
    _show_across(comparisons, options)
    if over_tasks:
        _show_over_tasks(comparisons, options)
    runs = [run for comparison in comparisons for run in comparison.runs]
    swept = sorted({run.folder.parent for run in runs if run.folder is not None})
    TEXT[options.form]([f"\n{line}" for line in [*separated(runs), *without_result(swept)]])


def _show_across(comparisons: Sequence["Comparison"], options: argparse.Namespace) -> None:
    """Print how the order of losses changes, where comparisons differ in noise or imbalance."""
    from xent_bench.comparison.across import across
    from xent_bench.report.across_table import across_sentence, across_tables
    from xent_bench.tables import FORMS, TEXT

    if options.power is not None or options.trials:
        return
    for conditions in across(comparisons):
        for table in across_tables(conditions):
            FORMS[options.form](table)
        TEXT[options.form]([across_sentence(conditions)])


def _show_over_tasks(comparisons: Sequence["Comparison"], options: argparse.Namespace) -> None:
    """Print mean ranks over tasks, their tests, and what follows, or why there are none."""
    from xent_bench.report.task_tables import task_parts
    from xent_bench.tables import FORMS, TEXT

    if options.power is not None or options.trials:
        return
    parts = task_parts(comparisons)
    in_brief = options.form == "table" and not options.legend
    for table in parts.tables:
        FORMS[options.form](table.in_brief() if in_brief else table)
    TEXT[options.form](parts.remarks)
    TEXT[options.form]([f"\n{parts.conclusion}"])


def _asked_for(comparison: "Comparison", options: argparse.Namespace) -> Iterator["Table"]:
    """The tables of --power and of --trials."""
    from xent_bench.report import comparison_tables as tables
    from xent_bench.report.cost_table import costs_of_power
    from xent_bench.report.search_tables import search_tables

    if options.power is not None:
        yield tables.power(comparison, options.power)
        if (costs := costs_of_power(comparison, options.power)) is not None:
            yield costs
    if options.trials:
        yield tables.trials(comparison)
        yield from search_tables(comparison)


def _show(
    comparison: "Comparison", options: argparse.Namespace, show: Callable[["Table"], None]
) -> None:
    from xent_bench.report import comparison_tables as tables
    from xent_bench.report.class_size_tables import class_size_tables
    from xent_bench.report.conclusion import conclusion
    from xent_bench.report.notes import facts, legend, warnings
    from xent_bench.report.shift_tables import foreign_table, shift_table
    from xent_bench.report.truth_table import label_notes, truth_table
    from xent_bench.report.worst_group_table import worst_group_table
    from xent_bench.tables import TEXT

    if options.trials or options.power is not None:
        for table in _asked_for(comparison, options):
            show(table)
        return
    shown = [tables.levels(comparison)]
    if comparison.contrasts:
        shown.append(tables.differences(comparison))
    of_some = (truth_table(comparison), worst_group_table(comparison))
    shown += [table for table in of_some if table is not None]
    shown += filter(None, [shift_table(comparison), foreign_table(comparison)])
    shown += class_size_tables(comparison)
    in_brief = options.form == "table" and not options.legend
    for table in shown:
        show(table.in_brief() if in_brief else table)
    notes = [*warnings(comparison), *facts(comparison), *label_notes(comparison)]
    if not in_brief:
        notes = [*legend(comparison), *notes]
    TEXT[options.form](notes)
    TEXT[options.form]([f"\nIn short. {conclusion(comparison)}"])
