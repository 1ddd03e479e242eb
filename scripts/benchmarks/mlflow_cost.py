"""The cost of MLflow for a run: ours in full, against the least that its client can do."""

from collections.abc import Callable
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

from measure import Cost, by_turns, cost_of, typical
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

from xent_bench.runs.begun import Unfinished
from xent_bench.runs.result import Run, save_run
from xent_bench.tracking.logger import open_run

EPOCHS, SCORES, PARAMS, TAGS, FILES = 20, 100, 30, 15, 5
KNOWN = {"loss": "ce", "data": "digits", "model": "cnn", "seed": 0}
CASES = {"180 metrics": 4, "580 metrics": 24}  # so many an epoch, and the scores


def measured(rounds: int, *, short: bool) -> list[list[str]]:
    """Rows of CPU time: a run, medians over ten a round; a metric more."""
    del short  # with no rounds it is
    rows = []
    with TemporaryDirectory() as folder:
        root, number = Path(folder), count()
        store = root / "mlflow.db"
        works: dict[str, Callable[[], Cost]] = {}
        for name, curves in CASES.items():
            works[name] = lambda c=curves: cost_of(lambda: _ours(root, store, next(number), c))
            works[f"{name}, bare"] = lambda c=curves: cost_of(lambda: _bare(store, c))
        costs_of = by_turns(works, 10 * rounds)
        ms = {name: 1000 * typical(costs).cpu for name, costs in costs_of.items()}
        rows += [
            [
                f"MLflow, a run with {name}",
                f"{ms[name]:.0f} ms",
                f"50 ms; its bare client: {ms[f'{name}, bare']:.0f} ms",
            ]
            for name in CASES
        ]
        small, large = CASES
        one_more = (ms[large] - ms[small]) / (EPOCHS * (CASES[large] - CASES[small]))
        bare = (ms[f"{large}, bare"] - ms[f"{small}, bare"]) / (EPOCHS * 20)
        rows.append(
            ["a metric more", f"{one_more:.2f} ms", f"0.1 ms; its bare client: {bare:.2f} ms"]
        )
    return rows


def _ours(root: Path, store: Path, number: int, curves: int) -> None:
    folder = root / "runs" / str(number)
    folder.mkdir(parents=True)
    pictures = folder / "pictures"
    pictures.mkdir()
    files = [folder / "config.yaml", folder / "predictions.npz"]
    for file in (*files, *(pictures / f"file{i}.txt" for i in range(FILES - len(files)))):
        file.write_bytes(b"x" * 2000)
    params = KNOWN | {f"group.param{i}": i for i in range(PARAMS - len(KNOWN))}
    tags = {f"tag{i}": "value" for i in range(TAGS)}
    begun = Unfinished("run", "ours", params, "", tags=tags)
    with open_run(folder, begun, f"sqlite:///{store}") as tracking:
        for epoch in range(EPOCHS):
            values = {f"val/metric{i}": epoch + i / 100 for i in range(curves)}
            tracking.log_metrics(values, step=epoch + 1)
        scores = {"test/top1": 0.5} | {f"test/metric{i}": i / 100 for i in range(SCORES - 2)}
        save_run(Run("run", "ours", params, scores, tags, "", 9, 1.5), folder)


def _bare(store: Path, curves: int) -> None:
    """Log the same by four requests of MLflow's client, without files."""
    client = MlflowClient(f"sqlite:///{store}")
    tags = {f"tag{i}": "value" for i in range(TAGS)}
    run_id = client.create_run("0", tags=tags).info.run_id
    points = [Metric(f"val/metric{i}", i, 1, e) for e in range(EPOCHS) for i in range(curves)]
    points += [Metric(f"test/metric{i}", i, 1, 0) for i in range(SCORES)]
    params = [Param(f"group.param{i}", str(i)) for i in range(PARAMS)]
    client.log_batch(run_id, points, params, [RunTag("last", "value")])
    client.set_terminated(run_id)
