"""The keys that a sweep is typed with, each with its values and with the runs that have it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from math import ceil
from typing import Any, NamedTuple

from hydra.core.override_parser.types import (
    ChoiceSweep,
    Glob,
    IntervalSweep,
    Override,
    RangeSweep,
)

from xent_bench.config.configure import ConfigError
from xent_bench.config.of_one_loss import OfOneLoss

LOSS, SEED = "loss", "seed"


class Swept(NamedTuple):
    """One key of a sweep and its values, as the user gave them."""

    place: int  # among the keys of the sweep
    key: str  # as a run has it before '=': optimizer.lr, +loss.gamma
    of_loss: str | None  # the only loss whose runs have the key
    override: Override

    @property
    def name(self) -> str:
        """The key without a plus."""
        return self.key.lstrip("+")

    @property
    def typed(self) -> str:
        """The key as the user typed it: loss.focal.gamma."""
        return str(self.override.key_or_group)

    @property
    def is_interval(self) -> bool:
        """Whether its value is an interval of numbers, not a list of values."""
        return isinstance(self.override.value(), IntervalSweep)

    def number(self) -> int:
        """The number of values. ConfigError for a range that has no end or no step."""
        value = self.override.value()
        if isinstance(value, ChoiceSweep):
            return len(value.list)
        if isinstance(value, Glob):
            return len(list(self.override.sweep_iterator()))
        if not isinstance(value, RangeSweep):
            return 1
        start, stop, step = (Decimal(str(end)) for end in (value.start, value.stop, value.step))
        if not (start.is_finite() and stop.is_finite() and step.is_finite() and step):
            raise ConfigError(
                str(self.override.input_line), "expected range(first,end) or with a step > 0"
            )
        return max(0, ceil((stop - start) / step))

    def words(self) -> list[str]:
        """Each value as an override of a run: optimizer.lr=0.1. A shuffle() shuffles them anew."""
        if self.override.is_sweep_override():
            return [f"{self.key}={value}" for value in self.override.sweep_string_iterator()]
        return [f"{self.key}={self.override.get_value_element_as_str()}"]

    def different_values(self) -> tuple[str, ...]:
        """The values of a list as texts, in the order of the list, also if they are shuffled."""
        value, override = self.override.value(), self.override
        if isinstance(value, ChoiceSweep | RangeSweep):
            override = replace(override, _value=replace(value, shuffle=False))
        return tuple(dict.fromkeys(override.sweep_string_iterator()))


class Sweep(NamedTuple):
    """The keys that a user typed for a sweep, and the losses of the sweep."""

    keys: list[Swept]
    losses: dict[str, str]  # words by name: {'focal': 'loss=focal'}; an empty one for the default

    def of(self, loss: str) -> list[Swept]:
        """The keys of the runs of one loss; its own loss.focal.gamma replaces loss.gamma."""
        of_loss = {swept.name for swept in self.keys if swept.of_loss == loss}
        return [
            swept
            for swept in self.keys
            if swept.of_loss == loss or (swept.of_loss is None and swept.name not in of_loss)
        ]

    def places(self, loss: str) -> dict[str, int]:
        """The places of the keys of one loss in the command."""
        return {swept.key: swept.place for swept in self.of(loss)}

    def check_values(self) -> None:
        """ConfigError for a key without a value, or with an interval among other values."""
        for swept in self.keys:
            line = str(swept.override.input_line)
            if not swept.number():
                raise ConfigError(line, "a sweep over no value, so no run")
            if _holds_interval(swept.override.value()):
                raise ConfigError(line, "expected one interval, or a list of values")


def sweep_of(
    overrides: Sequence[Override], default_loss: str, of_one: Mapping[str, OfOneLoss]
) -> Sweep:
    """Read a sweep from its overrides, of which a later one replaces an earlier one of its key.

    `of_one` are the keys of one loss, by the text that was typed: loss.focal.gamma.
    """
    last = {override.get_key_element(): override for override in overrides}
    keys = []
    for place, (key, override) in enumerate(last.items()):
        one = of_one.get(key)
        keys.append(Swept(place, one.key if one else key, one.loss if one else None, override))
    losses = {}
    for swept in keys:
        if swept.key == LOSS:
            _check_names(swept.override)
            losses = {word.partition("=")[2].strip("'\""): word for word in swept.words()}
    return Sweep(keys, losses or {default_loss: ""})


def _check_names(override: Override) -> None:
    if override.is_interval_sweep() or override.is_range_sweep():
        raise ConfigError(LOSS, "expected names, such as loss=ce,focal")


def _holds_interval(value: Any) -> bool:
    values = value.list if isinstance(value, ChoiceSweep) else value
    return isinstance(values, list) and any(isinstance(part, IntervalSweep) for part in values)
