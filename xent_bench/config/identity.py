"""The identity of a run: the values that can change its numbers, their hash, and the folder."""

import hashlib
import json
import re
import shlex
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hydra.conf import HydraConf
from omegaconf import DictConfig

from xent_bench.config.conditions import conditions
from xent_bench.config.configure import defaults_in_source, net_options, values_in_use
from xent_bench.config.first_weights import first_weights
from xent_bench.config.net_options import OF_FILE, UNHASHED, NetOptions
from xent_bench.config.neutral_keys import RATES
from xent_bench.config.own_code import without_own
from xent_bench.config.schema import GROUPS, plain

FILE_SETS = ("image_folder", "imagenet")  # whose images were always in files
# Keys that were added later count only where they have an effect, so that run keys stay the same.
# A name begins with a group, or with the choice of a group.
NEUTRAL = {
    "timm.size": None,
    "torchvision.size": None,
    **dict.fromkeys(("data.size", "data.interpolation", "data.mean", "data.std"), None),
    **{f"{name}.shorter_side": 0 for name in FILE_SETS},  # crops of the whole image
    **{f"{name}.channels": 3 for name in FILE_SETS},
    **dict.fromkeys((f"image_folder.{split}" for split in ("train", "val", "test")), None),
    "image_folder.crop": 0,
    "synthetic.labels": "drawn",  # the key `labels` of data=synthetic; of another set it counts
    "cifar10.votes": None,
    "table.annotator": None,
    "table.attribute": None,
    **dict.fromkeys(("features.attribute", "features.groups", "features.weights"), None),
    "train_fraction": 1.0,
    "target": "votes",
    "accumulate": 1,
    "clip_norm": None,
    "ema": None,
    "choose": "last",
    "patience": None,
    "choose_by": None,  # counts where it chooses an epoch, or stops the training
    **{
        f"{optimizer}.{key}": value
        for optimizer in ("adamw", "sgd")
        for key, value in RATES.items()
    },
    "augmentation.cutout": 0,
    **dict.fromkeys(("augmentation.mixup", "augmentation.cutmix"), 0.0),
}
# hyper-parameters whose default gives other numbers than a version without them gave
MOVED = ("data.shorter_side",)

LIBRARIES = ("torchvision", "timm")  # choices of a net that have further names
DIGITS = 16  # of a hash of weights, in a run's parameters


def choice(config: DictConfig, group: str) -> str:
    """The name of a group's choice: the last word of its target."""
    return str(config[group]["_target_"]).rpartition(".")[2]


def _full_choice(config: DictConfig, group: str) -> str:
    """The choice's name; a user's own target is named in full, since their ce is not our ce."""
    target = str(config[group]["_target_"])
    return choice(config, group) if target.startswith("xent_bench.") else target


def science(config: DictConfig) -> dict[str, Any]:
    """The flat keys that can change the numbers: {'loss': 'focal', 'loss.gamma': 2.0, ...}."""
    flat: dict[str, Any] = {}
    for group in GROUPS:
        flat[group] = _full_choice(config, group)
        flat |= _counting(config, group, values_in_use(config, group))
    flat |= _net_options(config)
    flat |= {key: config[key] for key in ("seed", "epochs", "batch_size")}
    flat |= {key: value for key, value in _later(config).items() if value != NEUTRAL[key]}
    flat |= conditions(config)
    return flat | {"precision": config.precision.name}


def _counting(config: DictConfig, group: str, values: dict[str, Any]) -> dict[str, Any]:
    """The values of a group that can change the numbers, by their full keys."""
    choice_name = _full_choice(config, group)
    return {
        f"{group}.{key}": value
        for key, value in values.items()
        if key != "_target_"
        and (group, key) != ("data", "download")
        and NEUTRAL.get(f"{choice_name}.{key}", ...) != value
        and NEUTRAL.get(f"{group}.{key}", ...) != value
    }


def _net_options(config: DictConfig) -> dict[str, Any]:
    """The options of the net that can change the numbers, by their full keys.

    Weights count by their content: the same file elsewhere is the same run.
    """
    neutral, weights = asdict(NetOptions()), first_weights(config)
    options = {
        key: value
        for key, value in asdict(net_options(config)).items()
        if value != neutral[key] and key not in UNHASHED
    }
    if weights is None:
        for key in OF_FILE:
            options.pop(key, None)
    else:
        options["weights"] = weights.sha256[:DIGITS]
    return {f"model.{key}": value for key, value in options.items()}


def _later(config: DictConfig) -> dict[str, Any]:
    recipe = {f"augmentation.{key}": value for key, value in plain(config.augmentation).items()}
    by_val = {"choose": config.choose.name, "patience": config.patience}
    if any(value != NEUTRAL[key] for key, value in by_val.items()):
        by_val["choose_by"] = config.choose_by
    later = {key: config[key] for key in ("accumulate", "clip_norm", "ema", "train_fraction")}
    return later | {"target": config.target.name} | by_val | recipe


def run_key(config: DictConfig) -> str:
    """A hash of everything that can change the numbers, as it stands in the name of the folder."""
    return run_folder(config).name.rpartition("-")[2]


def _hash(values: dict[str, Any]) -> str:
    """A hash of values; 2 and 2.0 are one number, and so are 0.0 and -0.0."""
    content = json.dumps(values, sort_keys=True, default=str)
    canonical = json.loads(content, parse_int=float, parse_float=lambda text: float(text) + 0.0)
    return hashlib.sha256(json.dumps(canonical, sort_keys=True).encode()).hexdigest()[:10]


def run_name(config: DictConfig) -> str:
    """The name to show, such as focal-s0."""
    return f"{choice(config, 'loss')}-s{config.seed}"


def run_folder(config: DictConfig) -> Path:
    """The run's folder: runs/<name>/<loss>-<data>-<model>-s<seed>-<key>.

    A hyper-parameter that a YAML file leaves to the default of its function counts as if it was
    written there. Earlier versions did not count it: a folder that has their key is used again.
    """
    names = [*(choice(config, group) for group in ("loss", "data")), _net(config)]
    prefix = "-".join([*names, f"s{config.seed}"])
    parent = Path(str(config.machine.runs), str(config.name))
    written = science(config)
    implied: dict[str, Any] = {}
    for group in GROUPS:
        implied |= _counting(config, group, defaults_in_source(config, group))
    folder = parent / f"{prefix}-{_hash(written | implied)}"
    moved = any(key in implied for key in MOVED)
    if implied and not moved and (earlier := parent / f"{prefix}-{_hash(written)}").is_dir():
        return earlier
    return folder


def _net(config: DictConfig) -> str:
    """The net in the name of a folder: its name in its library, if it is of one."""
    name = choice(config, "model")
    if _full_choice(config, "model") not in LIBRARIES:  # a user's own net may be called timm too
        return name
    return re.sub(r"[^\w.-]", "_", str(config.model.name))


def command_of(hydra: HydraConf | DictConfig, overrides: Iterable[str]) -> str:
    """The command that trains one run; `hydra` is Hydra's own part of the config.

    Folders that were added by --config-dir are part of it.
    """
    folders = [s.path for s in hydra.runtime.config_sources if s.provider == "command-line"]
    flags = [word for folder in folders for word in ("--config-dir", folder)]
    return shlex.join(["xent-train", *flags, *without_own(list(overrides))])
