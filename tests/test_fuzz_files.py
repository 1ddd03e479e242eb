"""Files of a run folder, damaged at random: each reader reads them or refuses them in one line.

XENT_BENCH_FUZZ sets how many folders are tried; 1,500 were, without another exception.
"""

import contextlib
import io
import json
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from conftest import SMALL
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xent_bench.commands.report import main as xent_report
from xent_bench.commands.status import main as xent_status
from xent_bench.config.identity import run_folder
from xent_bench.evaluation.rescore import rescore
from xent_bench.failures import DataError, Unavailable
from xent_bench.runs.sweep_record import RECORD, Planned, Sweep, save_sweep
from xent_bench.trained_net import load as load_net
from xent_bench.training.run import run

EXAMPLES = int(os.environ.get("XENT_BENCH_FUZZ", "120"))
JSON_FILES = ("result.json", "begun.json", "curves.json", "net.json", "progress.json", RECORD)
FILES = (*JSON_FILES, "config.yaml", "predictions.npz", "weights.pt", "mlflow_run_id")
NEW_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from([10**400, -1, "../../x", "\x1b[31m", "${oc.env:HOME}", "<script>", [], {}]),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=5), st.floats(), max_size=3),
)
ENDINGS = {"read", "exit 0", "exit 1", "exit 3", "exit 4", "DataError", "Unavailable"}
OUTCOMES: Counter[str] = Counter()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a finished run, with every file that a run may leave."""
    from hydra import compose, initialize_config_dir

    from xent_bench.config.schema import CONF, register_schema

    register_schema()
    offline = ("machine=cpu", "machine.offline=true", "machine.save_weights=true")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", [*offline, *SMALL])
    config.machine.runs = str(tmp_path_factory.mktemp("fuzzed"))
    run(config)
    folder = run_folder(config)
    planned = Planned("ce-s0", "xent-train", ["seed=0"], folder, "temperature", False, False)
    save_sweep(folder.parent, Sweep("key", "xent-train -m", [planned]))
    (folder / "mlflow_run_id").write_text("0" * 32)
    return folder


def file_in(folder: Path, name: str) -> Path:
    return (folder.parent if name == RECORD else folder) / name


def damaged(draw: Any, content: bytes) -> bytes:
    """The bytes with a few bits flipped, a part cut out, or something else in their place."""
    kind = draw(st.sampled_from(["flip", "cut", "insert", "replace", "nest"]))
    if kind == "flip":
        flipped = bytearray(content)
        for place in draw(st.lists(st.integers(0, 8 * len(content) - 1), min_size=1, max_size=4)):
            flipped[place // 8] ^= 1 << place % 8
        return bytes(flipped)
    start, end = sorted((draw(st.integers(0, len(content))), draw(st.integers(0, len(content)))))
    if kind == "cut":
        return content[:start] + content[end:]
    if kind == "insert":
        return content[:start] + draw(st.binary(max_size=8)) + content[start:]
    if kind == "nest":
        return draw(st.sampled_from([b"[", b'{"a":', b"- "])) * 10_000
    return draw(st.binary(max_size=100))


def changed(draw: Any, content: Any) -> Any:
    """The same JSON with one value, at any depth, removed or replaced."""
    if isinstance(content, dict | list) and content and draw(st.integers(0, 3)):
        keys = list(content) if isinstance(content, dict) else list(range(len(content)))
        key = draw(st.sampled_from(keys))
        copy: Any = dict(content) if isinstance(content, dict) else list(content)
        if draw(st.booleans()):
            copy[key] = changed(draw, content[key])
        elif draw(st.booleans()):
            copy[key] = draw(NEW_VALUES)
        else:
            del copy[key]
        return copy
    return draw(NEW_VALUES)


@st.composite
def changes(draw: Any, folder: Path) -> dict[str, bytes]:
    """New contents of one file or two, by name."""
    new = {}
    for name in draw(st.lists(st.sampled_from(FILES), min_size=1, max_size=2, unique=True)):
        file = file_in(folder, name)
        content = file.read_bytes() if file.exists() else b"{}"
        if name in JSON_FILES and draw(st.booleans()):
            parsed = json.loads(content)
            if isinstance(parsed, dict):
                parsed.pop("sha256", None)  # as somebody who means it can
            content = json.dumps(changed(draw, parsed)).encode()
        else:
            content = damaged(draw, content)
        new[name] = content
    if draw(st.booleans()):
        new["result.json"] = b""  # no file: the run is unfinished then
    return new


def outcome(name: str, call: Any, *arguments: Any) -> None:
    """Call a reader, and count how it ended; any error that is not documented is raised."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
        try:
            call(*arguments)
            ending = "read"
        except SystemExit as stop:
            ending = f"exit {int(stop.code or 0)}"
        except (DataError, Unavailable) as error:
            ending = type(error).__name__ + " of many lines" * ("\n" in str(error))
    assert ending in ENDINGS
    assert "Traceback" not in text.getvalue()
    assert "\x1b" not in text.getvalue()
    OUTCOMES[f"{name}: {ending}"] += 1


def test_a_damaged_folder_is_read_or_refused_in_one_line(trained, tmp_path):
    copy = tmp_path / "runs" / "default" / trained.name

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(changes(trained))
    def tried(new: dict[str, bytes]) -> None:
        shutil.rmtree(tmp_path / "runs", ignore_errors=True)
        shutil.copytree(trained.parent, copy.parent)
        for name, content in new.items():
            file_in(copy, name).write_bytes(content)
            if name == "result.json" and not content:
                file_in(copy, name).unlink()
        outcome("status", xent_status, [str(tmp_path / "runs")])
        outcome("report", xent_report, [str(tmp_path / "runs"), "--format", "csv"])
        if new.keys() & {"predictions.npz", "result.json"}:
            outcome("rescore", rescore, copy)
        if new.keys() & {"net.json", "weights.pt"}:
            outcome("net", load_net, copy)

    tried()
    print(dict(OUTCOMES))
