"""What to type to have one run."""

import shlex
from collections.abc import Iterable

from hydra.conf import HydraConf
from omegaconf import DictConfig


def command_of(hydra: HydraConf | DictConfig, overrides: Iterable[str]) -> str:
    """With the folders of configs that were added; `hydra` is Hydra's own part of the config."""
    folders = [s.path for s in hydra.runtime.config_sources if s.provider == "command-line"]
    flags = [word for folder in folders for word in ("--config-dir", folder)]
    return shlex.join(["xent-train", *flags, *overrides])
