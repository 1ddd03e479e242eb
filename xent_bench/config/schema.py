"""The typed top level of the config: what may be said, and which run it names.

Science or machine: what can change the numbers stands at the top and is hashed into the run's key;
what cannot stands under `machine`. Not hashed either: `experiment`, the name a run is filed under;
`calibrator`, which adds numbers to a run and changes none; and `data.download`.
"""

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, cast

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf

from xent_bench.ranges import (
    NaturalNumber,
    NonEmpty,
    NonNegative,
    Positive,
    PositiveInt,
    ThreadCount,
    WorkerCount,
)

# The checkout's folder wins over the copy in the wheel.
HERE = Path(__file__).resolve().parents[1]
CONF = next(folder for folder in (HERE.parent / "conf", HERE / "conf") if folder.is_dir())

GROUPS = ("loss", "data", "model", "optimizer", "schedule")


class Precision(Enum):
    """Arithmetic of the net; the loss and the metrics stay in float32 or above."""

    fp32 = "fp32"
    tf32 = "tf32"  # float32 with products of 10 bits, on GPUs that have it; elsewhere fp32
    bf16 = "bf16"  # mixed: bfloat16 where torch's autocast deems it safe


class Accelerator(Enum):
    """Where to train: a GPU if there is one, or as told."""

    auto = "auto"
    cpu = "cpu"
    gpu = "gpu"


class Compile(Enum):
    """What torch.compile makes of the net in training; its modes, and none."""

    none = "none"
    default = "default"
    reduce_overhead = "reduce-overhead"  # with CUDA graphs
    max_autotune = "max-autotune"


class Calibrator(Enum):
    """What is fitted on calib. Temperature always is; another is reported beside it."""

    temperature = "temperature"
    vector_scaling = "vector_scaling"
    isotonic = "isotonic"


STRICT = {"extra": "forbid"}  # for pydantic: `+epoch=3` is no key either


@dataclass
class Machine:
    """Where and how fast, never what.

    Other threads, another `compile`, and another machine may round differently. What a run had is
    among its tags, and no part of its name.
    """

    __pydantic_config__ = STRICT

    accelerator: Accelerator = Accelerator.auto
    devices: ThreadCount = 1  # that train one run together, each a part of every batch
    jobs: ThreadCount = 1  # runs of a sweep at a time
    threads: ThreadCount | None = None  # of the CPU; null: one for small steps, else a job's share
    workers: WorkerCount | None = None  # that decode images of files; null: a job's share of cores
    deterministic: bool = True  # the same numbers again, on the same hardware
    compile: Compile = Compile.none  # the net; the first steps take long, later ones may be faster
    save_weights: bool = False  # a plain state dict, WEIGHTS in the run's folder and in MLflow
    checkpoint_minutes: Positive = 10.0  # between two, at most; at ends of epochs more often
    retries: NaturalNumber = 2  # of a run of a sweep that was killed, or had no memory or no room
    runs: NonEmpty = "runs"  # the run folders
    tracking: str | None = None  # MLflow's URI; null: MLFLOW_TRACKING_URI, else ./mlflow.db
    offline: bool = False  # log to the run folders alone; xent-sync brings it to MLflow later


@dataclass
class Recipe:
    """Augmentation beyond what the data allow by themselves (data.flip, data.crop)."""

    __pydantic_config__ = STRICT

    cutout: NaturalNumber = 0  # pixels: the side of a blanked square
    mixup: NonNegative = 0.0  # alpha of the Beta distribution of the shares; 0: not at all
    cutmix: NonNegative = 0.0


@dataclass
class Train:
    """One training run."""

    __pydantic_config__ = STRICT

    loss: dict[str, Any] = MISSING
    data: dict[str, Any] = MISSING
    model: dict[str, Any] = MISSING
    optimizer: dict[str, Any] = MISSING
    schedule: dict[str, Any] = MISSING
    seed: NaturalNumber = MISSING
    epochs: PositiveInt = MISSING
    batch_size: PositiveInt = MISSING
    accumulate: PositiveInt = MISSING
    clip_norm: Positive | None = MISSING
    augmentation: Recipe = field(default_factory=Recipe)
    precision: Precision = MISSING
    experiment: str = MISSING
    calibrator: Calibrator = MISSING
    machine: Machine = field(default_factory=Machine)


def register_schema() -> None:
    """Let `schema` head the defaults list of conf/train.yaml: a misspelt key then fails."""
    ConfigStore.instance().store(name="schema", node=Train)


def plain(config: DictConfig) -> dict[str, Any]:
    """A resolved copy of plain values."""
    return cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))


def chosen_values(config: DictConfig, group: str) -> dict[str, Any]:
    """The `_target_` of a group's choice and its hyper-parameters, as plain values.

    `_partial_` is left out: files written for Hydra's `instantiate` have it, and it says nothing
    here, where every target is bound and called later.
    """
    values = plain(config[group])
    return {key: value for key, value in values.items() if key != "_partial_"}
