"""Tables of a search: what was spent, what lies around the chosen trials, and what matters."""

from xent_bench.comparison.compare import Comparison
from xent_bench.comparison.importance import LEAST, importances
from xent_bench.comparison.spent import State, spent_by_loss, total
from xent_bench.comparison.surroundings import Neighbour, Surroundings, surroundings, yardstick_of
from xent_bench.comparison.winners_curse import winners_curses
from xent_bench.tables import Best, Table


def search_tables(comparison: Comparison) -> list[Table]:
    """The tables that say how losses were tuned, as far as there is something to say."""
    tables = (
        spent_table(comparison),
        surroundings_table(comparison),
        importance_table(comparison),
        curse_table(comparison),
    )
    return [table for table in tables if table is not None]


def spent_table(comparison: Comparison) -> Table:
    """Table of the trials, runs and epochs that each loss has cost, one row for each loss."""
    spent = spent_by_loss(comparison.trials)
    rows = [
        [
            loss.loss,
            str(loss.begun),
            *(str(loss.trials[state]) for state in State),
            str(loss.runs),
            str(loss.epochs),
            "-" if loss.full is None else f"{loss.full:.1f}",
        ]
        for loss in spent
    ]
    headings = ["loss", "trials", *(_heading(state) for state in State)]
    headings += ["runs", "epochs", "in whole\nruns"]
    notes = [
        f"Epochs that all runs of a loss have trained, {total(spent):,} in sum: those of paused, "
        "diverged and killed runs, and of fresh seeds, count too. A trial counts as its run that "
        "got least far."
    ]
    untold = sum(loss.untold for loss in spent)
    if untold:
        notes.append(f"Not counted, since nothing tells it: the epochs of {untold} runs.")
    return Table("Trials, and the epochs spent on them", headings, rows, notes)


def _heading(state: State) -> str:
    return "without\na result" if state is State.OPEN else state.value


def surroundings_table(comparison: Comparison) -> Table | None:
    """Table of each chosen trial and those nearest to it; None if no loss was tuned."""
    around, metric = surroundings(comparison), comparison.options.choose_by
    if not around:
        return None
    rows = []
    for chosen in around:
        rows.append(
            [chosen.row.trial.label, "chosen", Best(f"{chosen.score:.4f}"), "", _choice(chosen)]
        )
        rows += [_neighbour(neighbour) for neighbour in chosen.neighbours]
    by = yardstick_of(comparison)
    notes = [
        "Below each chosen trial those nearest to it; the distance is Euclidean, with the range "
        "tried of each hyper-parameter as 1 (logarithmic where it spans more than a factor of 5)."
    ]
    if by is not None:
        notes.append(
            f"flat: none of them that was trained to the end is worse by more than {by.margin()}; "
            "sharp: all are, or diverged; uneven: some are; in brackets, how many of them could be "
            "compared. The scores are those that chose, which favours the chosen trial; nothing is "
            "tested."
        )
    headings = ["trial", "distance", metric, "worse by", "the choice"]
    return Table("Around the chosen trials", headings, rows, notes)


def _choice(chosen: Surroundings) -> str:
    """The word for the surroundings, with how many neighbours could be compared if not all."""
    if chosen.compared in (0, len(chosen.neighbours)):
        return chosen.word
    return f"{chosen.word} ({chosen.compared} of {len(chosen.neighbours)})"


def _neighbour(neighbour: Neighbour) -> list[str]:
    score = neighbour.note if neighbour.score is None else f"{neighbour.score:.4f}"
    gap = "" if neighbour.loss_of_score is None else f"{neighbour.loss_of_score:.4f}"
    return [neighbour.trial.label, f"{neighbour.distance:.2f}", score, gap, ""]


def importance_table(comparison: Comparison) -> Table | None:
    """Table of the importance of each hyper-parameter; None if no loss has enough trials."""
    rows = [
        [
            entry.loss,
            entry.key,
            str(entry.trials),
            f"{100 * entry.share:.0f}±{100 * entry.error:.0f}",
            f"{entry.p:.3f}",
            "matters" if entry.is_shown else "?",
        ]
        for entry in importances(comparison)
    ]
    if not rows:
        return None
    notes = [
        "Share of the order of a loss's trials on val, in per cent of the variance of their ranks, "
        "that the value of one hyper-parameter alone predicts for a trial left out; what only "
        "shows together with another one is not seen. ±: its standard error (jackknife). matters: "
        "p < 0.05 (permutations), corrected over losses and hyper-parameters (Holm); ?: not shown. "
        f"Losses with fewer than {LEAST} trials are left out."
    ]
    headings = ["loss", "hyper-parameter", "trials", "share %", "p (Holm)", "shown"]
    return Table("Importance of the hyper-parameters", headings, rows, notes, text=2)


def curse_table(comparison: Comparison) -> Table | None:
    """Table of each chosen trial on val, by choosing and by fresh seeds; None without these."""
    curses, metric = winners_curses(comparison), comparison.options.choose_by
    if not curses:
        return None
    rows = [
        [
            curse.row.trial.label,
            str(curse.chosen.n),
            f"{curse.chosen.mean:.4f}",
            str(curse.fresh.n),
            f"{curse.fresh.mean:.4f}"
            + ("" if curse.fresh.half_width is None else f"±{curse.fresh.half_width:.4f}"),
            f"{curse.gap:+.4f}",
        ]
        for curse in curses
    ]
    notes = [
        f"Mean {metric} of the chosen trial over the seeds that chose it, and over fresh ones, ± "
        "95 % interval. The trial was chosen because the first is good, by luck too; the gap is "
        "what luck and other seeds make of it."
    ]
    headings = ["trial", "seeds", "as chosen", "fresh\nseeds", "as measured", "gap"]
    return Table("The winner's curse", headings, rows, notes)
