"""The order of losses under several conditions of the data: noise, imbalance and few labels.

Comparisons belong together if their settings differ in nothing but such conditions. A condition
that all of them have is a part of the setting; the comparison without any other is the reference. A
loss and the baseline change places if one is shown to be better in the reference and the other is
shown to be better under a condition.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from xent_bench.comparison.compare import Comparison
from xent_bench.comparison.contrasts import Pairs, same_weights
from xent_bench.comparison.setting import setting_of
from xent_bench.comparison.stats import LEVEL, Difference, holm
from xent_bench.comparison.yardsticks import Yardstick, by_key
from xent_bench.runs.start import CONDITIONS

TOP1 = "test/top1"
NO_CONDITION = "as it is"


class Condition(NamedTuple):
    """A comparison under conditions, and each of these in words: ['symmetric noise 0.4']."""

    parts: list[str]
    comparison: Comparison

    @property
    def words(self) -> str:
        """All conditions in words."""
        return ", ".join(self.parts)


class Change(NamedTuple):
    """A loss and the baseline that change places between the reference and a condition."""

    loss: str
    condition: str  # in words
    metric: str  # the yardstick's key
    better_in_reference: bool  # whether the loss is better than the baseline there
    p: float  # corrected over all losses, conditions and metrics (Holm)


class Across(NamedTuple):
    """The comparisons of one setting under several conditions, the reference first."""

    title: str  # the setting without its conditions
    conditions: list[Condition]
    has_reference: bool  # whether the first condition is none
    yardsticks: list[Yardstick]  # the primary metric and top-1
    baseline: str | None  # None if one of the comparisons lacks it
    changes: list[Change]

    @property
    def losses(self) -> list[str]:
        """Labels of the losses that any of the comparisons has, in the order of the first."""
        return list(
            dict.fromkeys(
                row.label for condition in self.conditions for row in condition.comparison.rows
            )
        )


def across(comparisons: Sequence[Comparison]) -> list[Across]:
    """Find the comparisons that differ in nothing but conditions, of two losses at least.

    Two at least make a group.
    """
    groups: dict[tuple[str, ...], list[Comparison]] = {}
    for comparison in comparisons:
        if comparison.runs:
            groups.setdefault(_without_conditions(comparison), []).append(comparison)
    several = {
        setting: group
        for setting, group in groups.items()
        if len(group) > 1 and any(len(comparison.rows) > 1 for comparison in group)
    }
    common = set.intersection(*map(set, several)) if several else set()
    return [
        _across(group, [part for part in setting[3:-1] if part not in common])
        for setting, group in several.items()
    ]


def parts_of(params: Mapping[str, Any]) -> list[str]:
    """Each condition of a run in words: ['symmetric noise 0.4'], ['as it is'] without any."""
    words = []
    for name, noun, first in (("noise", "noise", "rate"), ("imbalance", "tail", "ratio")):
        if any(key.partition(".")[0] == name for key in params):
            kind = f"{params[name]} {noun}" if name in params else noun
            words.append(_words(kind, params, f"{name}.", first))
    if "train_fraction" in params:
        words.append(f"{100 * float(params['train_fraction']):g} % of train")
    if "target" in params:
        words.append(f"{params['target']} labels")
    return words or [NO_CONDITION]


def _words(name: str, params: Mapping[str, Any], prefix: str, first: str) -> str:
    """A condition's name, its most telling value, and its other values as key=value."""
    others = [
        f"{key.removeprefix(prefix)}={value}"
        for key, value in sorted(params.items())
        if key.startswith(prefix) and key != prefix + first
    ]
    rate = [f"{float(params[prefix + first]):g}"] if prefix + first in params else []
    return " ".join([name, *rate, *others])


def _is_condition(part: str) -> bool:
    return part.partition("=")[0].partition(".")[0] in CONDITIONS


def _conditions_of(params: Mapping[str, Any]) -> dict[str, str]:
    """The parameters of a run that are conditions, as texts."""
    return {key: str(value) for key, value in params.items() if _is_condition(key)}


def _without_conditions(comparison: Comparison) -> tuple[str, ...]:
    """The setting without conditions; groups with other yardsticks' options do not occur."""
    return tuple(part for part in setting_of(comparison.runs[0]) if not _is_condition(part))


def _across(group: Sequence[Comparison], distinguishing: Sequence[str]) -> Across:
    """Put a group side by side; `distinguishing` is what its setting has and others have not."""
    params = [_conditions_of(comparison.runs[0].params) for comparison in group]
    shared = dict(set.intersection(*(set(of_one.items()) for of_one in params)))
    conditions = [
        Condition(parts_of({key: of_one[key] for key in of_one if key not in shared}), comparison)
        for of_one, comparison in zip(params, group, strict=True)
    ]
    conditions.sort(key=lambda condition: condition.words != NO_CONDITION)  # stable: others stay
    first = group[0]
    primary = first.options.primary
    yardsticks = [by_key(first.options.yardsticks)[key] for key in dict.fromkeys((primary, TOP1))]
    has_reference = conditions[0].words == NO_CONDITION
    baselines = {condition.comparison.baseline for condition in conditions}
    baseline = baselines.pop() if len(baselines) == 1 else None
    changes = []
    if has_reference and baseline is not None:
        changes = _changes(conditions, yardsticks, baseline)
    of_first = first.runs[0].params
    title = ", ".join(
        [f"{first.experiment}: {of_first['data']} with {of_first['model']}", *distinguishing]
        + (parts_of(shared) if shared else [])
    )
    return Across(title, conditions, has_reference, yardsticks, baseline, changes)


def _changes(
    conditions: Sequence[Condition], yardsticks: Sequence[Yardstick], baseline: str
) -> list[Change]:
    """Find the losses that are shown to change places with the baseline.

    For each loss, condition and metric: p is the larger of the two p values, that of the reference
    and that of the condition (an intersection-union test; Berger, 1982), and 1 where both
    differences have one sign. These p are corrected over all losses, conditions and metrics (Holm).
    """
    reference, *others = conditions
    tests = []
    for by in yardsticks:
        before = dict(_differences(reference.comparison, baseline, by))
        for condition in others:
            for label, delta in _differences(condition.comparison, baseline, by):
                if label in before:
                    tests.append((label, condition.words, by, before[label], delta))
    ps = holm([_p_of_change(first, second) for *_, first, second in tests])
    return [
        Change(label, words, by.key, by.better * first.mean > 0, p)
        for (label, words, by, first, _), p in zip(tests, ps, strict=True)
        if p is not None and p < LEVEL
    ]


def _differences(
    comparison: Comparison, baseline: str, by: Yardstick
) -> Iterable[tuple[str, Difference]]:
    """The difference of each other loss to the baseline; none where losses are not ranked."""
    if comparison.unranked:
        return
    field = comparison.field
    for label in field.runs:
        pairs: Pairs = [] if label == baseline else field.paired(label, baseline, by.key)
        if pairs and not all(same_weights(*pair) for pair in pairs):
            yield label, field.difference(pairs, by)


def _p_of_change(first: Difference, second: Difference) -> float:
    if first.p is None or second.p is None or first.mean * second.mean >= 0:
        return 1.0
    return max(first.p, second.p)
