"""The decision card in a terminal and in Markdown, and as a record for scripts."""

import shlex
from collections.abc import Sequence
from math import isfinite
from typing import Any

from xent_bench.advice.calibrators import title_of
from xent_bench.advice.card import Card
from xent_bench.advice.pick import Verdict
from xent_bench.advice.sweeps import Sweep
from xent_bench.advice.tasks import Task
from xent_bench.comparison.stats import Difference
from xent_bench.comparison.yardsticks import Yardstick
from xent_bench.printable import all_printable, printable
from xent_bench.report import advice_words as words
from xent_bench.report.advice_calibrator import calibrator_in_words
from xent_bench.tables import FORMS, TEXT, Table, print_heading


def show(card: Card, form: str) -> None:
    """Print the card: 'table' for a terminal, or 'markdown'."""
    _paragraphs(form, "", [words.needs_in_words(card.needs, card.by)])
    loss = words.loss_in_words(card)
    _paragraphs(form, f"Loss: {loss[0]}", [" ".join([*loss[1:], *_asides(card)])])
    if calibrator := calibrator_in_words(card):
        _paragraphs(form, f"Calibrator: {calibrator[0]}", [" ".join(calibrator[1:])])
    if card.deciding:
        FORMS[form](evidence(card))
        if card.calibration and card.calibration.steps:
            FORMS[form](calibration_table(card))
    if not_measured := words.never_measured(card):
        heading = words.not_measured_heading(card)
        _paragraphs(form, heading, [f"- {line}" for line in not_measured])
    _show_sweeps(card, form)


def _asides(card: Card) -> list[str]:
    asides = [*words.reading_in_words(card), *words.farness_in_words(card)]
    return [*asides, *words.left_out_in_words(card)]


def evidence(card: Card) -> Table:
    """Table of the differences to the baseline, for the tasks that decide and the others."""
    tasks = [*card.deciding, *card.farther]
    rows = [
        [str(place), verdict.label, str(verdict.contrast.difference.n), *_cells(verdict, card.by)]
        for place, of_task in enumerate(card.verdicts, 1)
        for verdict in of_task
    ]
    below = {"%": "points"}.get(card.by.below, card.by.below)
    headings = ["task", "loss", "seeds", f"{card.by.above.removesuffix(' %')}\n{below}", "verdict"]
    decide = len(card.deciding)
    notes = [
        f"{place}: {_task_line(task)}{' It decides nothing: others are nearer.' * (place > decide)}"
        for place, task in enumerate(tasks, 1)
    ]
    title = f"Evidence: difference to {card.needs.baseline}, paired by seed"
    return Table(title, headings, rows, notes, text=2)


def _task_line(task: Task) -> str:
    return printable(f"{words.setting_in_words(task)}.{_where(task)}")


def _where(task: Task) -> str:
    folders = sorted({str(run.folder.parent) for run in task.runs if run.folder is not None})
    return "".join(f" xent-report {shlex.quote(folder)}" for folder in folders[:1])


def _cells(verdict: Verdict, by: Yardstick) -> list[str]:
    return [_change(verdict.contrast.difference, by), verdict.word]


def _change(delta: Difference, by: Yardstick) -> str:
    half = "" if delta.half_width is None else f"±{by.shown(delta.half_width)}"
    return f"{by.shown(delta.mean, '+')}{half}"


def calibration_table(card: Card) -> Table:
    """Table of the changes from one reading of the recommended loss to another."""
    assert card.calibration is not None
    assert card.pick is not None
    rows = [
        [
            str(step.task + 1),
            title_of(step.before),
            title_of(step.after),
            str(step.difference.n),
            _change(step.difference, card.by),
            step.word,
        ]
        for step in card.calibration.steps
    ]
    title = f"Evidence: calibrators of {card.pick.loss}, run by run"
    headings = ["task", "before", "after", "seeds", card.needs.aim.short, "verdict"]
    return Table(title, headings, rows, [], text=3)


