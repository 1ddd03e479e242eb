"""A run's config from words that are typed to a command other than xent-train."""

import os
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, open_dict

from xent_bench.config.command_line import flags_first
from xent_bench.config.configure import ConfigError
from xent_bench.config.nearest import nearest


def composed(
    words: Sequence[str],
    folder: Path | None,
    keys: Sequence[str],
    *,
    command: str,
    options: Sequence[str] = (),
) -> DictConfig:
    """The config of a run with these choices, which may only be of these top-level keys.

    `folder` is that of --config-dir. `options` are words that the command reads itself. ConfigError
    for any other key.
    """
    from hydra import compose, initialize_config_dir

    from xent_bench.config.files import register_files
    from xent_bench.config.schema import CONF, register_schema

    for word in words:
        key = word.lstrip("+~").partition("=")[0]
        if key.partition(".")[0] not in keys and key.partition("@")[0] not in keys:
            meant = nearest(key, (*keys, *options))
            raise ConfigError(key, f"no key of {command}, which trains nothing; {meant}")
    os.environ["HYDRA_FULL_ERROR"] = "1"
    register_schema()
    register_files()
    added = [] if folder is None else [f"hydra.searchpath=['file://{folder.resolve()}']"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", [*flags_first(list(words)), *added])
    with open_dict(config):
        config.pop("hydra", None)
    return config
