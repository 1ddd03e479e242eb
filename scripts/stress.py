"""Kill a sweep at random instants until it has suffered enough; compare it with one left alone.

--form groups does so to processes that train a group of runs as one. --form ranks kills and stops
(SIGSTOP) processes that train a run together, --form workers those that decode its images. --form
designs kills a search that is halved and then adds seeds until it is decided: it must take the same
decisions.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from mlflow import MlflowClient
from PIL import Image

from xent_bench.runs.begun import load_begun
from xent_bench.runs.files import has_result
from xent_bench.runs.sweep_record import load_sweep

XENT_TRAIN = str(Path(sys.executable).with_name("xent-train"))
LOSSES = ("ce", "sparse_ce", "mse", "focal", "hinge")
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
VICTIMS = ("run", "run", "run", "run", "run", "run", "sweep", "sweep", "server", "all")
TIMEOUT = 15  # seconds after which a process that was stopped is noticed; ranks start in some
SYNTHETIC = ("data=synthetic", "data.n=3000", "data.flip=true", "batch_size=10")
FORMS = {
    "sweep": (*SYNTHETIC, "machine.together=1"),
    "groups": SYNTHETIC,
    # batch normalisation cannot be shared between processes on a CPU
    "ranks": (*SYNTHETIC, "machine.devices=2", "+model.norm=false"),
    "workers": ("data=image_folder", "data.size=16", "batch_size=10", "machine.workers=2"),
    "designs": (
        *("data=synthetic", "data.n=1000", "data.flip=true", "batch_size=10"),
        *("optimizer.lr=tag(log,interval(1e-4,1e-1))", "trials=4", "rungs=2"),
        *("until=decided", "max_seeds=8"),
    ),
}
TIMEOUTS = {
    "sweep": (),
    "groups": (),
    "ranks": (f"machine.rank_timeout={TIMEOUT}",),
    "workers": (f"machine.worker_timeout={TIMEOUT}",),
    "designs": (),
}
IMAGES = 40  # of each of three classes
MOST = 500  # times that the command is typed
EARLY = 0.2  # share of the commands that may be disturbed before they train
LONGEST = 600  # seconds that a command typed again may take: more is a hang
DROPPING = '''"""A net whose every step draws at random."""

from torch import nn


def dropping(shape, classes, *, width=64, norm=True) -> nn.Module:
    channels, h, w = shape
    return nn.Sequential(
        nn.Flatten(), nn.Linear(channels * h * w, width),
        nn.BatchNorm1d(width) if norm else nn.Identity(), nn.ReLU(),
        nn.Dropout(0.3), nn.Linear(width, classes),
    )
'''


def main() -> int:
    """0 if the two sweeps agree in everything."""
    arguments = _arguments()
    rng = random.Random(arguments.seed)
    folder = Path(arguments.folder or tempfile.mkdtemp(prefix="xent-stress-"))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dropping.py").write_text(DROPPING)
    if arguments.form == "workers":
        _write_images(folder / "images")
    start = time.monotonic()
    print(f"In {folder}, seed {arguments.seed}. Undisturbed ...", flush=True)
    if (code := _sweep(folder, "straight", arguments).wait(LONGEST)) != 0:
        raise SystemExit(f"the undisturbed sweep ended with {code}: see {folder}/straight.log")
    print(f"{time.monotonic() - start:.0f} s. Killing ...", flush=True)
    kills, typed = _killed(folder, arguments, rng)
    kinds = ", ".join(f"{count} x {kind}" for kind, count in sorted(kills.items()))
    print(f"{kills.total()} kills ({kinds}); the command was typed {typed} times", flush=True)
    designed = arguments.form == "designs"
    wrong = list(_differences(folder, None if designed else arguments.runs))
    if designed:
        wrong += _differences_in_decisions(folder)
    if kills.total() < arguments.kills:
        wrong.append(f"expected {arguments.kills} kills: the runs were over too soon, --epochs")
    for line in wrong:
        print(f"WRONG {line}")
    agree = "differ" if wrong else "agree in every weight, prediction, metric, curve and point"
    runs = sum(1 for _ in folder.glob("straight/*/*/result.json"))
    print(f"{runs} runs: the two sweeps {agree}; {time.monotonic() - start:.0f} s")
    return 1 if wrong else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--form", choices=FORMS, default="sweep", help="what is killed")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--runs", type=int, default=20, help="a multiple of 5")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--every", type=float, default=1.5, help="mean seconds between two kills")
    parser.add_argument("--seed", type=int, default=0, help="of the victims and instants")
    parser.add_argument("--folder", help="to keep everything in; by default a temporary one")
    arguments = parser.parse_args()
    if arguments.runs % len(LOSSES) or arguments.runs < 1:
        parser.error(f"expected a multiple of {len(LOSSES)} runs, got {arguments.runs}")
    return arguments


def _sweep(
    folder: Path, name: str, arguments: argparse.Namespace, store: str | None = None
) -> "subprocess.Popen[bytes]":
    """Start a sweep in a session of its own, by which its processes can be listed."""
    seeds = ",".join(str(seed) for seed in range(arguments.runs // len(LOSSES)))
    command = [
        *(XENT_TRAIN, "-m", f"loss={','.join(LOSSES)}"),
        *([] if arguments.form == "designs" else [f"seed={seeds}"]),  # which its design adds
        *("model=mlp", "model._target_=dropping.dropping"),
        *("~model.depth", "model.width=64", f"epochs={arguments.epochs}"),
        *FORMS[arguments.form],
        *TIMEOUTS[arguments.form],
        *([f"data.root={folder / 'images'}"] if arguments.form == "workers" else []),
        *("machine=cpu", "machine.threads=1", "machine.jobs=2", "machine.checkpoint_minutes=0.002"),
        *(f"machine.runs={name}", f"machine.tracking={store or f'sqlite:///{name}.db'}"),
    ]
    with (folder / f"{name}.log").open("ab") as log:
        return subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), *_python_path()])},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _python_path() -> list[str]:
    return [os.environ["PYTHONPATH"]] if "PYTHONPATH" in os.environ else []


def _killed(
    folder: Path, arguments: argparse.Namespace, rng: random.Random
) -> tuple[Counter[str], int]:
    """Kill until it is enough, and type the command until it is done."""
    kills: Counter[str] = Counter()
    typed = 0
    while True:
        sweep, typed, began = _sweep(folder, "cut", arguments), typed + 1, time.monotonic()
        next_kill = began + rng.expovariate(1 / arguments.every)
        trains = rng.random() < EARLY
        while sweep.poll() is None:
            time.sleep(0.005)
            if time.monotonic() - began > LONGEST:
                raise SystemExit(f"hangs: processes {list(_session(sweep.pid))}, in {folder}")
            if time.monotonic() < next_kill or kills.total() >= arguments.kills:
                continue
            trains = trains or _is_training(folder, began)
            if trains and (victim := _kill_one(sweep.pid, rng, arguments.form)):
                kills[victim] += 1
                next_kill = time.monotonic() + rng.expovariate(1 / arguments.every)
        if sweep.returncode == 0:
            return kills, typed
        if (sweep.returncode not in (4, 75, 130) and sweep.returncode >= 0) or typed > MOST:
            raise SystemExit(f"ended with {sweep.returncode}: see {folder}/cut.log")


def _is_training(folder: Path, began: float) -> bool:
    """Whether a run has written its progress since `began`, by time.monotonic()."""
    since = time.time() - (time.monotonic() - began)
    return any(file.stat().st_mtime > since for file in folder.glob("cut/*/*/progress.json"))


def _kill_one(sweep: int, rng: random.Random, form: str) -> str | None:
    """Kill one process; return how, or None while there is no run that could be killed."""
    processes = dict(_session(sweep))
    server = next(
        (pid for pid, parent in processes.items() if _is_server(pid, parent, sweep)), None
    )
    runs = [pid for pid, parent in processes.items() if parent == server]
    if server is None or not runs:
        return None
    if form in ("ranks", "workers"):
        return _hurt_one(processes, runs, rng, form)
    whom, signum = rng.choice(VICTIMS), rng.choice(SIGNALS)
    if whom in ("server", "all"):
        signum = signal.SIGKILL
    victims = {
        "run": [rng.choice(runs)],
        "sweep": [sweep],
        "server": [server],
        "all": list(processes),
    }[whom]
    return f"{signum.name} to {whom}" if _sent(victims, signum) else None


def _hurt_one(
    processes: dict[int, int], runs: list[int], rng: random.Random, form: str
) -> str | None:
    """Kill or stop a rank, or a process that decodes images; return how."""
    below = [pid for pid, parent in processes.items() if parent in runs]
    if form == "ranks":  # which a server of the run's own has forked
        below = [pid for pid, parent in processes.items() if parent in below]
    if len(below) < 2:  # not all of them have begun
        return None
    signum = rng.choice((signal.SIGKILL, signal.SIGSTOP))
    return (
        f"{signum.name} to {form.removesuffix('s')}" if _sent([rng.choice(below)], signum) else None
    )


def _sent(victims: list[int], signum: signal.Signals) -> bool:
    for pid in victims:
        try:
            os.kill(pid, signum)
        except ProcessLookupError:  # it was just ending
            return False
    return True


def _write_images(root: Path) -> None:
    rng = np.random.default_rng(0)
    for split, images in (("train", IMAGES), ("test", IMAGES // 4)):
        for name in ("ape", "bee", "cat"):
            (root / split / name).mkdir(parents=True)
            for number in range(images):
                pixels = rng.integers(256, size=(24, 24, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{number}.png")


def _session(sweep: int) -> Iterator[tuple[int, int]]:
    """Process and parent, of all that the command has started."""
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = file.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        state, parent, _, session = fields[:4]
        if int(session) == sweep and state != "Z":
            yield int(file.parent.name), int(parent)


def _is_server(pid: int, parent: int, sweep: int) -> bool:
    try:
        return parent == sweep and b"forkserver" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False


def _differences_in_decisions(folder: Path) -> Iterator[str]:
    """Compare the decisions of the two sweeps, and the trials that each has left paused."""
    news, reasons = [], []
    for name in ("straight", "cut"):
        (record,) = (folder / name).glob("*/.sweep.json")
        sweep = load_sweep(record.parent)
        assert sweep is not None
        news.append(sweep.news)
        reasons.append(
            {
                run.folder.name: load_begun(folder / run.folder).reason
                for run in sweep.runs
                if not has_result(folder / run.folder)
            }
        )
    if news[0] != news[1] or not news[0]:
        yield f"decisions: {news[0]} and {news[1]}"
    if reasons[0] != reasons[1]:
        yield f"runs without a result: {reasons[0]} and {reasons[1]}"


def _differences(folder: Path, runs: int | None) -> Iterator[str]:
    straight, cut = (
        sorted((folder / name).glob("*/*/result.json")) for name in ("straight", "cut")
    )
    names = [[file.parent.name for file in files] for files in (straight, cut)]
    if names[0] != names[1] or (runs is not None and len(straight) != runs):
        yield f"finished runs: {names[0]} and {names[1]}, expected {runs}"
    for one, other in zip(straight, cut, strict=False):
        name = one.parent.name
        for what, a, b in zip(("result", "curves"), _summary(one), _summary(other), strict=True):
            if a != b:
                yield f"{name}: another {what}: {a} and {b}"[:500]
        with (
            np.load(one.with_name("predictions.npz")) as a,
            np.load(other.with_name("predictions.npz")) as b,
        ):
            if any(not np.array_equal(a[key], b[key]) for key in a):
                yield f"{name}: other predictions"
        for left in other.parent.glob("*.part"):
            yield f"{name}: {left.name} was left behind"
    yield from _differences_in_mlflow(folder, runs)


def _summary(result: Path) -> tuple[Any, Any]:
    """The metrics and the hash of the weights; and the curves without times."""
    run = json.loads(result.read_text())
    steps = json.loads(result.with_name("curves.json").read_text())
    curves = {
        step: {key: value for key, value in values.items() if not key.startswith("time/")}
        for step, values in steps.items()
        if isinstance(values, dict)  # beside them stands their checksum
    }
    return (run["metrics"], run["tags"]["weights_sha256"]), curves


def _differences_in_mlflow(folder: Path, runs: int | None) -> Iterator[str]:
    straight, cut = (_stored(folder, name) for name in ("straight", "cut"))
    if runs is not None and len(cut) != runs:
        yield f"expected {runs} runs in MLflow, found {len(cut)}"
    for key, stored in cut.items():
        if runs is not None and stored["status"] != "FINISHED":  # no run is paused
            yield f"MLflow, {key}: {stored['status']}"
    for key in sorted(straight.keys() | cut.keys()):
        if straight.get(key) != cut.get(key):
            yield f"MLflow, {key}: {straight.get(key)} and {cut.get(key)}"[:500]


def _stored(folder: Path, name: str) -> dict[str, Any]:
    """Status, failure and every stored point except times, by key and number of the run."""
    client = MlflowClient(f"sqlite:///{folder}/{name}.db")
    experiment = client.get_experiment_by_name("default")
    assert experiment is not None
    stored: dict[str, Any] = {}
    for run in client.search_runs([experiment.experiment_id], max_results=1000):
        points = {
            key: sorted(
                (point.step, point.value)
                for point in client.get_metric_history(run.info.run_id, key)
            )
            for key in run.data.metrics
            if not key.startswith("time/")
        }
        twin = sum(name.startswith(run.data.tags["key"]) for name in stored)
        ending = {"status": run.info.status, "failure": run.data.tags.get("failure")}
        stored[f"{run.data.tags['key']} {twin}"] = ending | points
    return stored


if __name__ == "__main__":
    sys.exit(main())
