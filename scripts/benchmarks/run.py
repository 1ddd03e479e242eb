"""scripts/bench: measure, and write the tables of this folder's README."""

import argparse
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import torch
from measure import where

from xent_bench.tables import Table, print_markdown

PACKAGES = ("torch", "torchvision", "torchmetrics", "pytorch-lightning", "mlflow")
PAGE = Path(__file__).resolve().parent / "README.md"
HEAD = "# How fast\n"  # of a page that is not there yet; above its tables a person writes


class Section(NamedTuple):
    """A table: which modules measure its rows, in how many rounds."""

    title: str
    headings: list[str]
    modules: dict[str, int]
    note: str


SECTIONS = {
    "steps": Section(
        "A step of training",
        ["case", "CPU, us", "more than by hand, us", "throughput / by hand"],
        {"loop": 22},
        "One thread; Lightning's rows: a quarter of the rounds. By hand: images[order] of a "
        "tensor, forward, backward, optimizer, schedule. Ours: with MLflow, progress and metrics.",
    ),
    "settings": Section(
        "Settings on a CPU, small CNN",
        ["setting", "throughput by the clock", "by CPU time"],
        {"settings": 11},
        "Of a step, against the default.",
    ),
    "augmentation": Section(
        "An augmented image, 3 x 32 x 32",
        ["augmentation", "us of CPU", "one by one in torchvision", "times"],
        {"augmentation": 7},
        "Batches of 128, one thread; each image with its own draw in both.",
    ),
    "photographs": Section(
        "A photograph for training",
        ["case", "ms of CPU", "torchvision's time / it"],
        {"photographs": 9},
        "JPEG of quality 90, 120 kB at 500 x 375; one thread; decoded, cropped at random, "
        "mirrored, normalised, in batches of 8.",
    ),
    "memory": Section(
        "Memory",
        ["what", "memory", "until the first epoch"],
        {"memory": 1},
        "PSS of all processes of the run, two workers among them: a page that several share counts "
        "once. Names are hard links to JPEG files of 32 x 32 pixels; all are hashed and looked at "
        "before the first epoch, the first time.",
    ),
    "around": Section(
        "Around the loop",
        ["what", "CPU", "wanted, or against"],
        {"start_up": 7, "mlflow_cost": 4, "sweep": 1},
        "User and system time of all processes.",
    ),
    "features": Section(
        "Heads on features",
        ["what", "figure", "wanted, or against"],
        {"vectors": 7},
        "Made features. Memory: the largest RssAnon of the run's process, without the mapped pages "
        "of the file. Memory and the sweep: once.",
    ),
    "together": Section(
        "Runs as one training",
        ["what", "together", "throughput / ours alone", "/ by hand"],
        {"together": 3},
        "CPU time, one thread. 40 runs: eight losses, five seeds, AdamW; a step of one of them, "
        "without what is beside the steps. By hand: cross-entropy and torch.optim.AdamW on tensors "
        "in memory. Sweeps: CPU of all processes, imports included, once.",
    ),
    "beside": Section(
        "A run beside its steps",
        ["part", "a run of the quickstart, ms", "a linear head, ms"],
        {"beside": 9},
        "CPU time on one thread, runs one after the other in one process that has imported "
        "everything. The quickstart: 1,006 digits in train, a small CNN, 20 epochs. The head: "
        "20,000 x 768 features, 10 epochs.",
    ),
    "survival": Section(
        "Surviving whatever ends a run",
        ["what", "CPU", "by the clock", "wanted"],
        {"survival": 40},
        "Runs of the quickstart, all in one process. Without: no checkpoints, journals or flushes.",
    ),
    "metrics": Section(
        "The metrics of a split",
        [
            "outputs and work",
            "ms",
            "/ pass, float32",
            "/ pass, float64",
            "/ torchmetrics",
            "memory",
        ],
        {"metrics": 7},
        "One thread; pass: the slowest of sort and log_softmax. Memory as a share of the outputs'.",
    ),
    "predictions": Section(
        "Predictions",
        ["1,000 files", "ms, bare loop", "ms, xent-predict", "throughput / bare", "by the clock"],
        {"predictions": 5},
        "CPU of all threads for each image. Bare: the net in a loop with the same loader, its "
        "outputs dropped. xent-predict: loads the net too, and writes three classes a row as CSV.",
    ),
    "gpu": Section(
        "On a GPU",
        ["case", "images / s", "/ by hand", "limit", "/ limit"],
        {"gpu": 3},
        "By hand: the same precision, compilation, determinism. Limit: FLOPs and bytes, counted.",
    ),
    "together_gpu": Section(
        "Runs as one training, on a GPU",
        ["what", "together", "throughput / ours alone", "/ by hand"],
        {"together_gpu": 3},
        "By the clock; else as where runs are trained as one on a CPU.",
    ),
}
ON_GPU = ("gpu", "together_gpu")


