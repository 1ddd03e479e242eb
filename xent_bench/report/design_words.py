"""Sentences and a table on the sequential design that the runs of a comparison declare."""

from collections.abc import Sequence

from xent_bench.comparison.boundary import Boundary
from xent_bench.comparison.by_hand import by_hand_note
from xent_bench.comparison.compare import Comparison
from xent_bench.comparison.contrasts import Contrast
from xent_bench.comparison.declared import Sequential
from xent_bench.comparison.sequential import OPEN, UNJUDGED, Decision
from xent_bench.comparison.trials import seed_of
from xent_bench.comparison.yardsticks import by_key
from xent_bench.runs.design import Design
from xent_bench.runs.files import RESULT, run_folders
from xent_bench.runs.sweep_record import load_sweep
from xent_bench.tables import Table, joined

ADJUSTED = ", adjusted for the looks of the design"
KEYS = ("primary", "baseline", "max_seeds")  # of a design, by which two of them differ


def first_words(comparison: Comparison) -> list[str]:
    """Say that a comparison is not the one that its runs declare; empty if it is."""
    course = comparison.sequential
    if course is None or course.is_as_declared:
        return []
    sentences = []
    if course.departures:
        sentences.append(f"Not what this sweep declared: {'; '.join(course.departures)}.")
    if course.others:
        designs = "; ".join(map(_keys, [course.design, *course.others]))
        sentences.append(f"These runs declare different designs ({designs}).")
    return [*sentences, "So the error rates of the design are not claimed."]


def design_sentences(comparison: Comparison) -> list[str]:
    """State the design: looks, how the error rate is spent, what was declared, and the rates."""
    course = comparison.sequential
    if course is None:
        return []
    boundary = Boundary(course.looks)
    levels = [_percent(boundary.nominal(n)) for n in course.looks]
    sentence = f"Seeds are added until each loss is decided, {course.looks[-1]} at most"
    if len(levels) > 1:
        spent = joined([_percent(share) for share in boundary.spent()])
        sentence += (
            f": a group-sequential design with looks after {joined(list(map(str, course.looks)))} "
            f"seeds, whose nominal levels are in proportion to the seeds ({levels[0]} to "
            f"{levels[-1]} %) and spend {spent} % (in the sense of Lan and DeMets, 1983)"
        )
    sentences = [f"{sentence}."]
    if course.is_as_declared:
        name = by_key()[course.design.primary].name
        sentences.append(
            f"Declared beforehand: {name} as the primary metric, against {course.design.baseline}. "
            "In at most 5 of 100 such sweeps any loss is called better or worse by it that is not, "
            "and in at most 5 any is called a tie that is none; all other p values and all "
            "intervals are adjusted for the looks, too."
        )
    if course.undeclared:
        sentences.append(_outside(course))
    return sentences


def _outside(course: Sequential) -> str:
    """Say that some of the runs in use were trained outside the design, perhaps looked at."""
    total = sum(map(len, course.used.values()))
    return (
        f"But {course.undeclared} of the {total} runs on which these verdicts rest were trained "
        "outside this design: its error rates hold if nobody chose it because of what those runs "
        "showed."
    )


def decided_at(contrast: Contrast) -> str:
    """The look at which a verdict fell as ' (look 2, 5 seeds)'; empty without a design."""
    if contrast.look is None:
        return ""
    return f" (look {contrast.look + 1}, {contrast.difference.n} seeds)"


def still_open(comparison: Comparison) -> list[str]:
    """Sentences on the losses that no look has decided, and on those that cannot be judged."""
    course = comparison.sequential
    if course is None:
        return []
    sentences = []
    open_losses = [decision for decision in course.decisions.values() if decision.verdict == OPEN]
    going = [decision for decision in open_losses if decision.n < course.looks[-1]]
    spent = [decision for decision in open_losses if decision.n >= course.looks[-1]]
    if going:
        sentences.append(
            f"Still open: {_after(going)}; the sweep's command, typed again, adds seeds for "
            f"{'it' if len(going) == 1 else 'them'} alone, up to {course.looks[-1]}."
        )
    if spent:
        sentences.append(f"Open, with all {course.looks[-1]} seeds spent: {_labels(spent)}.")
    unjudged = [one for one in course.decisions.values() if one.verdict == UNJUDGED]
    if unjudged:
        sentences.append(
            "Not judged, and given no more seeds, since a run failed or has no finite score: "
            f"{_labels(unjudged)}."
        )
    return sentences


