"""The composition of the configs of a sweep's runs, which Hydra does once for runs of one choice.

A choice (loss=focal) names a file; a value (seed=1) is set in what the files say. Hydra takes 60 ms
for a run, nearly all of it for the files, and leaves a megabyte of cyclic garbage.
"""

import gc
from collections.abc import Sequence
from copy import deepcopy
from functools import cache
from typing import NamedTuple

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from omegaconf import DictConfig, OmegaConf

from xent_bench.config.explain import CONFIG_ERRORS, composition_error

COLLECT = 50  # compositions of Hydra, after which their garbage is freed


class _Words(NamedTuple):
    """The overrides of a run: choices of files, and values that are set in what these say."""

    choices: tuple[str, ...]
    values: list[Override]


class Composer:
    """Composes runs of one sweep as Hydra does, and keeps what those with the same choices share.

    Hydra must have been initialised.
    """

    def __init__(self, name: str) -> None:
        """`name` is that of the primary config."""
        self.name, self.compositions = name, 0
        self.shared: dict[tuple[str, ...], DictConfig] = {}
        self.parse = cache(OverridesParser.create().parse_override)
        self.is_group = cache(_is_group)

    def config(self, overrides: Sequence[str]) -> DictConfig:
        """The config of a run with these overrides, without Hydra's own part.

        Raises what Hydra raises, or a ConfigError that says it in one line.
        """
        try:
            words = self._divided(overrides)
            if words is not None:
                return self._with_values(*words)
        except Exception:  # the whole composition raises it again, and names the override
            pass
        return self._composed(overrides)

    def _with_values(self, choices: tuple[str, ...], values: Sequence[Override]) -> DictConfig:
        if choices not in self.shared:
            self.shared[choices] = self._composed(choices)
        config = deepcopy(self.shared[choices])
        for override in values:  # as Hydra sets them
            OmegaConf.update(config, override.key_or_group, override.value(), merge=True)
        return config

    def _composed(self, overrides: Sequence[str]) -> DictConfig:
        self.compositions += 1
        if self.compositions % COLLECT == 0:
            gc.collect()  # the search for garbage is off until the imports are done
        try:
            return compose(self.name, list(overrides))
        except CONFIG_ERRORS:
            raise
        except Exception as error:  # Hydra raises anything
            raise composition_error(error) or error from None

    def _divided(self, overrides: Sequence[str]) -> _Words | None:
        """The choices and the values; None where one adds or deletes, which depends on the order.

        Hydra sets values when all choices are made, in the order in which they are typed.
        """
        choices, values = [], []
        for word in overrides:
            override = self.parse(word)
            if override.type is not OverrideType.CHANGE or override.is_sweep_override():
                return None
            if self.is_group(override.key_or_group) and not isinstance(override.value(), dict):
                choices.append(word)
            elif override.package is None:
                values.append(override)
            else:
                return None
        return _Words(tuple(choices), values)


def _is_group(key: str) -> bool:
    """Whether files may be chosen by this key."""
    return bool(GlobalHydra.instance().config_loader().get_group_options(key))
