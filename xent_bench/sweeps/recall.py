"""The runs of a sweep that was composed before: Hydra takes 0.1 s a run to compose it again.

The record of a sweep is valid for the same command and the same bytes in every file that may have
a say in it; otherwise the sweep is composed again.
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

from xent_bench.config import configure, identity, schema, signatures
from xent_bench.config.command_line import as_typed
from xent_bench.runs.sweep_record import (
    RECORD,
    Planned,
    Sweep,
    load_sweep,
    save_sweep,
    steps_before,
)

MAX_FILES = 5000  # files in a user's folder of configs, which may hold images too
TARGET = re.compile(r"_target_\W+([\w.]+)\.\w")  # and the module of its function
RESOLVER = re.compile(r"\$\{[^}]*:")  # ${oc.env:HOME}


def remember(sweep: DictConfig, record: Sweep) -> None:
    """Write the record of a sweep, with its key, its command and the sweeps before it."""
    folder = Path(sweep.hydra.sweep.dir)
    typed = shlex.join(["xent-train", *as_typed(sys.argv[1:])])
    with suppress(OSError):  # a folder that may not be written: composed again next time
        folder.mkdir(parents=True, exist_ok=True)
        earlier = steps_before(load_sweep(folder), typed)
        save_sweep(folder, record._replace(key=_key(sweep), command=typed, earlier=earlier))


def forget(folder: Path) -> None:
    """Delete the record of a sweep whose every run was refused, and folders left empty by that."""
    with suppress(OSError):
        for name in (RECORD, "multirun.yaml"):
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()
        folder.parent.rmdir()


def recall(sweep: DictConfig) -> list[Planned]:
    """Read the runs of a sweep from its record; none where the record is not valid any more."""
    record = load_sweep(Path(sweep.hydra.sweep.dir))
    if record is None or record.key is None or record.key != _key(sweep):
        return []
    return record.runs


def _key(sweep: DictConfig) -> str | None:
    """A hash of all that decides which runs there are; None where not only files decide."""
    sources = sweep.hydra.runtime.config_sources
    schemas = {source.schema for source in sources if source.provider != "hydra"}
    if schemas - {"file", "structured"}:
        return None
    folders = [Path(source.path) for source in sources if source.schema == "file"]
    try:
        texts = {str(file): file.read_text() for folder in folders for file in _configs(folder)}
    except (OSError, ValueError):  # Hydra reports it, if it needs the file
        return None
    typed = list(sweep.hydra.overrides.task)
    if any(RESOLVER.search(text) for text in [*texts.values(), *typed]):
        return None  # the environment or the time of day decides
    # the code that decides the names of the folders
    modules = (schema, identity, configure, signatures)
    code = [Path(str(module.__file__)).read_text() for module in modules]
    targets = {name for text in [*texts.values(), *typed] for name in TARGET.findall(text)}
    code += [signatures.source_of(name) for name in sorted(targets)]  # their defaults count
    inputs = [hydra.__version__, code, OmegaConf.to_yaml(sweep), texts]
    return sha256(json.dumps(inputs).encode()).hexdigest()


def _configs(folder: Path) -> list[Path]:
    """All YAML files below a folder, sorted. ValueError if it holds more than MAX_FILES."""
    configs, files = [], 0
    for directory, _, names in os.walk(folder):
        files += 1 + len(names)
        if files > MAX_FILES:
            raise ValueError(f"expected configs, found {files} files in {folder}")
        configs += [Path(directory, name) for name in names if name.endswith(".yaml")]
    return sorted(configs)
