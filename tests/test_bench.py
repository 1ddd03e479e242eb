"""The short form of scripts/bench: every table can be measured, whatever the package has become."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

BENCH = ROOT / "scripts" / "benchmarks"
TABLES = {
    "A step of training": 8,
    "Settings on a CPU, small CNN": 4,
    "An augmented image, 3 x 32 x 32": 5,
    "A photograph for training": 5,
    "Memory": 5,
    "Around the loop": 10,
    "Heads on features": 4,
    "Runs as one training": 1,
    "A run beside its steps": 17,
    "Surviving whatever ends a run": 6,
    "The metrics of a split": 16,
    "Predictions": 2,
    "On a GPU": 2,
}  # with their numbers of rows


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The page that the short form writes, and that of the repository after it."""
    folder = tmp_path_factory.mktemp("bench")
    command = [sys.executable, BENCH / "run.py", "--short", folder]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return (folder / "README.md").read_text(), (BENCH / "README.md").read_text()


@pytest.mark.parametrize(("title", "rows"), TABLES.items())
def test_every_table_is_measured(written: tuple[str, str], title: str, rows: int):
    table = written[0].partition(f"## {title}\n")[2].partition("\n## ")[0]
    cells = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("|")]

    assert len(cells) == rows + 2  # headings and their underline
    assert not [row for row in cells[2:] if not re.search(r"\d", row[1])]
    assert "these numbers mean nothing" in table


def test_the_short_form_leaves_the_measured_page_alone(written: tuple[str, str]):
    assert "these numbers mean nothing" not in written[1]
    assert re.findall("^## (.*)", written[1], re.MULTILINE) == list(TABLES)


def test_an_unknown_table_is_refused(tmp_path: Path):
    command = [sys.executable, BENCH / "run.py", "--short", tmp_path, "stpes"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)

    assert ended.returncode == 2
    assert "no such table: stpes" in ended.stderr