def _show_sweeps(card: Card, form: str) -> None:
    lines = [
        (f"To {s.why} ({words.cost_in_words(s, card.needs)}):", s.command) for s in card.sweeps
    ]
    if card.experiment:
        about = f"A sweep like that, kept in conf/experiment ({card.experiment.about}):"
        lines.append((about, card.experiment.command))
    if not lines:
        return
    title = "What would change this" if card.pick else "What to type"
    _paragraphs(form, title, [])
    for why, command in lines:
        TEXT[form]([printable(why)])
        # a command is one line, so that it can be copied
        print(f"```bash\n{printable(command)}\n```\n" if form == "markdown" else f"  {command}")


def _paragraphs(form: str, heading: str, paragraphs: Sequence[str]) -> None:
    texts = [printable(text) for text in paragraphs if text]
    if form == "markdown":
        TEXT[form]([*[f"**{printable(heading)}**"] * bool(heading), *texts])
        return
    if heading:
        print_heading(printable(heading))
    TEXT[form](texts)


def record(card: Card) -> dict[str, Any]:
    """The card as plain values in full precision, for a script."""
    content = {
        "needs": card.needs._asdict(),
        "metric": card.by.key,
        "loss": card.pick.loss if card.pick else None,
        "displaces_baseline": card.pick.displaces if card.pick else False,
        "alike": card.pick.alike if card.pick else [],
        "mixed": card.pick.mixed if card.pick else [],
        "why": [*words.loss_in_words(card)[1:], *_asides(card)],
        "calibrator": _calibrator(card),
        "calibrator_why": calibrator_in_words(card)[1:],
        "tasks": [_task_record(card, task) for task in _all_tasks(card)],
        "evidence": [
            _verdict_record(place, verdict)
            for place, of_task in enumerate(card.verdicts)
            for verdict in of_task
        ],
        "calibrators": [
            {"task": step.task, "before": step.before, "after": step.after, "verdict": step.word}
            | {"p_holm": step.p}
            | _difference_record(step.difference)
            for step in (card.calibration.steps if card.calibration else [])
        ],
        "never_measured": words.never_measured(card),
        "losses_worth_a_try": card.worth_a_try,
        "losses_never_tried": card.never_tried,
        "next": [_sweep_record(sweep) for sweep in card.sweeps],
        "experiment": card.experiment._asdict() if card.experiment else None,
        "unfinished": card.unfinished,
    }
    plain: dict[str, Any] = all_printable(content)
    return plain


def _all_tasks(card: Card) -> list[Task]:
    return [*card.deciding, *card.farther, *card.unusable, *card.others]


def _calibrator(card: Card) -> str | None:
    if card.calibration is None:
        return None
    name = title_of(card.calibration.prefix)
    return "none" if name == "as trained" else name


def _task_record(card: Card, task: Task) -> dict[str, Any]:
    return {
        "name": task.name,
        "decides": task in card.deciding,
        "gaps": list(task.gaps),
        "unusable": task.unusable,
        "differs": task.differs_from(card.needs),
        "runs": len(task.runs),
        "losses": task.labels,
        "remarks": task.remarks,
        "folders": sorted({str(run.folder.parent) for run in task.runs if run.folder is not None}),
        "seconds_a_run": task.seconds,
    }


def _verdict_record(place: int, verdict: Verdict) -> dict[str, Any]:
    return (
        {"task": place, "loss": verdict.label, "verdict": verdict.word, "p": verdict.p}
        | {"p_tie": verdict.p_tie}
        | _difference_record(verdict.contrast.difference)
    )


def _difference_record(delta: Difference) -> dict[str, Any]:
    """Numbers of a difference; null where it is infinite, which JSON cannot hold."""
    mean = delta.mean if isfinite(delta.mean) else None
    return {"difference": mean, "half_width": delta.half_width, "n": delta.n}


def _sweep_record(sweep: Sweep) -> dict[str, Any]:
    return sweep._asdict() | {"why": f"To {sweep.why}."}
