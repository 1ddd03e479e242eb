"""Every metric of one run, with its uncertainty, as a table."""

from collections.abc import Sequence

from xent_bench.metrics.reported import PREFIXES, TITLES, calibrators_in
from xent_bench.runs.result import Run
from xent_bench.tables import Table

# of each metric: what it is, in few words; shares are shown in per cent
METRICS = {
    "top1": "right answers",
    "top1_likeliest": "answers that are the label's likeliest class",
    "excess_risk": "errors more than the best rule's, p(y|x) known",
    "top5": "true class among the first five",
    "balanced_top1": "right answers, mean over classes",
    "ties": "answers that a tie decides",
    "nll": "-log p of the true class, nats",
    "label_entropy": "of the labels, nats: the least nll can be",
    "kl": "nll above that, nats",
    "true_kl": "KL(p(y|x) || p), nats",
    "brier": "squared error of p, 0 to 2",
    "ece": "calibration error, 15 bins",
    "true_ece": "the same against p(y|x), without label noise",
    "ece_equal_mass": "the same, as many images in each bin",
    "ece_classwise": "the same, of every class",
    "ece_debiased": "root mean square gap, without noise",
    "mce": "the worst bin",
    "smece": "smooth calibration error, no bins",
    "ks": "largest cumulated gap",
    "overconfidence": "mean confidence - accuracy",
    "confidence": "mean confidence",
    "entropy": "of the probabilities, nats",
    "aurc": "mean risk over coverages",
    "eaurc": "the same, above the best order's",
    "auroc_correct": "are right answers more certain?",
}
PLAIN = {"nll", "label_entropy", "kl", "true_kl", "brier", "entropy"}  # no shares
FINE = PLAIN | {"aurc", "eaurc"}


def scorecard(run: Run) -> Table:
    """One row a metric; ± is one standard error over test images."""
    prefixes = ["test", *(PREFIXES[name] for name in calibrators_in(run.metrics))]
    rows = [
        [_name(key), what, *(_cell(run, prefix, key) for prefix in prefixes)]
        for key, what in METRICS.items()
        if any(f"{prefix}/{key}" in run.metrics for prefix in prefixes)
    ]
    headings = ["metric", "", *(f"{_folded(prefix)}\n± SE" for prefix in prefixes)]
    title = f"{run.name}: {run.params['data']}, {run.params['model']}"
    return Table(title, headings, rows, _notes(run, prefixes), text=2)


def _folded(prefix: str) -> str:
    return TITLES[prefix].replace(" ", "\n")


def _name(key: str) -> str:
    return key if key in PLAIN else f"{key} %"


def _cell(run: Run, prefix: str, key: str) -> str:
    value, error = (run.metrics.get(f"{each}/{key}") for each in (prefix, f"{prefix}_se"))
    if value is None:
        return "-"
    factor, form = (1 if key in PLAIN else 100), (".3f" if key in FINE else ".2f")
    return f"{factor * value:{form}}" + (f" ± {factor * error:{form}}" if error else "")


def _notes(run: Run, prefixes: list[str]) -> list[str]:
    notes = [
        f"SE: standard error over the {run.n_test:,} test images; another seed varies on top of "
        "it. None of mce, a maximum, of ece_classwise, for its cost, and where no image differs."
    ]
    is_soft = "test/label_entropy" in run.metrics
    if is_soft:
        notes.append(
            "Labels are distributions q: right answers are the mean q of the answer, nll is "
            "-sum q log p, and everything else is measured against q likewise."
        )
    for prefix in prefixes:
        word = run.tags.get(f"{prefix}_verdict")
        if word is None:
            notes.append(f"{TITLES[prefix]}: the scores are no probabilities.")
            continue
        ends = [
            100 * run.metrics[f"{prefix}_null/{key}"]
            for key in ("ece_low", "ece_high", "overconfidence_low", "overconfidence_high")
        ]
        notes.append(f"{TITLES[prefix]}: {word}. {_by_chance(ends, is_soft=is_soft)}")
    error = run.metrics.get("test_ts_se/temperature")
    known = "left open by calib" if error is None else f"± {error:.2g} (SE over calib)"
    scaled_map = run.tags.get("scaled_map", "softmax(z / T)")
    value = run.metrics["test_ts/temperature"]
    notes.append(f"temperature scaling: {scaled_map}, T = {value:.3g} {known}.")
    recipe = run.tags.get("test_ts_recipe_verdict")
    if recipe is not None:
        notes.append(
            f"The verdict on temperature scaling is of this net with this T, error and all; "
            f"of the recipe, with T fitted anew on so many images: {recipe}."
        )
    return notes


def _by_chance(ends: Sequence[float], *, is_soft: bool) -> str:
    """Say what a calibrated net shows: the ends of the ECE and of overconfidence, in per cent."""
    low, high, under, over = ends
    if is_soft:
        return (
            f"A calibrated net shows by chance an ECE of at most {high:.2f} % (97.5 %), "
            f"overconfidence within {under:.2f} and {over:.2f} % (97.5 % at least)."
        )
    return (
        f"A calibrated net shows by chance an ECE of {low:.2f} to {high:.2f} % (95 %), "
        f"overconfidence of {under:.2f} to {over:.2f} % (97.5 %)."
    )
