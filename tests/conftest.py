"""Fixtures: configs as a user would compose them, with state in temporary folders."""

import gc
import logging
import shutil
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from threadpoolctl import threadpool_limits

from xent_bench.commands.sync import main as sync_main
from xent_bench.config.schema import CONF, register_schema
from xent_bench.failures import Diverged
from xent_bench.tracking.store import open_store
from xent_bench.training.run import run

SMALL = ("data=synthetic", "data.n=600", "model=mlp", "model.width=16", "epochs=3")
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Use one thread: fastest for small steps, also while other tests run in parallel."""
    torch.set_num_threads(1)
    threadpool_limits(1)


@pytest.fixture(scope="session", autouse=True)
def imports_are_no_garbage() -> Iterator[None]:
    """Exempt imported modules from garbage collection, which would search them in every test."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_is_heard() -> None:
    """Listen to SIGINT even in the background of a shell script, where it is ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of hashes of image files: the tests leave the user's alone."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XENT_BENCH_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of an empty MLflow store, to be copied: making its tables takes seconds."""
    folder = tmp_path_factory.mktemp("empty")
    open_store(f"sqlite:///{folder}/mlflow.db", "Default", folder)
    return folder / "mlflow.db"


@pytest.fixture(scope="session")
def store(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """One MLflow store for all tests that do not look at the whole of it."""
    return f"sqlite:///{shutil.copy(empty_store, tmp_path_factory.mktemp('mlflow'))}"


@pytest.fixture
def composed() -> Iterator[Callable[..., DictConfig]]:
    """Compose conf/train.yaml with overrides."""
    register_schema()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield lambda *overrides: compose("train", list(overrides))


@pytest.fixture
def config(
    composed: Callable[..., DictConfig], store: str, tmp_path: Path
) -> Callable[..., DictConfig]:
    """Compose the config of a run that takes a second, in an experiment named after the test."""

    def make(*overrides: str, folder: str = "runs", base: tuple[str, ...] = SMALL) -> DictConfig:
        wanted = composed("machine=cpu", "machine.threads=1", *base, *overrides)
        wanted.machine.runs = str(tmp_path / folder)
        wanted.machine.tracking = store
        wanted.experiment = f"{tmp_path.name}-{folder}"
        return wanted

    return make


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """How each group of the test computes: notes it, and stacks wherever that keeps the bits."""
    from xent_bench.together.choice import engine_of  # seconds of imports

    noted: list[str] = []

    def noting(learners: Any, batches: Any) -> Any:
        make = engine_of(learners, batches)

        def made(some: Any, shown: Any) -> Any:
            engine = make(some, shown)
            noted.append(engine.words)
            return engine

        return made

    monkeypatch.setattr("xent_bench.together.group.engine_of", noting)
    monkeypatch.setattr("xent_bench.together.choice._faster", lambda _engines, _batches: 0)
    return noted


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder to type commands in. No store answers, so that what is right is not trained."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setattr(sys, "argv", ["xent-train"])
    yield tmp_path
    gc.enable()
    logging.getLogger().handlers.clear()


def answer(main: Callable[[], None], *words: str) -> int:
    """The exit code of a command that is typed with these words, in this process."""
    sys.argv[1:] = words
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Hydra's, which are no exceptions outside of tests
            main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="session")
def swept(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Folder and store of a real sweep: four losses, two learning rates, two seeds; and a run that
    diverged. Tests leave it as it is.
    """
    root = tmp_path_factory.mktemp("swept")
    store = f"sqlite:///{shutil.copy(empty_store, root)}"
    register_schema()
    grid = product(("ce", "sparse_ce", "hinge", "square"), (0.003, 0.01), (0, 1))
    cells = [[f"loss={loss}", f"optimizer.lr={lr}", f"seed={seed}"] for loss, lr, seed in grid]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for cell in cells:
            run(_in(root, store, *cell), " ".join(["xent-train", *cell]))
        with pytest.raises(Diverged):
            run(_in(root, store, "loss=mse", "optimizer=sgd", "optimizer.lr=1e30"), "xent-train")
    return root / "runs" / "swept", store


def _in(root: Path, store: str, *overrides: str) -> DictConfig:
    config = compose("train", ["machine=cpu", *SMALL, *overrides])
    config.machine.runs, config.machine.tracking = str(root / "runs"), store
    config.experiment = "swept"
    return config


@pytest.fixture
def sync(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Type xent-sync: its exit code, and what it prints."""

    def typed(*words: object) -> tuple[int, str]:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["xent-sync", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            sync_main()
        shown = capsys.readouterr()
        return int(str(ended.value.code)), shown.out + shown.err

    return typed
