"""Predictions in an .npz of somebody's: that of a run, or a simple one with logits and target.

A simple file holds `logits` (n, classes) and `target` (n,) or (n, classes); where a temperature is
to be fitted, also `calib_logits` and `calib_target`. Optional are `probabilities` in place of
`logits` (and `calib_probabilities`), `link` (a name, such as sigmoid), `classes` (names), `name`
(of the model) and `seed` (a whole number). Other entries are left alone, unless they seem to be one
of these with a slip.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np

from xent_bench.arrays import Labels, Outputs, Target
from xent_bench.config.nearest import hint
from xent_bench.failures import DataError
from xent_bench.links import BoundLink, softmax
from xent_bench.printable import printable
from xent_bench.runs.files import RESULT
from xent_bench.runs.given_outputs import (
    ENOUGH,
    PROBABILITIES,
    read_outputs,
    read_target,
    refuse_other_columns,
    refuse_other_order,
    without_zeros,
)
from xent_bench.runs.predictions import Predicted, Predictions, load, opened_archive
from xent_bench.runs.result import load_run

LOGITS, TARGET, CALIB = "logits", "target", "calib_"
NAME, SEED, CLASSES, LINK = "name", "seed", "classes", "link"
ENTRIES = (
    *(LOGITS, PROBABILITIES, TARGET, f"{CALIB}{LOGITS}", f"{CALIB}{PROBABILITIES}"),
    *(f"{CALIB}{TARGET}", NAME, SEED, CLASSES, LINK),
)
OF_A_RUN = "test_logits"  # an entry of the predictions of a run, and of no simple file


class GivenPredictions(NamedTuple):
    """The predictions of one net, with the name of its model and its seed where these are known."""

    predictions: Predictions
    name: str | None
    seed: int | None


def load_given(file: Path) -> GivenPredictions:
    """Read the predictions of a run or of a simple file.

    The predictions of a run have the name of its loss and its seed, if its result.json lies beside
    them. DataError for a file that is missing, damaged, or lacks an entry, in one line.
    """
    try:
        with opened_archive(file) as stored:
            entries = {} if OF_A_RUN in stored else {key: stored[key] for key in stored.files}
        if entries:
            return _simple(entries)
    except FileNotFoundError:
        raise DataError(f"expected a file of predictions: no {file}") from None
    except BadZipFile:
        raise DataError(
            f"cannot read {file}: expected an .npz, as np.savez writes it, whole and of no other "
            "format"
        ) from None
    except Exception as error:  # NumPy and zipfile raise many kinds of error for a damaged file
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"cannot read {file}: {reason}") from error
    predictions = load(file)
    result = file.parent / RESULT
    if not result.is_file():
        return GivenPredictions(predictions, None, None)
    run = load_run(result)
    return GivenPredictions(predictions, str(run.params["loss"]), int(run.params["seed"]))


def given(
    outputs: Any, target: Any, calib: tuple[Any, Any] | None, link: Any, names: tuple[str, str, str]
) -> Predictions:
    """Check outputs and labels of test, and of calib if given, and hold them as a run's are held.

    `names` are those of the outputs, the labels and a prefix for those of calib, for errors.
    ValueError for what does not fit, and for a calib that is test itself.
    """
    of_outputs, of_target, prefix = names
    refuse_other_order(outputs, target, f"{of_outputs} and {of_target}")
    logits, reading = read_outputs(outputs, link, of_outputs)
    labels = read_target(target, logits, of_target)
    classes = logits.shape[1]
    test = _predicted("test", logits, labels)
    if calib is None:
        return _held(_predicted("calib", logits[:0], labels[:0]), test, reading)
    refuse_other_order(*calib, f"{prefix}{of_outputs} and {prefix}{of_target}")
    refuse_other_columns(outputs, calib[0], f"{of_outputs} and {prefix}{of_outputs}")
    calib_logits, _ = read_outputs(calib[0], link, f"{prefix}{of_outputs}")
    if calib_logits.shape[1] != classes:
        got = calib_logits.shape[1]
        raise ValueError(f"{prefix}{of_outputs}: expected {classes} classes, got {got}")
    calib_labels = read_target(calib[1], calib_logits, f"{prefix}{of_target}")
    if len(logits) >= ENOUGH and np.array_equal(calib_logits, logits):
        raise ValueError(
            f"{prefix}{of_outputs}: expected examples held out from test, got the test examples "
            "themselves: a temperature that is fitted on them has seen the answers"
        )
    if reading.func is softmax:  # a temperature divides no log of 0
        calib_logits = without_zeros(calib_logits)
    return _held(_predicted("calib", calib_logits, calib_labels), test, reading)


def _simple(entries: Mapping[str, np.ndarray]) -> GivenPredictions:
    lacking = [name for name in ENTRIES if name not in entries]
    for name in sorted(entries.keys() - set(ENTRIES)):  # others, such as ids, are for other readers
        if suggestion := hint(name, lacking):
            raise ValueError(f"{printable(name)}: no entry that is read{suggestion}"[:300])
    if PROBABILITIES in entries and LOGITS in entries:
        raise ValueError(f"expected {LOGITS} or {PROBABILITIES}, got both")
    kind = PROBABILITIES if PROBABILITIES in entries else LOGITS
    for key in (kind, TARGET):
        if key not in entries:
            has = ", ".join(printable(name) for name in entries) or "nothing"
            raise ValueError(f"expected logits and target in it, got {has}"[:300])
    pair = [entries.get(f"{CALIB}{key}") for key in (kind, TARGET)]
    if (pair[0] is None) != (pair[1] is None):
        has, lacks = (kind, TARGET) if pair[1] is None else (TARGET, kind)
        raise ValueError(f"expected {CALIB}{lacks} beside {CALIB}{has}")
    calib = None if pair[0] is None else (pair[0], pair[1])
    link = PROBABILITIES if kind == PROBABILITIES else _text(entries, LINK) or softmax.__name__
    predictions = given(entries[kind], entries[TARGET], calib, link, (kind, TARGET, CALIB))
    if CLASSES in entries:
        predictions = predictions._replace(classes=_classes(entries[CLASSES], predictions))
    return GivenPredictions(predictions, _text(entries, NAME), _seed(entries))


def _predicted(split: str, outputs: Outputs, target: Target) -> Predicted:
    ids: Labels = np.arange(len(outputs))
    return Predicted(split, outputs, target, ids)


def _held(calib: Predicted, test: Predicted, link: BoundLink) -> Predictions:
    return Predictions(calib, test, link, tuple(map(str, range(test.outputs.shape[1]))))


def _text(entries: Mapping[str, np.ndarray], key: str) -> str | None:
    """The text of an entry in one line; None if there is none. ValueError if it is no text."""
    if key not in entries:
        return None
    value = entries[key]
    if value.ndim or value.dtype.kind != "U" or not str(value).strip():
        raise ValueError(f"{key}: expected a text, got {value.dtype} of shape {value.shape}")
    return printable(" ".join(str(value).split()))  # one line: it heads a row of a table


def _seed(entries: Mapping[str, np.ndarray]) -> int | None:
    if SEED not in entries:
        return None
    value = entries[SEED]
    if value.ndim or value.dtype.kind not in "iu" or int(value) < 0:
        raise ValueError(f"{SEED}: expected a whole number of 0 or more, got {value}"[:200])
    return int(value)


def _classes(names: np.ndarray, predictions: Predictions) -> tuple[str, ...]:
    expected = predictions.test.outputs.shape[1]
    if names.dtype.kind != "U" or names.shape != (expected,):
        got = f"{names.dtype} of shape {names.shape}"
        raise ValueError(f"{CLASSES}: expected the names of {expected} classes, got {got}")
    classes = tuple(printable(" ".join(str(name).split())) for name in names)
    if twice := [name for name, count in Counter(classes).items() if count > 1]:
        raise ValueError(f"{CLASSES}: expected each name once, got {twice[0]!r} twice")
    return classes
