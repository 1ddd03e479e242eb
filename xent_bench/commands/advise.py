"""xent-advise: recommend a loss and a calibrator for what a user needs, by the runs at hand."""

import argparse
import json
import re
import sys
from collections.abc import Callable, Sequence
from math import inf, isfinite, prod
from pathlib import Path
from typing import TYPE_CHECKING

from xent_bench.arguments import Parser
from xent_bench.config.nearest import nearest
from xent_bench.exit_codes import Exit, exit_codes_help, one_line_errors
from xent_bench.failures import UsageError
from xent_bench.process.streams import replace_what_cannot_be_shown

if TYPE_CHECKING:
    from xent_bench.advice.needs import Needs
    from xent_bench.advice.offer import Experiment, Offer
    from xent_bench.runs.begun import Unfinished
    from xent_bench.runs.result import Run

DEFAULT_PLACE = "runs"
FORMS = ("table", "markdown", "json")
# what each need stands for; the names are those of xent_bench/advice/needs.py
NEEDS = {
    "accuracy": "right answers (top-1)",
    "probabilities": "probabilities to act on (NLL)",
    "ranking": "the right class among the first five (top-5)",
    "abstention": "few errors where the net answers only if it is sure (AURC)",
}
KINDS = ("symmetric", "asymmetric", "pair", "matrix", "instance", "file")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the console script xent-advise."""
    replace_what_cannot_be_shown()
    parser = _parser()
    options = parser.parse_intermixed_args(arguments)
    recommends = False
    with one_line_errors("xent-advise"):
        recommends = advise(options)
        sys.stdout.flush()
    sys.exit(Exit.DONE if recommends else Exit.NOT_AS_EXPECTED)


def advise(options: argparse.Namespace) -> bool:
    """Print the card for these options, and return whether it recommends a loss."""
    from xent_bench.advice.card import advise as advise_from  # SciPy is slow to import
    from xent_bench.report.advice_card import record, show

    needs = _needs(options)
    runs, unfinished = load(options.runs)
    offer = _offer()
    _check_names(needs, runs, unfinished, offer)
    card = advise_from(runs, unfinished, needs, offer)
    if options.form == "json":
        print(json.dumps(record(card), indent=2, ensure_ascii=False, allow_nan=False))
    else:
        show(card, options.form)
    return card.pick is not None


def load(places: Sequence[str]) -> "tuple[list[Run], list[Unfinished]]":
    """Load the finished and the unfinished runs of folders and MLflow stores.

    A folder without a finished run has none to offer, and is no mistake. ValueError for a folder
    that is not there, unless it is the default one, and for a run that is in two places.
    """
    from xent_bench.report.places import is_store, load_places
    from xent_bench.runs.begun import load_unfinished
    from xent_bench.runs.files import RESULT, run_folders

    if not places and not Path(DEFAULT_PLACE).is_dir():
        return [], []
    places = places or [DEFAULT_PLACE]
    empty = [
        place
        for place in places
        if not is_store(place) and Path(place).is_dir() and not run_folders(Path(place), RESULT)
    ]
    loaded = load_places([place for place in places if place not in empty], None)
    runs = [run for place in loaded for run in place.runs]
    unfinished = [run for place in loaded for run in place.unfinished]
    return runs, unfinished + [run for place in empty for run in load_unfinished(Path(place))]


def _needs(options: argparse.Namespace) -> "Needs":
    from xent_bench.advice.needs import Needs

    return Needs(
        need=options.need,
        noise=options.noise,
        noise_kind=options.noise_kind,
        imbalance=options.imbalance,
        has_calibration_data=options.calibration_data,
        budget=options.budget,
        shift=options.shift,
        data=options.data,
        model=options.model,
        baseline=options.baseline,
    )


def _check_names(
    needs: "Needs", runs: "Sequence[Run]", unfinished: "Sequence[Unfinished]", offer: "Offer"
) -> None:
    """Raise a UsageError for a name that neither conf nor a run has, and for idle options."""
    params = [*(run.params for run in runs), *(run.params for run in unfinished)]
    for option, name, ours, keys in (
        ("--data", needs.data, offer.data, ("data",)),
        ("--model", needs.model, offer.models, ("model", "model.name")),
        ("--baseline", needs.baseline, offer.losses, ("loss",)),
    ):
        names = {*ours, *(str(of_run[key]) for of_run in params for key in keys if key in of_run)}
        if name is not None and name not in names:
            raise UsageError(
                f"{option}: no {name} in conf or among the runs; {nearest(name, names)}"
            )
    if needs.shift and needs.need == "ranking":
        raise UsageError(
            "--shift: top-5 is not scored under shift; expected --need accuracy, probabilities or "
            "abstention"
        )
    if needs.noise_kind is not None and not needs.noise:
        raise UsageError("--noise-kind: expected --noise RATE beside it")


def _offer() -> "Offer":
    """The choices of conf, and what the files of conf/experiment say of their sweeps."""
    from xent_bench.advice.offer import Offer
    from xent_bench.config.schema import CONF

    names = {
        group: sorted(file.stem for file in (CONF / group).glob("*.yaml"))
        for group in ("loss", "data", "model")
    }
    files = sorted((CONF / "experiment").glob("*.yaml"))
    experiments = {file.stem: _experiment(file) for file in files}
    return Offer(names["loss"], names["data"], names["model"], experiments)


def _experiment(file: Path) -> "Experiment":
    """Read the header and the sweep of an experiment's file."""
    from omegaconf import OmegaConf

    from xent_bench.advice.offer import Experiment

    text = file.read_text(encoding="utf-8")
    comments = [line[2:] for line in text.splitlines() if line.startswith("# ")]
    command, *about = comments[1:]
    params = OmegaConf.select(OmegaConf.create(text), "hydra.sweeper.params") or {}
    runs = prod(len(str(values).split(",")) for values in params.values())
    # the first sentence; a dot within a number ends none
    sentence = re.split(r"[.:]\s", " ".join(about) + " ", maxsplit=1)[0]
    return Experiment(file.stem, command, sentence, runs)