def main() -> None:
    """Measure what is asked for; other tables of the page stay."""
    options = _options()
    if len(options.sections) > 1 and not options.short:
        rounds = [f"--rounds={options.rounds}"] if options.rounds else []
        for name in options.sections:  # each in a process of its own, with memory of its own
            subprocess.run([sys.executable, __file__, name, *rounds], check=True)
        return
    os.environ["FORCE_COLOR"] = "1"  # progress bars are drawn, as on a terminal
    warnings.simplefilter("ignore")
    page = options.short / PAGE.name if options.short else PAGE
    for name in options.sections:
        table = _measured(SECTIONS[name], options.rounds, short=bool(options.short))
        print(table, flush=True)
        head, tables = _kept(page)  # read now: it may have been edited while this was measured
        _write(head, tables | {name: table}, page)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument(
        "sections", nargs="*", help=f"of {', '.join(SECTIONS)}; all but {' and '.join(ON_GPU)}"
    )
    parser.add_argument("--gpu", action="store_true", help="the tables for a GPU alone")
    parser.add_argument("--rounds", type=int, help="instead of each table's own number")
    parser.add_argument(
        "--short",
        type=Path,
        metavar="FOLDER",
        help="try that every table can be measured: tiny sizes, once, those for a GPU also on a "
        "CPU; numbers without a meaning go to FOLDER/README.md",
    )
    options = parser.parse_args()
    if strange := set(options.sections) - SECTIONS.keys():
        parser.error(f"no such table: {min(strange)}; there is {', '.join(SECTIONS)}")
    usual = [name for name in SECTIONS if options.short or name not in ON_GPU]
    options.sections = list(ON_GPU) if options.gpu else options.sections or usual
    needs_gpu = not set(ON_GPU).isdisjoint(options.sections)
    if needs_gpu and not (options.short or torch.cuda.is_available()):
        sys.exit("scripts/bench: no CUDA device")
    return options


def _measured(section: Section, rounds: int | None, *, short: bool) -> str:
    rows, counts = [], set()
    for module, usual in section.modules.items():
        measure: Callable[..., list[list[str]]] = import_module(module).measured
        n = 0 if short else rounds or usual
        counts.add(n)
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
            rows += measure(n, short=short)
    counted = " to ".join(str(n) for n in sorted({min(counts), max(counts)}))
    date = datetime.now(UTC).date()
    warning = "Tiny sizes, once, to try the code: these numbers mean nothing. " if short else ""
    note = f"{warning}{section.note} Medians of {counted} rounds by turns, {date}; {_where()}."
    return _page(section, rows, note)


def _where() -> str:
    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name()}; {where(*PACKAGES)}"
    return f"{os.cpu_count()} cores, " + where(
        "torch", "torchvision", "pytorch-lightning", "mlflow"
    )


def _page(section: Section, rows: list[list[str]], note: str) -> str:
    with redirect_stdout(StringIO()) as written:
        print_markdown(Table("", section.headings, rows, [note]))
    return written.getvalue().strip()


def _kept(page: Path) -> tuple[str, dict[str, str]]:
    """Read what the page has: the text above its tables, and the tables; others are empty."""
    head, *parts = (page.read_text() if page.exists() else HEAD).split("\n## ")
    kept = {part.partition("\n")[0]: part.partition("\n")[2].strip() for part in parts}
    tables = {
        name: kept.get(section.title) or _page(section, [_empty_row(section)], section.note)
        for name, section in SECTIONS.items()
    }
    return head.strip(), tables


def _empty_row(section: Section) -> list[str]:
    return ["not measured yet", *[""] * (len(section.headings) - 1)]


def _write(head: str, tables: dict[str, str], page: Path) -> None:
    parts = [f"## {section.title}\n\n{tables[name]}" for name, section in SECTIONS.items()]
    page.write_text("\n\n".join([head, *parts]) + "\n")


if __name__ == "__main__":
    main()
