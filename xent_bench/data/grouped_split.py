"""Splits that keep every group of images (of a patient, of a camera) within one split."""

from typing import NamedTuple

import torch
from torch import Tensor

from xent_bench.types import Index

SETTLING = 1e-9  # two costs that differ by less are equal, however they were rounded
NOTHING = 1e-9  # images that are wanted of a class in a part of size 0: each costs much


class Contents(NamedTuple):
    """The classes of each group, and how many of its images are of each of these classes."""

    classes: list[list[int]]
    counts: list[list[int]]


def grouped_split(
    labels: Index, groups: Index, sizes: list[int], rng: torch.Generator
) -> list[Tensor]:
    """Split n images into parts of about these sizes, each with the classes in about their shares.

    `labels` (n,) and `groups` (n,) describe the images; the parts hold their positions, sorted. The
    largest groups are placed first, equal ones in random order, each where the squared deviations
    of the parts' class counts from the wanted ones, divided by these, grow least. A part is empty
    only where there are fewer groups than parts.
    """
    names, number = groups.unique(return_inverse=True)
    contents = _contents(labels, number, len(names))
    shuffled = torch.randperm(len(names), generator=rng)
    members = number.bincount(minlength=len(names))
    order = shuffled[members[shuffled].argsort(descending=True, stable=True)]
    total = labels.bincount().tolist()
    wanted = [[count * size / len(labels) for count in total] for size in sizes]
    part_of = _placed(contents, order.tolist(), wanted)
    _fill_empty(part_of, order.tolist(), len(sizes))
    part = torch.tensor(part_of)[number]
    return [(part == index).nonzero().flatten() for index in range(len(sizes))]


def split_groups(groups: Index, parts: dict[str, Tensor]) -> list[tuple[str, int, str, int]]:
    """The groups that lie in two of these parts: for each, a part and an id, and another's."""
    first: dict[int, tuple[str, int]] = {}
    crossing: dict[int, tuple[str, int, str, int]] = {}
    for name, ids in parts.items():
        for image, group in zip(ids.tolist(), groups[ids].tolist(), strict=True):
            before = first.setdefault(group, (name, image))
            if before[0] != name:
                crossing.setdefault(group, (*before, name, image))
    return list(crossing.values())


def _contents(labels: Index, number: Tensor, groups: int) -> Contents:
    c = int(labels.max()) + 1
    pairs, counts = (number * c + labels).unique(return_counts=True)
    contents = Contents([[] for _ in range(groups)], [[] for _ in range(groups)])
    for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True):
        contents.classes[pair // c].append(pair % c)
        contents.counts[pair // c].append(count)
    return contents


def _placed(contents: Contents, order: list[int], wanted: list[list[float]]) -> list[int]:
    """The part of each group, chosen one after the other."""
    missing = [list(counts) for counts in wanted]  # of each class in each part; below 0: too many
    part_of = [0] * len(order)
    for group in order:
        pairs = list(zip(contents.classes[group], contents.counts[group], strict=True))
        costs = [
            sum(n * (n - 2 * lacking[label]) / (share[label] or NOTHING) for label, n in pairs)
            for lacking, share in zip(missing, wanted, strict=True)
        ]
        least = min(costs)
        part = next(i for i, cost in enumerate(costs) if cost <= least + SETTLING)
        part_of[group] = part
        for label, n in pairs:
            missing[part][label] -= n
    return part_of


def _fill_empty(part_of: list[int], order: list[int], parts: int) -> None:
    """Give each empty part the smallest group of the part with the most groups, if it has two."""
    for part in range(parts):
        if part in part_of:
            continue
        fullest = max(range(parts), key=part_of.count)
        if part_of.count(fullest) > 1:
            part_of[next(group for group in reversed(order) if part_of[group] == fullest)] = part
