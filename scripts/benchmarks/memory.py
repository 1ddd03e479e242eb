"""The memory and the start of a run over a million files, and the pages that runs share."""

import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from PIL import Image

from xent_bench.data.stored_images import PIXELS, StoredWriter

LINKS = 50_000  # names of one file: file systems allow 65,000 or so
MANY, FEW, SHORT = 1_000_000, 2_000, 200
TYPED = ("model=linear", "epochs=1", "batch_size=32", "data.size=16", "machine.workers=2")
SAMPLING = 0.25  # seconds between two looks at a run's memory
MIB = 2**20


class Peak(NamedTuple):
    """The most memory that a run and its workers took, in bytes, and the seconds that it took.

    `start`: until its first epoch began.
    """

    pss: int  # proportional: pages that n processes share count 1/n in each
    start: float
    whole: float


def measured(rounds: int, *, short: bool) -> list[list[str]]:
    """Rows: memory of a run over many names, beside one over few; then of runs that share a cache.

    A million names take ten minutes, so each is measured once.
    """
    del rounds
    many, few = (SHORT, 100) if short else (MANY, FEW)
    with TemporaryDirectory() as folder:
        runs = {n: _trained(Path(folder), n) for n in (few, many)}
        alone, together, size = _sharing(Path(folder), short=short)
    rows = [
        [f"a run over {n:,} names", f"{peak.pss / MIB:,.0f} MiB", f"{peak.start:.0f} s"]
        for n, peak in runs.items()
    ]
    more = runs[many].pss - runs[few].pss
    rows.append([f"{many - few:,} names more", f"{more / MIB:,.0f} MiB", "-"])
    whole = f"a cache of {size / MIB:,.0f} MiB"
    return [
        *rows,
        [f"{whole}, read by 1 process", f"{alone / MIB:,.0f} MiB", "-"],
        [f"{whole}, read by 4 processes", f"{together / MIB:,.0f} MiB", "-"],
    ]


def _trained(folder: Path, n: int) -> Peak:
    """Train one epoch on n names, and look at the memory of all its processes meanwhile."""
    root = _named(folder / f"set-{n}", n)
    typed = f"data.root={root}", f"machine.runs={folder / 'runs'}", "machine.offline=true", *TYPED
    environment = os.environ | {"XENT_BENCH_CACHE": str(folder / "cache")}
    began, peak, start = time.monotonic(), 0, 0.0
    with subprocess.Popen(
        [sys.executable, "-c", MAIN, "data=image_folder", *typed],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=folder,
    ) as run:
        while run.poll() is None:
            peak = max(peak, sum(_pss(pid) for pid in _tree(run.pid)))
            if not start and len(_tree(run.pid)) > 2:  # a worker decodes the first epoch
                start = time.monotonic() - began
            time.sleep(SAMPLING)
        if run.returncode:
            raise RuntimeError(f"a run over {n} names ended with {run.returncode}")
    return Peak(peak, start, time.monotonic() - began)


MAIN = "from xent_bench.commands.train import main; main()"


def _named(root: Path, n: int) -> Path:
    """Make n names of images, hard links to a few small files, in 10 classes.

    With 1,000 classes the outputs for the drawn test split, 200,000 x 1,000, would take more than
    all else, which is not what is measured here.
    """
    rng = np.random.default_rng(0)
    classes = 10
    source = root
    for number in range(n):
        folder = root / f"n{number % classes:08}"
        if number < classes:
            folder.mkdir(parents=True)
        file = folder / f"{folder.name}_{number}.JPEG"
        if number % LINKS:
            os.link(source, file)
            continue
        pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(file)
        source = file
    return root


def _tree(pid: int) -> list[int]:
    """The process and its descendants."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(below for child in children for below in _tree(int(child)))]


def _pss(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def _pss_of_pixels(pid: int) -> int:
    """The proportional size of a process's pages of the cache, in bytes."""
    _, _, after = Path(f"/proc/{pid}/smaps").read_text().partition(PIXELS)
    return 1024 * int(after.partition("\nPss:")[2].split()[0])


READ = """
import sys
from pathlib import Path
import torch
from xent_bench.data.stored_images import StoredImages
stored = StoredImages(Path(sys.argv[1]), 3)
for number in range(len(stored)):
    stored.image(number)
print("read", flush=True)
sys.stdin.read()
"""


def _sharing(folder: Path, *, short: bool) -> tuple[int, int, int]:
    """The cache's pages in one process that has read it, and in four together; its bytes."""
    cache = folder / "images"
    cache.mkdir()
    image = np.random.default_rng(0).integers(0, 256, (256, 341, 3), dtype=np.uint8)
    with StoredWriter(cache) as writer:
        for _ in range(4 if short else 4000):
            writer.add(image)
    alone, together = (_shared_by(cache, count) for count in (1, 4))
    return alone, together, writer.length


def _shared_by(cache: Path, count: int) -> int:
    readers = [
        subprocess.Popen(
            [sys.executable, "-c", READ, str(cache)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(count)
    ]
    try:
        for reader in readers:
            assert reader.stdout is not None
            if reader.stdout.readline() != b"read\n":
                raise RuntimeError("a process could not read the cache")
        return sum(_pss_of_pixels(reader.pid) for reader in readers)
    finally:
        for reader in readers:
            reader.communicate()
