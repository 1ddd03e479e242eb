"""Heads on features: a step against a loop written by hand, memory, and a sweep of losses."""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from loop import images_of, ours, trained
from measure import Cost, by_turns, composed, typical
from omegaconf import DictConfig

CLASSES, WIDTH = 10, 768
FEW, MANY = 20_000, 1_000_000
SHORT = 600, 1200
TRAIN = (sys.executable, "-c", "from xent_bench.commands.train import main; main()")
POLL_SECONDS = 0.02
LEARNING_RATES, SEEDS = 5, 5  # of the whole sweep, of which one each is measured


def measured(rounds: int, *, short: bool) -> list[list[str]]:
    """Rows: what, the figure, and what is wanted of it or against what it stands."""
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        sizes = SHORT if short else (FEW, MANY)
        few, many = (made_features(folder, n, short=short) for n in sizes)
        rows = [_step(few, folder, size, rounds, short=short) for size in (64, 256)]
        return [*rows, _memory(few, many, folder), *_sweep(few, folder, short=short)]


def made_features(folder: Path, n: int, *, short: bool) -> Path:
    """Write n x 768 features in float16, which a head can classify in part, with their labels."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, n)
    centres = 0.12 * rng.standard_normal((CLASSES, WIDTH))
    file = folder / f"features-{n}.npy"
    rows = np.lib.format.open_memmap(file, "w+", np.float16, (n, WIDTH))
    chunk = 300 if short else 10_000
    for start in range(0, n, chunk):
        noise = rng.standard_normal((chunk, WIDTH), np.float32)
        rows[start : start + chunk] = noise + centres[labels[start : start + chunk]]
    rows.flush()
    np.save(file.with_suffix(".labels.npy"), labels)
    return file


def words_of(file: Path) -> tuple[str, ...]:
    """The words of a command that trains a linear head on these features."""
    labels = file.with_suffix(".labels.npy")
    return "data=features", f"data.root={file}", f"data.labels={labels}", "model=linear"


def _step(file: Path, folder: Path, batch_size: int, rounds: int, *, short: bool) -> list[str]:
    batch = min(batch_size, 32) if short else batch_size
    config = composed(
        *words_of(file), "loss=sparse_ce", "epochs=2", "optimizer=sgd", f"batch_size={batch}"
    )
    works: dict[str, Callable[[], Cost]] = {
        "by hand": partial(by_hand, config),
        "xent_bench": partial(ours, config, folder),
    }
    costs = by_turns(works, rounds)
    more = median(a.cpu - b.cpu for a, b in zip(costs["xent_bench"], costs["by hand"], strict=True))
    return [
        f"a step of a linear head, {FEW:,} x {WIDTH} in float16, batches of {batch_size}",
        f"{1e6 * typical(costs['xent_bench']).cpu:,.0f} us",
        f"{1e6 * typical(costs['by hand']).cpu:,.0f} us by hand, in float32 in memory: "
        f"{1e6 * more:+,.0f} us",
    ]


def by_hand(config: DictConfig) -> Cost:
    """Train in a plain loop on vectors in memory, in float32."""
    data, splits = images_of(config)
    vectors, labels = data.images.take(splits.train).float(), data.labels[splits.train]

    def minibatches() -> Any:
        order = torch.randperm(len(vectors))
        for start in range(0, len(vectors) - config.batch_size + 1, config.batch_size):
            ids = order[start : start + config.batch_size]
            yield vectors[ids], labels[ids]

    return trained(config, minibatches())


def _memory(few: Path, many: Path, folder: Path) -> list[str]:
    peaks = [peak_of_run(file, folder) for file in (few, many)]
    return [
        f"memory of a run on {MANY:,} x {WIDTH} in float16, in a file of 1.5 GB",
        f"{peaks[1] / 1e9:.2f} GB",
        f"{peaks[0] / 1e9:.2f} GB on {FEW:,}: {(peaks[1] - peaks[0]) / 1e9:+.2f} GB; wanted: +1",
    ]


def peak_of_run(file: Path, folder: Path) -> int:
    """The largest memory in bytes that a run's process had to itself (RssAnon of Linux).

    The pages of a mapped file are left out: they are the system's, which drops them at need.
    """
    place = folder / f"peak-{file.stem}"
    words = (*words_of(file), "epochs=1", "batch_size=256", f"machine.runs={place}", "machine=cpu")
    if file.stat().st_size < 2**22:  # the short form
        words = (*words, "batch_size=32")
    process = subprocess.Popen(
        [*TRAIN, *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=_environment(folder),
    )
    status, peak = Path(f"/proc/{process.pid}/status"), 0
    while process.poll() is None:
        lines = status.read_text().splitlines() if status.exists() else []
        sizes = [int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon")]
        peak = max(peak, *sizes, 0)
        time.sleep(POLL_SECONDS)
    assert process.returncode == 0, words
    return peak


def _sweep(file: Path, folder: Path, *, short: bool) -> list[list[str]]:
    losses = 2 if short else 39
    chosen = ["loss=ce,mse", "batch_size=32"] if short else []
    words = (
        "experiment=heads",
        *words_of(file),
        "optimizer.lr=0.003",
        "seed=0",
        "machine=cpu",
        "machine.jobs=2",
        f"machine.runs={folder}/sweep",
        *chosen,
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    wall = time.perf_counter()
    subprocess.run(
        [*TRAIN, "-m", *words],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=_environment(folder),
    )
    wall = time.perf_counter() - wall
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    runs = losses * LEARNING_RATES * SEEDS
    whole = cpu / losses * runs
    return [
        [
            f"{losses} losses on {FEW:,} x {WIDTH}, 10 epochs in batches of 256, two at a time",
            f"{cpu:.0f} s of CPU, {wall:.0f} s by the clock",
            f"x {LEARNING_RATES} learning rates x {SEEDS} seeds, {runs} runs: "
            f"{whole / 60:.0f} min of CPU, {whole / 120:.0f} on two free cores",
        ]
    ]


def _environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
