"""The short form of scripts/stress."""

import subprocess
import sys

from conftest import ROOT


def test_a_sweep_killed_at_random_instants_leaves_what_an_undisturbed_one_leaves(tmp_path):
    command = [
        *(sys.executable, ROOT / "scripts" / "stress.py", "--folder", tmp_path),
        *("--kills", "8", "--runs", "5", "--epochs", "8", "--every", "0.7"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "8 kills" in done.stdout
    assert "agree in every weight, prediction, metric, curve and point" in done.stdout
