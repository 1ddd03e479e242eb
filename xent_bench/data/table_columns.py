"""The columns of a table by what they say: the path of an image, its label, its split, ..."""

import re
from collections.abc import Collection, Iterable
from typing import NamedTuple

from xent_bench.data.class_folders import is_image_name
from xent_bench.data.guessed_votes import no_votes
from xent_bench.data.image_files import shown
from xent_bench.data.several_labels import QUESTION
from xent_bench.data.split_folders import SPLIT_OF
from xent_bench.data.table_file import TextTable
from xent_bench.failures import DataError

# usual names of columns, in small letters without spaces, underscores and hyphens; the first wins
USUAL = {
    "path": (
        *("path", "imagepath", "filepath", "imgpath", "filename", "file", "image", "imagefile"),
        *("imagename", "img", "imageid", "name", "id"),
    ),
    "label": ("label", "labels", "class", "classname", "target", "category", "diagnosis", "y"),
    "split": ("split", "subset", "partition"),
    "group": ("group", "groupid", "patient", "patientid"),
    "weight": ("weight", "sampleweight"),
    # chosen by the user alone: scores are told apart by it, or rows are counted as votes
    "attribute": (),
    "annotator": (),
}
ANNOTATORS = ("annotator", "annotatorid", "worker", "workerid", "rater", "raterid", "voter")
NAMED = 6  # columns that a refusal names
OFF = "none"  # in place of a name: no column, not even one of a usual name


class Columns(NamedTuple):
    """The names of a table's columns; `votes` in place of `label` where each class has one."""

    path: str
    label: str | None
    votes: tuple[str, ...]
    split: str | None
    group: str | None
    weight: str | None
    attribute: str | None
    annotator: str | None  # each row is a vote of theirs
    guessed: tuple[str, ...] = ()  # keys whose column was taken for its usual name
    left_out: tuple[str, ...] = ()  # columns of a usual name that were switched off

    def votes_hint(self, table: TextTable) -> str:
        """The key that counts rows as votes, where a column seems to name those who voted."""
        names = (column for column in table.columns if _plain(column) in ANNOTATORS)
        column = next(names, None) if self.annotator is None else None
        return "" if column is None else f" (data.annotator={shown(column)} counts rows as votes)"

    def way_out(self, key: str) -> str:
        """The key that leaves out a column that was taken for its usual name, in brackets."""
        return f" (data.{key}={OFF} leaves it out)" if key in self.guessed else ""

    def notes(self, table: TextTable) -> dict[str, str]:
        """The columns that were read and their use, in words; and a split that was not read."""
        votes = ", ".join(map(shown, self.votes[:NAMED])) + ", ..." * (len(self.votes) > NAMED)
        of_labels = f"{len(self.votes)} columns: {votes}" if self.votes else f"column {self.label}"
        if self.annotator is not None:
            of_labels += f", a row for each vote of column {shown(self.annotator)}"
        others = [
            f"{name} from column {shown(column)}{self.way_out(name)}"
            for name in ("split", "group", "weight", "attribute")
            if (column := getattr(self, name)) is not None
        ]
        read = [f"paths from column {shown(self.path)}", f"labels from {of_labels}", *others]
        known = {*self, *self.votes, *self.left_out}
        unread = [name for name in table.columns if name not in known]
        splits = [name for name in unread if self.split is None and _says_splits(table, name)]
        note = "".join(
            f"column {shown(name)} (data.split={shown(name)} honours it)" for name in splits[:1]
        )
        return {"read": ", ".join(read)} | ({"unread splits": note} if note else {})


def choose_columns(
    table: TextTable,
    path: str | None,
    label: str | tuple[str, ...] | None,
    others: dict[str, str | None],
) -> Columns:
    """The columns that were asked for, else those of a usual name.

    Without a column of labels, all other columns are votes, if they hold numbers alone. A column is
    never guessed to hold the weight or the group unless it has exactly such a name; `none` as one
    of `others` leaves a column of a usual name out, of the votes too, and so does its use as path
    or label. DataError names a column that is not there.
    """
    path_column = _chosen(table, "path", path)
    if path_column is None:
        _refuse_missing_header(table)
        raise DataError(_none_called(table, "path", "the paths of images"))
    named = {path, *(label if isinstance(label, tuple) else (label,))}
    columns = _beside_labels(table, path_column, named, others)
    if isinstance(label, tuple):
        for name in label:
            _chosen(table, "label", name)
        if len(label) < 2 or len(set(label)) < len(label):
            raise DataError(f"expected two or more different columns as data.label, got {label}")
        return columns._replace(votes=label)
    label_column = _chosen(table, "label", label)
    if label_column in table.lists:
        raise DataError(
            f"expected a class in each row of column {shown(label_column)} of "
            f"{shown(table.file)}, got lists: {QUESTION}"
        )
    if label_column is not None:
        return columns._replace(label=label_column)
    taken = {*columns, *columns.left_out}
    votes = tuple(name for name in table.columns if name not in taken and name)
    if len(votes) < 2 or not all(_is_numeric(table.columns[name]) for name in votes):
        raise DataError(
            f"{_none_called(table, 'label', 'the labels')}, or data.label=[NAME,NAME] for columns "
            "of votes"
        )
    _refuse_no_votes(table, votes)
    return columns._replace(votes=votes)


