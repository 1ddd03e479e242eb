"""The rows of a table of images: labels, splits, groups, weights, and what is wrong with them."""

import os
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from xent_bench.data.attribute import Attribute
from xent_bench.data.class_folders import is_image_name
from xent_bench.data.decoding import ENDINGS
from xent_bench.data.image_checks import can_be_written
from xent_bench.data.image_files import shown
from xent_bench.data.several_labels import QUESTION, hint_in_rows, hint_in_texts, text_with_several
from xent_bench.data.split_folders import SPLIT_OF
from xent_bench.data.table_columns import Columns, in_order, number_of
from xent_bench.data.table_file import TextTable, refuse_rows
from xent_bench.failures import DataError


class TableRows:
    """The rows of a table by the columns that were chosen, and what is wrong with them."""

    def __init__(self, table: TextTable, columns: Columns, folder: Path, ending: str) -> None:
        """Paths begin at `folder`, and `ending` is added to them."""
        self.table, self.columns, self.folder = table, columns, folder
        self.wrong: dict[int, str] = dict(table.ragged)
        self._is_relabelled = False  # an image has several labels, and nobody who voted is named
        self.paths = self._paths(ending)
        self.votes = self._votes() if columns.votes else None
        self.splits = self._splits()
        self._check_labels()
        self._check_weights()
        self._check_groups()

    def refuse_wrong(self) -> None:
        """Raise a DataError that counts the wrong rows, and names some by their numbers."""
        refuse_rows(self.table, self.wrong, QUESTION if self._is_relabelled else "")

    def labels(self) -> tuple[Tensor, tuple[str, ...]]:
        """The labels, hard or soft, and the classes: whole numbers in their order, texts sorted.

        DataError for what looks like several labels of an image.
        """
        if self.votes is not None:
            if hint := hint_in_rows(self.votes):
                raise DataError(f"{shown(self.table.file)}: {hint}")
            rows = self.votes / self.votes.sum(axis=1, keepdims=True)
            if ((self.votes > 0).sum(axis=1) == 1).all():
                return torch.from_numpy(rows.argmax(axis=1)), self.columns.votes
            return torch.from_numpy(rows), self.columns.votes
        assert self.columns.label is not None
        texts = self.table.columns[self.columns.label]
        names = in_order(set(texts))
        if several := text_with_several(names):
            place = f"{self.table.unit} {self.table.numbers[texts.index(several)]}"
            raise DataError(f"{shown(self.table.file)}, {place}: {hint_in_texts(names)}")
        number = {name: place for place, name in enumerate(names)}
        return torch.tensor([number[text] for text in texts]), names

    def official(self) -> dict[str, Tensor]:
        """The ids of the official test and val; without test, those of val are test."""
        ids: dict[str, Tensor] = {
            split: torch.tensor([i for i, name in enumerate(self.splits) if name == split])
            for split in ("test", "val")
            if split in self.splits
        }
        if self.splits and "train" not in self.splits:
            raise DataError(f"expected rows of train in {shown(self.table.file)}, got none")
        if "val" in ids and "test" not in ids:
            ids["test"] = ids.pop("val")
        return ids

    def groups(self) -> Tensor | None:
        """The number of each image's group; an image without a group is one by itself."""
        if self.columns.group is None:
            return None
        numbers: dict[str, int] = {}
        texts = self.table.columns[self.columns.group]
        return torch.tensor(
            [numbers.setdefault(text or f"\0{i}", len(numbers)) for i, text in enumerate(texts)]
        )

    def weights(self) -> Tensor | None:
        """The weight of each image."""
        if self.columns.weight is None:
            return None
        texts = self.table.columns[self.columns.weight]
        return torch.tensor([float(text) for text in texts], dtype=torch.float64)

    def attribute(self, name: str | None) -> Attribute | None:
        """The value of each image, by which scores are told apart; `name` is what was asked for."""
        column = self.columns.attribute
        if column is None or name is None:
            return None
        return Attribute.of(name, self.table.columns[column])

    def _complain(self, row: int, reason: str) -> None:
        self.wrong.setdefault(self.table.numbers[row], reason)

    def _paths(self, ending: str) -> list[str]:
        """Paths relative to the folder, with `/` in place of a backslash that no file has."""
        paths = []
        for row, text in enumerate(self.table.columns[self.columns.path]):
            path = f"{text}{ending}"
            if not text:
                self._complain(row, "no path")
            elif not _is_file(self.folder, path):
                slashed = path.replace("\\", "/")
                if _is_file(self.folder, slashed):
                    path = slashed
                else:
                    self._complain(row, self._missing(path))
            paths.append(os.path.normpath(path))
        return paths

    def _missing(self, path: str) -> str:
        """Say that there is no such file, and which key may find it."""
        missing = f"no file {shown(self.folder / path.replace(chr(0), ''))}"
        if is_image_name(path):
            return missing
        endings = (e for ending in ENDINGS for e in (ending, ending.upper()))
        hit = next((e for e in endings if _is_file(self.folder, path + e)), None)
        return f"{missing} (data.ending={hit} adds the ending that it has)" if hit else missing

    def _votes(self) -> np.ndarray:
        """Votes (n, c) in float64; rows of wrong ones hold anything."""
        columns = [self.table.columns[name] for name in self.columns.votes]
        votes = np.zeros((len(self.table.numbers), len(columns)))
        for row, texts in enumerate(zip(*columns, strict=True)):
            numbers = [number_of(text or "0") for text in texts]
            name = next(
                (n for n, v in zip(texts, numbers, strict=True) if v is None or v < 0), None
            )
            if name is not None:
                self._complain(row, f"expected votes of at least 0, got {shown(name)}")
            elif not any(numbers):
                self._complain(row, "no vote for any class")
            else:
                votes[row] = numbers
        return votes

    def _splits(self) -> list[str]:
        if self.columns.split is None:
            return []
        texts, hint = self.table.columns[self.columns.split], self.columns.way_out("split")
        for row, text in enumerate(texts):
            if text.casefold() not in SPLIT_OF:
                got = shown(text) if text else "none"
                self._complain(row, f"expected train, val or test as its split, got {got}{hint}")
        return [SPLIT_OF.get(text.casefold(), "") for text in texts]

    def _check_labels(self) -> None:
        """Complain of labels that are empty or that cannot be printed, and of a path with two."""
        label = self.columns.label
        texts = [] if label is None else self.table.columns[label]
        for row, text in enumerate(texts):
            if not text or not can_be_written(text):
                self._complain(row, f"expected a label, got {shown(text) or 'none'}")
        first: dict[str, int] = {}
        for row, path in enumerate(self.paths):
            before = first.setdefault(path, row)
            if before != row and self._differ(before, row):
                number = self.table.numbers[before]
                there = f"{self.table.unit} {number}"
                votes = self.columns.votes_hint(self.table)
                self._complain(row, f"{shown(path)} has another label or split in {there}{votes}")
                is_label = label is not None and texts[before] != texts[row]
                self._is_relabelled |= is_label and not votes

    def _differ(self, one: int, other: int) -> bool:
        names = [self.columns.label, self.columns.split, *self.columns.votes]
        columns = (self.table.columns[name] for name in names if name is not None)
        return any(column[one] != column[other] for column in columns)

    def _check_weights(self) -> None:
        if self.columns.weight is None:
            return
        hint = self.columns.way_out("weight")
        for row, text in enumerate(self.table.columns[self.columns.weight]):
            number = number_of(text)
            if number is None or number < 0:
                got = shown(text) if text else "none"
                self._complain(row, f"expected a weight of at least 0, got {got}{hint}")

    def _check_groups(self) -> None:
        """Refuse a group that is in two official splits; it would let test be known from train."""
        if self.columns.group is None or not self.splits:
            return
        splits_of: dict[str, Counter[str]] = {}
        for group, split in zip(self.table.columns[self.columns.group], self.splits, strict=True):
            if group:
                splits_of.setdefault(group, Counter())[split] += 1
        crossing = [group for group, splits in splits_of.items() if len(splits) > 1]
        if crossing and not self.wrong:
            counts = ", ".join(f"{n:,} in {s}" for s, n in splits_of[crossing[0]].items())
            raise DataError(
                f"expected every group of {shown(self.table.file)} in one split, got "
                f"{len(crossing):,} in several: {shown(crossing[0])} has {counts}"
                f"{self.columns.way_out('group')}"
            )


def _is_file(folder: Path, path: str) -> bool:
    try:
        return os.path.isfile(os.path.join(folder, path))
    except ValueError:  # a zero byte
        return False