def design_notes(comparison: Comparison) -> list[str]:
    """Notes on runs that do not count or came before a design, or on seeds added without one."""
    course = comparison.sequential
    if course is None:
        return [note] if (note := _added_by_hand(comparison)) else []
    notes = []
    beyond = {
        label: len(runs) - len(course.used[label])
        for label, runs in course.courses.runs.items()
        if len(runs) > len(course.used[label])
    }
    if beyond:
        listed = ", ".join(f"{label} {count}" for label, count in beyond.items())
        notes.append(
            "Runs beyond the look at which a loss was decided, or before the next look is "
            f"complete, which do not count for its verdicts: {listed}."
        )
    return notes


def looks_table(comparison: Comparison) -> Table | None:
    """Table with one row for each look: its level, what is spent, and the verdicts that fell."""
    course = comparison.sequential
    if course is None:
        return None
    boundary = Boundary(course.looks)
    rows = [
        [
            _fallen(course, look),
            str(look + 1),
            str(n),
            _percent(boundary.nominal(n)),
            _percent(spent),
        ]
        for look, (n, spent) in enumerate(zip(course.looks, boundary.spent(), strict=True))
    ]
    notes = [
        "Level: of the fixed-sample paired t test at this look, for one loss; p values are "
        "corrected over the losses besides (Holm). Spent: probability of a significant difference "
        "up to this look if there is none, for one loss."
    ]
    headings = ["verdicts that fell", "look", "seeds", "level\n%", "spent\n%"]
    return Table("Looks of the design", headings, rows, notes)


def _added_by_hand(comparison: Comparison) -> str:
    """Point out that several commands added seeds; empty if that is not so or cannot be told.

    It cannot be told in a folder that has runs of other comparisons too, which may be what the
    earlier commands trained; and of tuned losses, whose fresh seeds a design adds.
    """
    if comparison.is_tuned:
        return ""
    folders = {run.folder.parent for run in comparison.runs if run.folder is not None}
    if len(folders) != 1:
        return ""
    (folder,) = folders
    record = load_sweep(folder)
    if record is None or len(run_folders(folder, RESULT)) != len(comparison.runs):
        return ""
    seeds = sorted(set(map(seed_of, comparison.runs)))
    return by_hand_note([*record.earlier, seeds])


def _fallen(course: Sequential, look: int) -> str:
    """Losses decided at a look with their verdicts: 'focal better, mse tie'."""
    return ", ".join(
        f"{decision.label} {decision.verdict}"
        for decision in course.decisions.values()
        if decision.look == look
    )


def _keys(design: Design) -> str:
    """The keys of a design as they are typed: 'primary=test/nll baseline=ce max_seeds=30'."""
    return " ".join(f"{key}={getattr(design, key)}" for key in KEYS)


def _after(decisions: Sequence[Decision]) -> str:
    """Losses with the seeds that they have: 'focal and mse after 5 seeds, mae after 3'."""
    by_n: dict[int, list[Decision]] = {}
    for decision in decisions:
        by_n.setdefault(decision.n, []).append(decision)
    return ", ".join(
        f"{_labels(group)} {f'after {n} seeds' if n else 'before the first look'}"
        for n, group in sorted(by_n.items(), reverse=True)
    )


def _labels(decisions: Sequence[Decision]) -> str:
    return joined([decision.label for decision in decisions])


def _percent(share: float) -> str:
    """A share in per cent with two significant digits: '0.26'."""
    return f"{100 * share:.2g}"