def _beside_labels(
    table: TextTable, path: str, named: Collection[str | None], others: dict[str, str | None]
) -> Columns:
    """The columns without those of labels; a column that the user named as such is not guessed."""
    guesses = {key: _chosen(table, key, None) for key in others}
    usual = {key: column for key, column in guesses.items() if column and column not in named}
    chosen = {
        key: usual.get(key) if column is None else _named(table, key, column)
        for key, column in others.items()
    }
    return Columns(
        path,
        None,
        (),
        **chosen,
        guessed=tuple(key for key in usual if others[key] is None),
        left_out=tuple(column for key, column in usual.items() if others[key] == OFF),
    )


def _refuse_no_votes(table: TextTable, votes: tuple[str, ...]) -> None:
    """Refuse columns that were guessed to be votes and cannot be."""
    numbers = {name: [number_of(text) or 0.0 for text in table.columns[name]] for name in votes}
    if (reason := no_votes(numbers)) is not None:
        raise DataError(
            f"{shown(table.file)} has no column of labels, and its other columns of numbers are no "
            f"votes for a class each: {shown(reason)}; data.label=[NAME,NAME] names those of votes"
        )


def _says_splits(table: TextTable, column: str) -> bool:
    """Whether a column holds the names of splits alone, two of them at least, one being train."""
    values = {SPLIT_OF.get(text.casefold()) for text in table.columns[column]}
    return None not in values and "train" in values and len(values) > 1


def _chosen(table: TextTable, key: str, name: str | None) -> str | None:
    """The column that was asked for, or the one with a usual name, if there is one."""
    if name is not None:
        if name not in table.columns:
            raise DataError(f"data.{key}={shown(name)}: no such column; {_has(table)}")
        return name
    by_name: dict[str, str] = {}
    for column in table.columns:
        by_name.setdefault(_plain(column), column)
    return next((by_name[usual] for usual in USUAL[key] if usual in by_name), None)


def _named(table: TextTable, key: str, name: str) -> str | None:
    """The column that was asked for; None where `none` asks for no column."""
    if name != OFF:
        return _chosen(table, key, name)
    if OFF in table.columns:
        raise DataError(
            f"data.{key}={OFF} means no column, and {shown(table.file)} has a column of that name: "
            "call it otherwise"
        )
    return None


def _plain(column: str) -> str:
    """A column's name in small letters, without spaces, underscores and hyphens."""
    return re.sub(r"[\s_\-]", "", column).casefold()


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Names of classes in their order: whole numbers by their values, texts sorted."""
    ordered = sorted(names)
    if all(name.removeprefix("-").isdecimal() for name in ordered):
        ordered.sort(key=lambda name: (int(name), name))
    return tuple(ordered)


def _is_numeric(values: Iterable[str]) -> bool:
    return all(number_of(value) is not None for value in values)


def number_of(text: str) -> float | None:
    """The number that a text is; None if it is none, or infinite."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if abs(number) < float("inf") else None


def _refuse_missing_header(table: TextTable) -> None:
    if any(is_image_name(name) for name in table.columns):
        first = ", ".join(map(shown, list(table.columns)[:NAMED]))
        raise DataError(
            f"expected the names of columns in line 1 of {shown(table.file)}, got {first}: add a "
            "line such as path,label above it"
        )


def _none_called(table: TextTable, key: str, what: str) -> str:
    usual = ", ".join(USUAL[key][:4])
    return f"expected a column with {what} ({usual}, ...); {_has(table)}; data.{key}=NAME names it"


def _has(table: TextTable) -> str:
    names = list(table.columns)
    listed = ", ".join(map(shown, names[:NAMED])) + ", ..." * (len(names) > NAMED)
    return f"{shown(table.file)} has {listed}"
