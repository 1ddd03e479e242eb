"""The typed top level of the config: the keys that exist, with their types and ranges.

Science or machine: a key that can change the numbers stands at the top and is hashed into the run's
key; one that cannot stands under `machine`. Others that are not hashed: `name`, under which a run
is filed (`experiment`, if none is given), `notes` and `tags`; `calibrator`, `shift` and `foreign`,
which add numbers to a run and change none; `data.download`; and the design of a sweep
(`trials` to `max_seeds`), which says which runs there are.
"""

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, cast

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf

from xent_bench.config.calibrators import Calibrator
from xent_bench.ranges import (
    Fraction,
    FromOne,
    NaturalNumber,
    NonEmpty,
    NonNegative,
    OpenFraction,
    Positive,
    PositiveFraction,
    PositiveInt,
    Seed,
    Severity,
    ThreadCount,
    WorkerCount,
)

# The checkout's folder wins over the copy in the wheel.
HERE = Path(__file__).resolve().parents[1]
CONF = next(folder for folder in (HERE.parent / "conf", HERE / "conf") if folder.is_dir())

GROUPS = ("loss", "data", "model", "optimizer", "schedule")
OWN = "own"  # the choice of a group that has no keys but the target that a user types


class Precision(Enum):
    """Arithmetic of the net; the loss and the metrics stay in float32 or above."""

    fp32 = "fp32"
    tf32 = "tf32"  # float32 with products of 10 bits, on GPUs that have it; elsewhere fp32
    bf16 = "bf16"  # mixed: bfloat16 where torch's autocast deems it safe


class Accelerator(Enum):
    """The device to train on; auto takes a GPU if there is one."""

    auto = "auto"
    cpu = "cpu"
    gpu = "gpu"


class Compile(Enum):
    """The mode of torch.compile for the net in training, or none."""

    none = "none"
    default = "default"
    reduce_overhead = "reduce-overhead"  # with CUDA graphs
    max_autotune = "max-autotune"


class Choose(Enum):
    """The epoch whose weights are evaluated."""

    last = "last"
    best = "best"  # on val, by choose_by


class NoiseKind(Enum):
    """The way in which wrong labels are drawn."""

    none = "none"
    symmetric = "symmetric"  # any other class, each as likely
    asymmetric = "asymmetric"  # the class that a map names
    pair = "pair"  # the next class
    matrix = "matrix"  # by a matrix of transition probabilities
    instance = "instance"  # by the pixels of the image
    file = "file"  # labels that a file holds


class NoisyOrClean(Enum):
    """The labels of val and calib, where those of train are noisy."""

    noisy = "noisy"
    clean = "clean"


class ImbalanceKind(Enum):
    """The shape of the class sizes that are left in train."""

    none = "none"
    exponential = "exponential"
    step = "step"


class NaturalOrBalanced(Enum):
    """The class sizes of val and calib, where train is imbalanced."""

    natural = "natural"  # as in train
    balanced = "balanced"  # as the data set has them


class Sampler(Enum):
    """The way in which the points of a search are chosen."""

    sobol = "sobol"  # evenly over the space, the same points for every loss
    tpe = "tpe"  # near the points that were good for the loss: Optuna's sampler


class Until(Enum):
    """The end of a sweep: when its runs are done, or when its question is decided."""

    once = "once"
    decided = "decided"  # seeds are added for the losses that are not yet better, worse or tied


class TrainingTarget(Enum):
    """The label that training sees, where people voted on the class of an image."""

    votes = "votes"  # the distribution
    majority = "majority"  # the likeliest class


# pydantic then refuses `+epoch=3` too, and infinite numbers
STRICT = {"extra": "forbid", "allow_inf_nan": False}


@dataclass
class Machine:
    """Settings of where and how fast a run is computed, none of which can change what it learns.

    The number of threads, `compile`, the machine and, on a GPU, `together` can change how numbers
    round. What a run had is among its tags and not in its name.
    """

    __pydantic_config__ = STRICT

    accelerator: Accelerator = Accelerator.auto
    devices: ThreadCount = 1  # number that train one run together, each a part of every batch
    jobs: ThreadCount = 1  # processes that train runs of a sweep at a time
    together: Any = "auto"  # runs of a sweep that train as one: auto, or N at most; 1: each alone
    threads: ThreadCount | None = None  # on a CPU; null: one for small steps, else a job's share
    workers: WorkerCount | None = None  # decode image files; null: a job's share of the cores
    worker_timeout: NonNegative | None = 120.0  # seconds without an image; null or 0: no limit
    cache: bool | None = None  # of decoded images; null: where a quarter of the free disk is enough
    deterministic: bool = True  # gives the same numbers again on the same hardware
    compile: Compile = Compile.none  # makes first steps slow and later ones faster, perhaps
    cuda_graph: bool = False  # launches a step of runs that train as one as a whole, on a GPU
    pictures: bool = True  # of each run, when it ends; else xent-rescore --pictures draws them
    save_weights: bool = False  # as a plain state dict, in the run's folder and in MLflow
    log_model: bool = False  # calibrated, as an MLflow model, in the run's folder and in MLflow
    checkpoint_minutes: Positive = 10.0  # at most, between two; also after epochs
    pause_after: PositiveInt | None = None  # epochs, after which a run pauses until typed again
    rank_timeout: Positive = 600.0  # seconds that one of `devices` processes may be silent
    retries: NaturalNumber = 2  # for a run of a sweep that was killed or lacked memory or room
    most_runs: PositiveInt = 10_000  # of a sweep; more are refused, since few want them
    runs: NonEmpty = "runs"  # the folder of run folders
    tracking: str | None = None  # MLflow's URI; null: MLFLOW_TRACKING_URI, else ./mlflow.db
    offline: bool = False  # logs to run folders alone; xent-sync sends that to MLflow later


