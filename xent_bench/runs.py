"""Finished runs, kept in their folders. No torch, no MLflow: a report starts at once."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Run:
    """What `result.json` holds of one trained run."""

    name: str
    experiment: str
    params: dict[str, Any]
    metrics: dict[str, float]
    tags: dict[str, str]
    command: str
    n_test: int
    seconds: float


def load_runs(folder: Path) -> list[Run]:
    """Every finished run in the folder or below it, in the order of their paths.

    A ValueError if there is none, or if a result cannot be read: a comparison with a hole in it
    that nobody mentions is worse than none.
    """
    if not folder.is_dir():
        raise ValueError(f"expected a folder of runs, got {folder}: no such folder")
    files = sorted(folder.rglob("result.json"))
    if not files:
        raise ValueError(f"no finished run in {folder}: expected a result.json in a run's folder")
    found: dict[tuple[str, str], Path] = {}
    runs = []
    for file in files:
        run = load_run(file)
        twin = found.setdefault((run.experiment, run.tags.get("key", str(file))), file)
        if twin != file:
            raise ValueError(f"the same run twice, which would count twice: {twin} and {file}")
        runs.append(run)
    return runs


def unfinished(folder: Path) -> list[Path]:
    """Folders of runs that began and have no result: diverged, killed, or still running."""
    begun = sorted(file.parent for file in folder.rglob("config.yaml"))
    return [
        each for each in begun if not _is_artifact(each.relative_to(folder)) and not _ended(each)
    ]


def _is_artifact(place: Path) -> bool:
    """Whether it lies among MLflow's copies, in the folder `mlflow` of an experiment."""
    return "mlflow" in place.parts


def _ended(folder: Path) -> bool:
    return (folder / "result.json").exists()


def load_run(file: Path) -> Run:
    """From its `result.json`; a ValueError if that cannot be read."""
    try:
        run = Run(**json.loads(file.read_text()))
        _check(run)
        return run
    except (OSError, TypeError, ValueError) as error:
        raise ValueError(f"expected a run's result in {file}: {error}") from error


def save_run(run: Run, folder: Path) -> None:
    """Its `result.json`, which appears whole."""
    part = folder / "result.part"
    part.write_text(json.dumps(asdict(run), indent=2, default=str))
    part.rename(folder / "result.json")


def _check(run: Run) -> None:
    """That it is what a run writes, where somebody has edited it."""
    for name, content in (("metrics", int | float), ("tags", str), ("params", object)):
        found = getattr(run, name)
        if not isinstance(found, dict) or not all(isinstance(v, content) for v in found.values()):
            raise TypeError(f"its {name} are not what they should be")
    missing = {"loss", "data", "model", "seed"} - run.params.keys()
    if missing or not isinstance(run.n_test, int):
        raise TypeError(f"it lacks {', '.join(sorted(missing)) or 'n_test'}")
