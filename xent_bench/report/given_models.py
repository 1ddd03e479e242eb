"""Models that are given as files of predictions, as `xent-report --predictions` names them."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from xent_bench.comparison.models import Member
from xent_bench.failures import UsageError
from xent_bench.runs.given_predictions import load_given

Named = tuple[str | None, Path]  # the name that is typed before a file, if any
OF_RUNS = {  # options of xent-report that need runs, and their values without one
    "experiment": None,
    "tasks": False,
    "publish": False,
    "choose_by": "",
    "rank_anyway": False,
    "trials": False,
    "power": None,
}


def check_options(options: argparse.Namespace) -> None:
    """Raise a UsageError where an option of xent-report is given that needs runs."""
    given = [name for name, without in OF_RUNS.items() if getattr(options, name) != without]
    if given:
        raise UsageError(f"--{given[0].replace('_', '-')}: needs runs; not with --predictions")
    if options.runs != ["runs"]:
        raise UsageError(f"expected runs or --predictions, got {options.runs[0]} beside it")


def load_members(words: Sequence[str]) -> list[Member]:
    """Read the files that `a.npz b.npz` or `mine=a.npz,b.npz` name, as nets of models.

    The model is the name that is typed, else the file's `name`, else the loss of the run whose
    result lies beside the file, else the name of the file. The seed, by which nets of models are
    paired, is the file's `seed`, else that of the run, else the number of the model's files before
    it. UsageError for a bad word, or a file that a model has twice, DataError for a bad file.
    """
    members: list[Member] = []
    read: set[tuple[str, Path]] = set()
    for typed, file in _named_files(words):
        given = load_given(file)
        model = typed or given.name or file.stem
        if (model, file.resolve()) in read:
            raise UsageError(f"--predictions: {model} has {file} twice: one net is not two seeds")
        read.add((model, file.resolve()))
        place = sum(member.model == model for member in members)
        members.append(
            Member(model, place if given.seed is None else given.seed, given.predictions, str(file))
        )
    return members


def _named_files(words: Sequence[str]) -> list[Named]:
    files: list[Named] = []
    for word in words:
        name, equals, listed = word.partition("=")
        if not equals or Path(word).exists():  # a folder may have = in its name
            files.append((None, Path(word)))
            continue
        if not name.strip() or not all(part.strip() for part in listed.split(",")):
            raise UsageError(
                f"--predictions: expected FILE.npz or NAME=FILE.npz,FILE.npz, got {word}"
            )
        files += [(name.strip(), Path(part.strip())) for part in listed.split(",")]
    return files