@dataclass
class Recipe:
    """Augmentation beyond data.flip and data.crop, which belong to a data set."""

    __pydantic_config__ = STRICT

    cutout: NaturalNumber = 0  # pixels: the side of a blanked square
    mixup: NonNegative = 0.0  # alpha of the Beta distribution of the shares; 0: not at all
    cutmix: NonNegative = 0.0


@dataclass
class Noise:
    """Wrong labels, drawn once from the clean ones; those of test are never touched."""

    __pydantic_config__ = STRICT

    kind: NoiseKind = NoiseKind.none
    rate: Fraction = 0.0  # the share of labels to be changed
    seed: Seed | None = None  # of the draws; null: the run's seed
    val: NoisyOrClean = NoisyOrClean.noisy
    map: Any = None  # for asymmetric: {cat: dog, dog: cat}; null: the one published for the data
    matrix: NonEmpty | None = None  # a file: c x c, row i the probabilities of class i's new label
    labels: NonEmpty | None = None  # a file of noisy labels
    column: NonEmpty | None = None  # of that file, if it has several


@dataclass
class Imbalance:
    """Classes made rare in train by leaving out images; test stays as it is."""

    __pydantic_config__ = STRICT

    kind: ImbalanceKind = ImbalanceKind.none
    ratio: FromOne = 1.0  # of the largest class to the smallest
    seed: Seed | None = None  # of the choice of images; null: the run's seed
    val: NaturalOrBalanced = NaturalOrBalanced.natural
    order: Any = None  # classes, from the largest to the smallest; null: as the data set lists them


@dataclass
class Shift:
    """Corruptions under which test is scored again, after training."""

    __pydantic_config__ = STRICT

    names: list[NonEmpty] = field(default_factory=list)
    severities: list[Severity] = field(default_factory=lambda: [1, 2, 3, 4, 5])
    root: NonEmpty | None = None  # a folder of published corrupted images; null: computed here


@dataclass
class Train:
    """One training run."""

    __pydantic_config__ = STRICT

    loss: dict[str, Any] = MISSING
    data: dict[str, Any] = MISSING
    model: dict[str, Any] = MISSING
    optimizer: dict[str, Any] = MISSING
    schedule: dict[str, Any] = MISSING
    seed: Seed = MISSING
    epochs: PositiveInt = MISSING
    batch_size: PositiveInt = MISSING
    accumulate: PositiveInt = MISSING
    clip_norm: Positive | None = MISSING
    ema: OpenFraction | None = MISSING
    choose: Choose = MISSING
    choose_by: NonEmpty = MISSING
    patience: PositiveInt | None = MISSING
    augmentation: Recipe = field(default_factory=Recipe)
    noise: Noise = field(default_factory=Noise)
    imbalance: Imbalance = field(default_factory=Imbalance)
    train_fraction: PositiveFraction = MISSING
    target: TrainingTarget = MISSING
    precision: Precision = MISSING
    experiment: str = MISSING
    name: str = MISSING
    notes: str | None = MISSING
    tags: Any = MISSING  # names and values; as a dict Hydra would refuse new names
    calibrator: Calibrator = MISSING
    shift: Shift = field(default_factory=Shift)
    foreign: list[NonEmpty] = MISSING
    trials: PositiveInt | None = MISSING
    sampler: Sampler = MISSING
    sampler_seed: Seed = MISSING
    search_by: NonEmpty = MISSING
    rungs: PositiveInt = MISSING
    confirm: NaturalNumber = MISSING
    until: Until = MISSING
    primary: NonEmpty = MISSING
    baseline: NonEmpty = MISSING
    max_seeds: PositiveInt = MISSING
    machine: Machine = field(default_factory=Machine)


def register_schema() -> None:
    """Let `schema` head the defaults list of conf/train.yaml: a misspelt key then fails.

    Each group also gets the choice `own`, for code that has no file in conf.
    """
    store = ConfigStore.instance()
    store.store(name="schema", node=Train)
    for group in GROUPS:
        store.store(group=group, name=OWN, node={"_target_": MISSING})


def plain(config: DictConfig) -> dict[str, Any]:
    """A copy in plain values, with interpolations resolved."""
    return cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))


def typed_tags(config: DictConfig) -> Any:
    """The tags in plain values, as they were typed: a dict once they are checked."""
    tags = config.tags
    return plain(tags) if OmegaConf.is_config(tags) else tags


def chosen_values(config: DictConfig, group: str) -> dict[str, Any]:
    """The `_target_` of a group's choice and its hyper-parameters, as plain values.

    `_partial_` is left out: files written for Hydra's `instantiate` have it, and it says nothing
    here, where every target is bound and called later.
    """
    values = plain(config[group])
    return {key: value for key, value in values.items() if key != "_partial_"}


def pause_after(config: DictConfig) -> int | None:
    """The epoch after which the run pauses, counted from 1; None where it trains to its end."""
    epoch: int | None = config.machine.pause_after
    return epoch if epoch is not None and epoch < config.epochs else None
