"""The export of one run's net: a file, its description and its model card, in a new folder."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from xent_bench.export.calibrated_net import calibrated_net
from xent_bench.export.card import Card, model_card
from xent_bench.export.check import Candidate, Check, check, check_sentence, check_without_data
from xent_bench.export.description import describe
from xent_bench.export.formats import format_of
from xent_bench.export.siblings import compared_with
from xent_bench.export.staging import check_free, staged
from xent_bench.failures import DataError
from xent_bench.runs.data_account import load_account
from xent_bench.runs.files import PICTURES, PREDICTIONS, RESULT
from xent_bench.runs.predictions import Predicted
from xent_bench.runs.predictions import load as load_predictions
from xent_bench.runs.reading import read_bytes
from xent_bench.runs.result import load_run
from xent_bench.runs.whole_files import write_lasting
from xent_bench.trained_net import load

DESCRIPTION, CARD, PICTURE = "model.json", "README.md", "reliability.png"
LARGEST_PICTURE = 2**24  # bytes
# sentences of a card that is written at the end of a run
NOT_YET = "Not compared: this card was written when the run ended."
NOT_AGAIN = "they are not read a second time when a run ends"


class Wanted(NamedTuple):
    """A request: the form of the file, where it goes, and how strictly it is checked."""

    form: str  # one of FORMATS
    folder: Path  # new or empty
    licence: str | None = None
    tolerance: float | None = None  # None: by the precision of the run
    unchecked: bool = False  # whether to export where the images of test are gone
    at_end: bool = False  # at the end of training: compared with PyTorch and with no other run
    chosen: str = ""  # why this run was taken among others; empty where it was named


class Exported(NamedTuple):
    """The outcome of an export: the file that was written, and how it was checked."""

    file: Path
    content: str  # what the file holds, in a few words
    description: dict[str, Any]
    check: Check

    @property
    def check_sentence(self) -> str:
        """The outcome of the check in one sentence, with its n."""
        return check_sentence(self.check, len(self.description["classes"]))


class Mismatch(ValueError):
    """The exported file gives other probabilities than those that it stands for."""


def export(folder: Path, wanted: Wanted) -> Exported:
    """Write the net of the run in `folder` as one file, check it, and describe it.

    Nothing is left behind where it fails: with a DataError where the run or its images cannot be
    read, Unavailable where the net cannot be written in that form, and Mismatch where the file is
    further off than the tolerance.
    """
    check_free(wanted.folder)
    form = format_of(wanted.form)
    form.check_installed()
    trained = load(folder, device="cpu")
    run = load_run(folder / RESULT)
    predictions = load_predictions(folder / PREDICTIONS)
    net = calibrated_net(trained, whole_images=True)
    description = describe(run, trained.record, wanted.licence)
    description["format"] = {"name": form.name, "content": form.content()}
    with staged(wanted.folder) as stage:
        file = stage / form.file
        form.write(net, description, file)
        candidate = Candidate(trained, form, file)
        checked = _checked(folder, predictions.test, candidate, wanted)
        if not checked.is_within:
            raise Mismatch(
                f"not exported: {check_sentence(checked, len(trained.classes))}; --tolerance sets "
                "another"
            )
        picture = _picture(folder)
        if picture is not None:
            write_lasting(stage / PICTURE, picture)
        account = load_account(folder)
        card = Card(
            form=form.name,
            file=form.file,
            content=form.content(),
            description=description,
            run=run,
            # the card may be published: it names no folder of this machine
            account=None if account is None else replace(account, folder=None),
            check=checked,
            n_calib=len(predictions.calib.id),
            compared=NOT_YET if wanted.at_end else compared_with(folder, run),
            # likewise
            chosen=wanted.chosen.replace(str(folder), folder.name),
            has_picture=picture is not None,
        )
        write_lasting(stage / CARD, model_card(card))
        content = description | {"file": _file_of(file), "check": _check_of(checked)}
        write_lasting(stage / DESCRIPTION, json.dumps(content, indent=2) + "\n")
    return Exported(wanted.folder / form.file, form.content(), description, checked)


def _checked(folder: Path, test: Predicted, candidate: Candidate, wanted: Wanted) -> Check:
    if wanted.at_end:
        return check_without_data(candidate, wanted.tolerance, NOT_AGAIN)
    try:
        return check(folder, test, candidate, wanted.tolerance)
    except DataError as error:
        if not wanted.unchecked:
            raise DataError(
                f"not exported, since it cannot be compared with the run's test: {error}; "
                "--unchecked compares it with the net in PyTorch alone"
            ) from error
        return check_without_data(candidate, wanted.tolerance, str(error))


def _picture(folder: Path) -> bytes | None:
    """The run's reliability diagram; None where the run has none that can be read."""
    try:
        content = read_bytes(folder / PICTURES / PICTURE, LARGEST_PICTURE)
    except (OSError, ValueError):
        return None
    return content if content.startswith(b"\x89PNG") else None


def _file_of(file: Path) -> dict[str, Any]:
    content = file.read_bytes()
    return {
        "name": file.name,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def _check_of(checked: Check) -> dict[str, Any]:
    """The check as JSON has it; what was not compared is null."""
    parts = {
        "to_stored_predictions": checked.stored,
        "to_the_net_in_pytorch": checked.in_pytorch,
        "whole_files_to_stored_predictions": checked.files,
    }
    return {
        "tolerance": checked.tolerance,
        "by": checked.runtime,
        **{key: None if part is None else part._asdict() for key, part in parts.items()},
    }
