"""The flow of a prediction: from a net and images to rows, scores and sentences about them."""

import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from xent_bench.arrays import LogProbabilities, Outputs, Target
from xent_bench.comparison.best_run import best_of, chosen_run, is_run, seeds_of
from xent_bench.comparison.trials import seed_of
from xent_bench.data.image_files import shown
from xent_bench.failures import UsageError
from xent_bench.prediction.abstention import Abstention, abstention, abstention_lines
from xent_bench.prediction.conformal import conformal_lines, fit_conformal
from xent_bench.prediction.data_sets import (
    TRAINED_ON,
    ImagesToPredict,
    batches_of_features,
    images_of_choice,
    images_of_split,
    refuse_images_for_features,
)
from xent_bench.prediction.drawn_labels import draw_lines, one_class_each
from xent_bench.prediction.ensemble import Ensemble, ensemble, scores_table
from xent_bench.prediction.image_list import image_list, left_out_line
from xent_bench.prediction.options import Options
from xent_bench.prediction.pictures import Batch, Reader, decoded
from xent_bench.prediction.predictor import (
    OneNet,
    Predictor,
    one_net,
    scored,
    stored_predictions,
    version_lines,
)
from xent_bench.prediction.rows import Names, Row, Wanted, rows_of, without_infinities
from xent_bench.prediction.written import JsonWriter, TableWriter, Writer, csv_writer, say
from xent_bench.printable import printable
from xent_bench.tables import print_table
from xent_bench.trained_net.record import NetRecord

PROGRESS = 30.0  # seconds between two lines of progress


class Basis(NamedTuple):
    """Labelled images that the net was not trained on: they show what to expect of new images."""

    split: str  # their name in a sentence
    log_p: LogProbabilities
    u: Outputs | None  # what the temperature divides; None for an ensemble
    target: Target


def predict(place: Path, options: Options) -> int:
    """Predict the images, write the rows, and return how many images could not be predicted.

    DataError, UsageError or Unavailable, of one line each, before the first row; what is wrong with
    an image is said in its row.
    """
    _refuse_further_runs(options.images)
    predictor, folder = _predictor(place, options)
    record = predictor.record
    source = _source(options, folder, predictor)
    basis = _basis(predictor, folder, options)
    labels = None if basis is None else one_class_each(basis.target)
    conformal = answers = None
    if options.coverage is not None and basis is not None and basis.u is not None:
        assert labels is not None
        conformal = fit_conformal(basis.u, labels, options.coverage)
    if options.abstain is not None and basis is not None and labels is not None:
        answers = _abstention(basis, labels, predictor, options.abstain)
    wanted = Wanted(min(options.top, len(record.classes)), conformal, options.abstain)
    to_error = options.csv is not None or options.is_json
    say(version_lines(record), to_error=True)
    tally = Tally()
    with _writer(options, wanted) as writer:
        for batch in source.batches():
            rows = list(_rows(batch, predictor, record.classes, wanted, tally, source.target))
            writer.write(rows)
            tally.count(rows)
        writer.finish()
    lines = [*source.lines(), *tally.lines(source.target)]
    if conformal is not None:
        lines += conformal_lines(conformal)
    if answers is not None:
        lines += abstention_lines(answers)
    elif options.abstain is not None:
        lines.append(
            "Nothing is known of errors at this confidence: there is no image that no member was "
            "trained on."
        )
    if basis is not None:
        lines += draw_lines(basis.target)
    say([*lines, *tally.complaint()], to_error=to_error)
    return tally.errors


def _predictor(place: Path, options: Options) -> tuple[Predictor, Path]:
    """The net or the ensemble, and the folder of its run; of an ensemble that of the first."""
    if not options.is_ensemble:
        folder, reason = chosen_run(place)
        _say_why(reason)
        return one_net(folder, device=options.device, is_raw=options.is_raw), folder
    if is_run(place):
        members = seeds_of(place)
    else:
        best = best_of(place)
        members = best.members
        _say_why(best.reason)
    together = ensemble(members, options.device)
    say([together.line], to_error=True)
    scores = scores_table(together, [seed_of(run) for run in members])
    if options.csv is None and not options.is_json:
        print_table(scores)
    else:
        say([_as_line(scores.headings, row) for row in scores.rows], to_error=True)
    return together, together.folders[0]


def _refuse_further_runs(images: Sequence[str]) -> None:
    """UsageError where a run's folder stands among the images, as from runs/ce-* typed."""
    for word in images:
        if is_run(Path(word)):
            raise UsageError(
                f"expected one run, or the folder above several, and then images: {word} is a run"
            )


def _say_why(reason: str) -> None:
    if reason:
        print(printable(reason), file=sys.stderr)  # the names in it may be another person's


def _as_line(headings: Sequence[str], row: Sequence[str]) -> str:
    scores = ", ".join(f"{name} {value}" for name, value in zip(headings[1:], row[1:], strict=True))
    return f"{row[0]} on test: {scores}"


class Source(NamedTuple):
    """The images, their labels if these are known, and what is to be said of them at the end."""

    batches: Callable[[], Iterator[Batch]]
    target: Target | None
    lines: Callable[[], list[str]]