def _number_from(least: float, most: float, expected: str) -> Callable[[str], float]:
    """The argparse type of a number in a range."""

    def checked(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = inf
        if not least <= value <= most or not isfinite(value):
            raise argparse.ArgumentTypeError(f"expected {expected}, got {text!r}")
        return value

    return checked


def _runs(text: str) -> int:
    """Parse a number of runs, at least 1."""
    if not text.isdecimal() or not 1 <= int(text) < 10**9:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def _parser() -> Parser:
    parser = Parser(
        prog="xent-advise",
        description="Which loss, and which calibrator, for what you need? Reads the runs at hand "
        "and recommends what they show, with the evidence, what was not measured, and what to "
        "type to know more. Another loss than the baseline is recommended only if it is shown to "
        "be better, corrected over all losses.",
        epilog="xent-advise --need accuracy --noise 0.2: for labels of which a fifth is wrong. "
        + exit_codes_help(Exit.NOT_AS_EXPECTED, Exit.USAGE, Exit.DATA, Exit.UNAVAILABLE)
        + " 1 is: nothing can be recommended.",
    )
    add = parser.add_argument
    add("runs", nargs="*", help="folders with runs (runs), or MLflow stores: sqlite:///mlflow.db")
    add(
        "--need",
        choices=tuple(NEEDS),
        default="probabilities",
        metavar="NEED",
        help="; ".join(f"{name}: {meaning}" for name, meaning in NEEDS.items())
        + ". Default: probabilities",
    )
    add(
        "--noise",
        type=_number_from(0, 1, "a share from 0 to 1"),
        default=0.0,
        metavar="RATE",
        help="share of wrong labels in your training data, such as 0.2 (0)",
    )
    add("--noise-kind", choices=KINDS, metavar="KIND", help=f"{', '.join(KINDS)} (any)")
    add(
        "--imbalance",
        type=_number_from(1, 1e9, "a ratio of at least 1"),
        default=1.0,
        metavar="RATIO",
        help="your largest class over your smallest one in train, such as 100 (1); in use classes "
        "are taken to be as frequent as in test",
    )
    add(
        "--no-calibration-data",
        action="store_false",
        dest="calibration_data",
        help="nothing can be fitted after training: scores count as trained, and losses without "
        "probabilities, as hinges, are out where these are needed",
    )
    add("--shift", action="store_true", help="images in use are corrupted: needs shift=all runs")
    add(
        "--budget",
        type=_runs,
        metavar="RUNS",
        help="runs that you can afford: sweeps to type are cut to it, and from 9 runs on, which "
        "tune a loss, tuned runs are nearer evidence, below 9 untuned ones",
    )
    add("--data", metavar="NAME", help="your data, as in data=NAME: runs on it are nearer evidence")
    add("--model", metavar="NAME", help="your net, as in model=NAME, or its name in its library")
    add("--baseline", default="ce", metavar="LOSS", help="loss that another must beat (ce)")
    add("--format", choices=FORMS, default="table", dest="form", help="json is for scripts")
    return parser
