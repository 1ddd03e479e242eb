"""A sweep that was composed before is not composed again: Hydra takes 0.1 s a run to do it.

Its record holds for what was typed and for every file that may have a say in it, byte by byte;
with anything else, the sweep is composed again.
"""

import json
import os
import re
import shlex
import sys
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf

from xent_bench.config import schema
from xent_bench.runs.sweep_record import RECORD, Planned, Sweep, load_sweep, save_sweep

MAX_FILES = 5000  # files that are looked at: somebody's folder of configs may hold their images too
RESOLVER = re.compile(r"\$\{[^}]*:")  # ${oc.env:HOME}


def remember(sweep: DictConfig, runs: list[Planned]) -> None:
    """Record which runs the sweep has."""
    folder = Path(sweep.hydra.sweep.dir)
    typed = shlex.join(["xent-train", *sys.argv[1:]])
    with suppress(OSError):  # somebody else's folder: then each run is composed again
        folder.mkdir(parents=True, exist_ok=True)
        save_sweep(folder, Sweep(_key(sweep), typed, runs))


def forget(folder: Path) -> None:
    """Delete the record of a sweep whose every run was refused, and folders left empty by that."""
    with suppress(OSError):
        for name in (RECORD, "multirun.yaml"):
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()
        folder.parent.rmdir()


def recall(sweep: DictConfig) -> list[Planned]:
    """The runs of a sweep that is known still; none of one that is not."""
    record = load_sweep(Path(sweep.hydra.sweep.dir))
    if record is None or record.key is None or record.key != _key(sweep):
        return []
    return record.runs


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
        if seen > MAX_FILES:
            raise ValueError(f"expected configs, found {seen} files in {folder}")
        found += [Path(place, name) for name in names if name.endswith(".yaml")]
    return sorted(found)
