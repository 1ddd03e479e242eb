"""Sentences on the tuning of losses: how each was chosen, and which of its runs are reported."""

from collections.abc import Sequence

from xent_bench.comparison.compare import Comparison
from xent_bench.comparison.trials import seed_of
from xent_bench.comparison.tuned_space import listed
from xent_bench.comparison.tuning import in_order
from xent_bench.tables import joined

MOST_NAMED = 3  # losses that a sentence names; further ones are only counted
UNNAMED = "the code's own defaults"  # of a chosen trial whose config has no key that varies
MOST_LISTED = 8  # items of a list in a note; further ones are only counted


def tuning(comparison: Comparison) -> str:
    """Say how the losses were tuned, or that they were not."""
    counts = sorted({row.trials for row in comparison.rows if row.n} or {1})
    if counts == [1]:
        if comparison.confounded:
            return "each loss at a setting of its own, not tuned"
        return f"every loss at one setting{_rate(comparison)}, not tuned"
    return f"{_chosen(comparison, counts)}{_placed(comparison)}"


def _chosen(comparison: Comparison, counts: Sequence[int]) -> str:
    """Say from how many trials each loss's was chosen, and which runs report it."""
    numbers = " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
    choice = f"each loss with the best of {numbers} trials{_values(comparison)}"
    choice += f"{_halved(comparison)} by {comparison.options.choose_by}"
    if comparison.is_confirmed:
        return f"{choice}, reported by fresh seeds, which chose nothing"
    flattered = [row.label for row in comparison.rows if row.choice.flatters]
    tuned = [row for row in comparison.rows if row.trials > 1 and row.n]
    flatters = "which flatters it: with one seed the run that was chosen is the one reported"
    if len(flattered) == len(tuned):
        return f"{choice}, {flatters}"
    how = "for each seed, the other seeds choose the trial"
    if all(len(row.choice.candidates) == 1 for row in tuned):
        how = "all seeds chose the one that was trained to the end"
    chosen = f"{choice}; {how}"
    return f"{chosen}; but not for {briefly(flattered)}, {flatters}" if flattered else chosen


def _placed(comparison: Comparison) -> str:
    """Say that a sampler placed the trials of each loss by their results, if one did."""
    if not comparison.sampler:
        return ""
    return (
        f"; {comparison.sampler} placed the trials of each loss by their results, so that budgets "
        "are equal in number, not in place"
    )


def _halved(comparison: Comparison) -> str:
    """Say how many trials were trained to the end, if others were paused."""
    if not any(trial.is_paused for trial in comparison.trials):
        return ""
    counts = sorted({len(row.choice.candidates) for row in comparison.rows if row.trials > 1})
    numbers = " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
    return f", {numbers} of them trained to the end,"


def _values(comparison: Comparison) -> str:
    """The values that losses were tuned over: ' (optimizer.lr 0.03, 0.1, 0.3)'."""
    trials = [trial for row in comparison.rows for trial in row.choice.candidates]
    trials += [trial for trial in comparison.trials if trial.is_paused]
    keys = dict.fromkeys(key for trial in trials for key in trial.varied)
    tried = {
        key: in_order(trial.varied[key] for trial in trials if key in trial.varied) for key in keys
    }
    texts = [f"{key} {listed(values)}" for key, values in tried.items() if len(values) > 1]
    return f" ({'; '.join(texts)})" if texts else ""


def _rate(comparison: Comparison) -> str:
    """The learning rate as ', optimizer.lr=0.1' if all runs have the same; else empty."""
    rates = {str(run.params.get("optimizer.lr")) for row in comparison.rows for run in row.runs}
    return f", optimizer.lr={rates.pop()}" if len(rates) == 1 and rates != {"None"} else ""


def briefly(names: Sequence[str]) -> str:
    """Join names as 'a, b and c'; of a long list, the first MOST_NAMED and how many more."""
    if len(names) > MOST_NAMED + 1:
        names = [*names[:MOST_NAMED], f"{len(names) - MOST_NAMED} more"]
    return joined(names)


def some(items: Sequence[str]) -> str:
    """Join the first MOST_LISTED items, and say how many more there are."""
    more = f"; and {len(items) - MOST_LISTED} more" if len(items) > MOST_LISTED else ""
    return "; ".join(items[:MOST_LISTED]) + more


def chosen_notes(comparison: Comparison) -> list[str]:
    """Notes on the chosen hyper-parameters of each tuned loss, and on ties of the choice."""
    by_choice: dict[str, list[str]] = {}
    for row in comparison.rows:
        if row.trials > 1:
            by_choice.setdefault(row.trial.hyper or UNNAMED, []).append(row.label)
    if not by_choice:
        return []
    counts = sorted({row.trials for row in comparison.rows})
    choices = "; ".join(f"{choice} for {', '.join(labels)}" for choice, labels in by_choice.items())
    seeds = _searched(comparison) if comparison.is_confirmed else "all seeds"
    notes = [
        f"Chosen by mean {comparison.options.choose_by} over {seeds}, from "
        f"{' or '.join(map(str, counts))} trials of each loss: {choices}. {_reported(comparison)}"
    ]
    ties = [row.choice.tie for row in comparison.rows if row.choice.tie]
    return notes + [f"Ties: {some(ties)}."] * bool(ties)


def _searched(comparison: Comparison) -> str:
    """The seeds of the search without the fresh ones, in words: 'seed 0', 'seeds 0 to 2'."""
    confirmed = {row.label for row in comparison.rows if row.choice.is_confirmed}
    trials = [trial for trial in comparison.trials if trial.loss in confirmed]
    seeds = {seed for trial in trials for seed in trial.seeds}
    return f"seed{'s' * (len(seeds) != 1)} {_seeds(seeds)}"


def _seeds(seeds: set[int]) -> str:
    """List seeds in order; three neighbours or more as '3 to 7'."""
    spans: list[list[int]] = []
    for seed in sorted(seeds):
        if spans and seed == spans[-1][-1] + 1:
            spans[-1].append(seed)
        else:
            spans.append([seed])
    texts = [[f"{span[0]} to {span[-1]}"] if len(span) > 2 else map(str, span) for span in spans]
    return briefly([text for parts in texts for text in parts])


def _reported(comparison: Comparison) -> str:
    """Say which runs of a tuned loss are reported."""
    tuned = [row for row in comparison.rows if row.trials > 1]
    if comparison.is_confirmed:
        fresh = {seed_of(run) for row in tuned for run in row.runs if row.choice.is_confirmed}
        return (
            f"The chosen trial is reported by its fresh seeds, {_seeds(fresh)}, which chose "
            "nothing: so scores are not too good, and intervals no wider than untuned."
        )
    if all(row.choice.flatters for row in tuned):
        return (
            "With one seed, the run that is chosen is also the run that is reported: the scores of "
            "a tuned loss are too good, by an unknown amount."
        )
    if any(trial.is_paused for trial in comparison.trials):
        return (
            "For each seed the other seeds choose among the trials that were trained to the end. "
            "All seeds chose these, so that the scores of every loss may be too good; intervals "
            "are widened for it. Fresh seeds would show by how much: the sweep with confirm=5."
        )
    return (
        "For each seed the other seeds choose the trial whose run is reported. So no run is "
        "chosen because it was lucky itself."
    )