def _source(options: Options, folder: Path, predictor: Predictor) -> Source:
    record = predictor.record
    if options.split is not None or options.data:
        images = _images(options, folder)
        target = images.target(record.classes)
        return Source(
            lambda: images.batches(record), target, lambda: _about(images, record, options)
        )
    if record.preprocessing.vectors is not None:
        refuse_images_for_features(options.images)
        return Source(lambda: batches_of_features(options.images, record), None, list)
    if not any(map(os.path.lexists, options.images)):
        raise UsageError(f"{', '.join(map(shown, options.images))}: no such file or folder")
    left_out: Counter[str] = Counter()
    reader = Reader(record)
    listed = image_list(options.images, left_out)

    def lines() -> list[str]:
        grey = "Files in colour were converted: the net takes grey images."
        return [*left_out_line(left_out), *[grey] * reader.has_made_grey]

    return Source(lambda: decoded(reader.chunks(listed), reader), None, lines)


def _images(options: Options, folder: Path) -> ImagesToPredict:
    """The images of the chosen data, or of the run's own split."""
    if options.split is None:
        return images_of_choice(options.data, folder)
    images = images_of_split(folder, options.split)
    # each member has its own train, val and calib; test is the same for all
    if options.is_ensemble and options.split != "test":
        return replace(images, why_unscored=TRAINED_ON)
    return images


def _about(images: ImagesToPredict, record: NetRecord, options: Options) -> list[str]:
    """Say why images with labels get no scores, or no fair ones; nothing if they do."""
    if images.why_unscored:
        return [images.why_unscored]
    if images.data.classes != tuple(record.classes):
        return ["No scores: the set has other classes than the net."]
    if options.split == "calib":
        return ["The temperature was fitted on these images: test is the judge of it."]
    return []


def _basis(predictor: Predictor, folder: Path, options: Options) -> Basis | None:
    """The images that sets and abstention are judged by.

    None if neither is asked for, or if an ensemble has no such images.
    """
    if options.coverage is None and options.abstain is None:
        return None
    if isinstance(predictor, Ensemble):
        if predictor.held is None:
            return None
        held = predictor.held
        name = "the images that no member was trained on"
        return Basis(name, predictor.scaled(held.log_p), None, held.target)
    assert isinstance(predictor, OneNet)
    calib = stored_predictions(folder, predictor).calib
    outputs = calib.outputs.astype(np.float64)
    return Basis("calib", predictor.log_p(outputs), predictor.dividend(outputs), calib.target)


def _abstention(basis: Basis, labels: Any, predictor: Predictor, confidence: float) -> Abstention:
    reason = ""
    if isinstance(predictor, Ensemble):
        reason = "Temperatures were fitted on such images, and val, which chose, is among them"
    elif isinstance(predictor, OneNet) and not predictor.is_raw:
        reason = "The temperature was fitted on the same images"
    return abstention(basis.log_p, labels, confidence, basis.split, reason)


class Tally:
    """Counts of images and of those without a prediction, and the scores of labelled ones."""

    def __init__(self) -> None:
        """Begin at nothing."""
        self.images = self.errors = 0
        self.first_error = ""  # with the name of its image
        self.log_p: list[LogProbabilities] = []
        self.places: list[int] = []  # of the scored images among all
        self.last_line = time.monotonic()

    def count(self, rows: Sequence[Row]) -> None:
        """Count the rows of a batch; print a line on stderr now and then."""
        self.images += len(rows)
        wrong = [row for row in rows if row.error]
        if wrong and not self.errors:
            self.first_error = f"{wrong[0].file}: {wrong[0].error}"
        self.errors += len(wrong)
        now = time.monotonic()
        if now - self.last_line > PROGRESS:
            self.last_line = now
            print(f"{self.images:,} images so far", file=sys.stderr, flush=True)

    def keep(self, log_p: LogProbabilities, names: Names) -> None:
        """Keep the probabilities of images whose labels are known."""
        self.log_p.append(log_p)
        self.places += [self.images + k for k in range(len(names.files)) if k not in names.errors]

    def lines(self, target: Target | None) -> list[str]:
        """The scores of the images, where their labels are known."""
        if target is None or not self.places:
            return []
        scores = scored(np.concatenate(self.log_p), target[self.places])
        shown = ", ".join(f"{name} {value:.6g}" for name, value in scores.items())
        return [f"Scores of these {len(self.places):,} images: {shown}."]

    def complaint(self) -> list[str]:
        """How many images have no prediction; nothing if all have one."""
        if not self.errors:
            return []
        count = f"{self.errors:,} of {self.images:,} could not be predicted; their rows say why"
        return [f"{count}. The first: {self.first_error}"]


def _rows(
    batch: Batch,
    predictor: Predictor,
    classes: Sequence[str],
    wanted: Wanted,
    tally: Tally,
    target: Target | None,
) -> Iterator[Row]:
    if not len(batch.images):
        empty = np.empty((0, len(classes)))
        return rows_of(batch.names, empty, None, classes, replace(wanted, conformal=None))
    outputs = predictor.outputs(batch.images)
    is_finite, names = without_infinities(outputs.reshape(len(outputs), -1), batch.names)
    outputs = outputs[is_finite]
    log_p = predictor.log_p(outputs)
    u = None
    if wanted.conformal is not None and isinstance(predictor, OneNet):
        u = predictor.dividend(outputs)
    if target is not None:
        tally.keep(log_p, names)
    return rows_of(names, log_p, u, classes, wanted)


def _writer(options: Options, wanted: Wanted) -> Any:
    if options.csv is not None:
        return csv_writer(options.csv, wanted)
    writer: Writer = JsonWriter() if options.is_json else TableWriter(wanted)
    return nullcontext(writer)
