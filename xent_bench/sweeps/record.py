"""A sweep that is finished, remembered: Hydra takes 0.1 s a run to say which runs it has.

The record lies beside `multirun.yaml` and holds for what was typed and for every file that may
have a say in it, byte by byte; with anything else, the sweep is composed again. A run whose
result is gone is never taken for done.
"""

import json
import os
import re
from collections.abc import Iterable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig, OmegaConf

from xent_bench import schema
from xent_bench.calibrators import PREFIXES
from xent_bench.schema import WEIGHTS, run_folder

RECORD = ".finished.json"
MOST = 5000  # files that are looked at: somebody's folder of configs may hold their images too
RESOLVER = re.compile(r"\$\{[^}]*:")  # ${oc.env:HOME}


def remember(sweep: DictConfig, runs: Iterable[DictConfig]) -> bool:
    """Record the sweep if every run of it is finished, and say whether it is."""
    found = [(str(run_folder(each)), _wanted_of(each)) for each in runs]
    if not _all_done(found):
        return False
    folder = Path(sweep.hydra.sweep.dir)
    key = _key(sweep)
    if key and folder.is_dir():
        part = folder / f"{RECORD}.part"
        with suppress(OSError):  # somebody else's folder: then each run is asked again
            part.write_text(json.dumps({"key": key, "runs": found}))
            part.rename(folder / RECORD)
    return True


def recall(sweep: DictConfig) -> list[Path]:
    """The folders of a sweep that is finished still; none of one that is not known to be."""
    try:
        record = json.loads((Path(sweep.hydra.sweep.dir) / RECORD).read_text())
        same = record["key"] == _key(sweep)
        runs = [(folder, dict(wanted)) for folder, wanted in record["runs"]]
        done = same and _all_done(runs)
    except (OSError, ValueError, KeyError, TypeError):  # none, or edited: it is only a shortcut
        return []
    return [Path(folder) for folder, _ in runs] if done else []


def _wanted_of(run: DictConfig) -> dict[str, Any]:
    """What is asked of a run beside its training."""
    return {"calibrator": run.calibrator.name, "weights": run.machine.save_weights}


def _all_done(runs: list[tuple[str, dict[str, Any]]]) -> bool:
    return bool(runs) and all(_is_done(Path(folder), **wanted) for folder, wanted in runs)


def _is_done(folder: Path, calibrator: str, weights: bool) -> bool:
    """Readable, with the numbers of the calibrator and the weights that are asked for."""
    try:
        metrics = json.loads((folder / "result.json").read_text())["metrics"]
    except (OSError, ValueError, KeyError, TypeError):  # the run itself will say it
        return False
    kept = (folder / WEIGHTS).exists()
    return f"{PREFIXES[calibrator]}/top1" in metrics and (kept or not weights)


def _key(sweep: DictConfig) -> str | None:
    """Of all that decides which runs there are; None where that is not in files alone."""
    sources = sweep.hydra.runtime.config_sources
    if {each.schema for each in sources if each.provider != "hydra"} - {"file", "structured"}:
        return None
    folders = [Path(each.path) for each in sources if each.schema == "file"]
    try:
        texts = {str(file): file.read_text() for each in folders for file in _configs(each)}
    except (OSError, ValueError):  # Hydra will say it, if it needs the file
        return None
    typed = list(sweep.hydra.overrides.task)
    if any(RESOLVER.search(text) for text in [*texts.values(), *typed]):
        return None  # the environment or the time of day decides
    code = Path(schema.__file__).read_text()  # it names the folders
    said = [hydra.__version__, code, OmegaConf.to_yaml(sweep), texts]
    return sha256(json.dumps(said).encode()).hexdigest()


def _configs(folder: Path) -> list[Path]:
    """All there are, sorted; a ValueError of a folder that is no folder of configs alone."""
    found, seen = [], 0
    for place, _, names in os.walk(folder):
        seen += 1 + len(names)
        if seen > MOST:
            raise ValueError(f"expected configs, found {seen} files in {folder}")
        found += [Path(place, name) for name in names if name.endswith(".yaml")]
    return sorted(found)
