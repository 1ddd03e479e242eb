"""A sweep as it was typed: its keys from the command and from an experiment's file, checked."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from xent_bench.config.choices import choices_of
from xent_bench.config.configure import ConfigError
from xent_bench.config.design_keys import DEFAULTS
from xent_bench.config.nearest import nearest
from xent_bench.config.of_one_loss import of_one_loss
from xent_bench.designs.swept import Sweep, Swept, sweep_of


def typed_sweep(config: DictConfig) -> Sweep | None:
    """Read what is to be swept; None for another sweeper, which chooses as it goes.

    ConfigError names the first key that cannot be swept as it was typed.
    """
    sweeper = str(config.hydra.sweeper._target_)
    if not sweeper.endswith((".BasicSweeper", ".MissingRuns")):
        return None
    params: Any = config.hydra.sweeper.params or {}
    if not isinstance(params, DictConfig | dict):
        raise ConfigError("hydra.sweeper.params", f"expected lines of key: values, got {params!r}")
    sweep = _read(config, params)
    sweep.check_values()
    _check_design(sweep, params)
    keys_of_one = [swept for swept in sweep.keys if swept.of_loss is not None]
    for swept in keys_of_one:
        _check_key_of_one(swept, sweep, config)
    if config.trials is not None and config.trials < 1:
        raise ConfigError("trials", f"expected at least 1, got {config.trials}")
    if any(swept.is_interval for swept in sweep.keys):
        _check_intervals(sweep, config)
    if sweeper.endswith(".BasicSweeper") and (keys_of_one or config.trials is not None):
        key = keys_of_one[0].typed if keys_of_one else "trials"
        raise ConfigError(key, "needs xent-train's sweeper; expected no hydra/sweeper=")
    return sweep


def _read(config: DictConfig, params: Mapping[str, Any]) -> Sweep:
    arguments = [f"{key!s}={value}" for key, value in params.items()]
    arguments += config.hydra.overrides.task
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    overrides = parser.parse_overrides(arguments)
    folders = added_folders(config)
    of_one = {
        key: one
        for key in (override.get_key_element() for override in overrides)
        if (one := of_one_loss(key, folders))
    }
    return sweep_of(overrides, str(config.hydra.runtime.choices.loss), of_one)


def added_folders(config: DictConfig) -> list[Path]:
    """The folders of choices that --config-dir adds to ours."""
    sources = config.hydra.runtime.config_sources
    return [Path(source.path) for source in sources if source.provider == "command-line"]


def _check_design(sweep: Sweep, params: Mapping[str, Any]) -> None:
    """ConfigError where a key of the design has several values, or stands among those swept."""
    for swept in sweep.keys:
        if swept.name not in DEFAULTS:
            continue
        if swept.override.is_sweep_override():
            raise ConfigError(swept.name, "says which runs the sweep has; expected one value")
        if swept.name in params:
            place = "beside epochs and the like, not below hydra.sweeper.params"
            raise ConfigError(swept.name, f"says which runs the sweep has; expected it {place}")


def _check_intervals(sweep: Sweep, config: DictConfig) -> None:
    from xent_bench.designs.space import check_intervals  # SciPy: 150 ms

    check_intervals(sweep, config.trials)
    for swept in sweep.keys:
        if swept.is_interval:
            _check_number(swept.name, config)


def _check_number(key: str, config: DictConfig) -> None:
    """ConfigError for an interval of what is a text, true or false, or a choice of a group."""
    value = OmegaConf.select(config, key)
    try:
        is_number = value is None or float(str(value)) is not None
    except ValueError:
        is_number = False
    if not is_number:
        got = "a group" if isinstance(value, DictConfig) else repr(value)
        complaint = f"an interval is of numbers, and this is {got}"
        raise ConfigError(key, f"{complaint}; expected values: {key}=A,B")


def _check_key_of_one(swept: Swept, sweep: Sweep, config: DictConfig) -> None:
    """ConfigError where loss.focal.gamma has no such loss, or the loss no such key."""
    loss, key = str(swept.of_loss), swept.name.partition(".")[2]
    losses = choices_of("loss", added_folders(config))
    if loss not in sweep.losses:
        in_sweep = ",".join(sweep.losses)
        if loss in losses:
            complaint = f"loss={loss} is not in the sweep; expected loss={in_sweep},{loss} with it"
        else:
            known = nearest(loss, {*losses, *sweep.losses}, prefix="loss.")
            meant = known if known.startswith("did you mean") else f"expected one of {in_sweep}"
            complaint = f"no such loss; {meant}"
        raise ConfigError(swept.typed, complaint)
    if swept.key.startswith("+") or key.partition(".")[0] in losses.get(loss, ()):
        return
    # a file may take its keys from other files
    values = compose(str(config.hydra.job.config_name), [f"loss={loss}"]).loss
    names = [str(name) for name in values if not str(name).startswith("_")]
    if key.partition(".")[0] not in names:
        raise ConfigError(
            swept.typed, f"no such key; {nearest(key, names, prefix=f'loss.{loss}.')}"
        )
