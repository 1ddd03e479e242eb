"""The scorecard of one run: a table of every metric with its standard error."""

from collections.abc import Sequence

from xent_bench.metrics.reported import METRICS, PREFIXES, RECIPE, TITLES, Metric, calibrators_in
from xent_bench.metrics.shifts import on_other_images
from xent_bench.runs.result import Run
from xent_bench.tables import Table, joined


def scorecard(run: Run, *, with_details: bool = False) -> Table:
    """Table of a run with one row per metric and one column per calibrator.

    Without details, a note names the metrics that are left out.
    """
    prefixes = ["test", *(PREFIXES[name] for name in calibrators_in(run.metrics))]
    metrics = [
        metric
        for metric in METRICS.values()
        if any(f"{prefix}/{metric.name}" in run.metrics for prefix in prefixes)
    ]
    shown = [metric for metric in metrics if with_details or not metric.is_detail]
    rows = [
        [_name(metric), _meaning(metric), *(_cell(run, prefix, metric) for prefix in prefixes)]
        for metric in shown
    ]
    headings = ["metric", "", *(f"{_folded(prefix)}\n± SE" for prefix in prefixes)]
    title = f"{run.name}: {run.params['data']}, {run.params['model']}"
    notes = _notes(run, prefixes)
    if len(shown) < len(metrics):
        left_out = joined([metric.name for metric in metrics if metric not in shown])
        notes.append(f"Not shown: {left_out}. --all shows them.")
    return Table(title, headings, rows, notes, text=2)


def _folded(prefix: str) -> str:
    return TITLES[prefix].replace(" ", "\n")


def _name(metric: Metric) -> str:
    return f"{metric.name} %" if metric.unit == "%" else metric.name


def _meaning(metric: Metric) -> str:
    return f"{metric.meaning}, nats" if metric.unit == "nats" else metric.meaning


def _cell(run: Run, prefix: str, metric: Metric) -> str:
    """The value of a metric as shown, with its standard error if it has one."""
    value = run.metrics.get(f"{prefix}/{metric.name}")
    error = run.metrics.get(f"{prefix}_se/{metric.name}")
    if value is None:
        return "-"
    shown = f"{metric.scale * value:.{metric.decimals}f}"
    return f"{shown} ± {metric.scale * error:.{metric.decimals}f}" if error else shown


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
    if "calib_labels" in run.tags:
        notes.append(
            "Temperature and other calibrators are fitted to calib, where every label is one "
            "class, and scored against the votes of test, which are less sure."
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
    accuracy = "left open by calib" if error is None else f"± {error:.2g} (SE over calib)"
    scaled_map = run.tags.get("scaled_map", "softmax(z / T)")
    value = run.metrics["test_ts/temperature"]
    notes.append(f"temperature scaling: {scaled_map}, T = {value:.3g} {accuracy}.")
    if "test/nll_calibration" in run.metrics:
        notes.append(
            "nll_calibration: nll as trained less nll after temperature scaling. What is left is "
            "the refinement; better maps than a temperature may leave less."
        )
    notes += _on_class_sizes(run, scaled_map)
    recipe = run.tags.get(f"{RECIPE}_verdict")
    if recipe is not None:
        notes.append(
            f"The verdict on temperature scaling is of this net with this T, error and all; "
            f"of the recipe, with T fitted anew on so many images: {recipe}."
        )
    return notes + on_other_images(run.metrics)


def _on_class_sizes(run: Run, scaled_map: str) -> list[str]:
    """Notes on the prior correction and on the groups of classes, where the run has them."""
    notes = []
    exponent = run.metrics.get("test_pc/prior_exponent")
    if exponent is not None:
        t, error = run.metrics["test_pc/temperature"], run.metrics["test_pc_se/prior_exponent"]
        divided = scaled_map.removeprefix("softmax(").removesuffix(")")
        notes.append(
            f"prior correction: softmax({divided} + (a - 1) log pi_train + log pi_test), T = "
            f"{t:.3g}, a = {exponent:.2f} ± {error:.2g} (SE over calib), with pi the class "
            "frequencies. a is near 0 where outputs contain those of train, as with ce, and near 1 "
            "where the loss takes them out, as balanced_softmax does."
        )
    if "test/worst_class_top1" in run.metrics:
        notes.append(
            "many, medium, few: the classes with most, with fewer and with fewest images in train, "
            "about a third each; classes of one size stay together. classes.csv has every class."
        )
    return notes


def _by_chance(ends: Sequence[float], *, is_soft: bool) -> str:
    """Sentence about what a calibrated net shows: `ends` of ECE and of overconfidence, in %."""
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
