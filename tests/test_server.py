"""A real MLflow server on PostgreSQL that is killed and comes back: nothing lost or twice."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT
from mlflow import MlflowClient

from xent_bench.runs.result import load_run
from xent_bench.training.run import run

SCRIPT = ROOT / "scripts" / "mlflow-server"
XENT_TRAIN = str(Path(sys.executable).with_name("xent-train"))
RUN = ("data=synthetic", "data.n=8000", "model=cnn", "model.width=4", "epochs=20")

pytestmark = pytest.mark.skipif(
    not list(Path("/usr/lib/postgresql").glob("*/bin/initdb")),
    reason="needs Debian's postgresql: see scripts/mlflow-server",
)


@pytest.fixture
def server() -> Iterator[tuple[Path, str]]:
    """Its folder, where PostgreSQL's own user can reach it, and its address."""
    folder = Path(tempfile.mkdtemp(prefix="mlflow-server-"))
    try:
        yield folder, up(folder)
    finally:
        subprocess.run([SCRIPT, "down", folder], check=True)
        shutil.rmtree(folder)


def up(folder: Path) -> str:
    started = subprocess.run([SCRIPT, "up", folder], stdout=subprocess.PIPE, text=True, check=True)
    return started.stdout.strip()


def test_a_server_that_is_killed_in_the_middle_of_a_run_has_all_of_it_in_the_end(
    server, config, tmp_path
):
    folder, uri = server
    command = [XENT_TRAIN, *RUN, "machine=cpu", "machine.threads=1", f"machine.tracking={uri}"]
    options = {"cwd": tmp_path, "stdout": subprocess.DEVNULL}
    with subprocess.Popen(command, **options) as training:
        while not list(tmp_path.glob("runs/default/*/step*.ckpt")):
            assert training.poll() is None
            time.sleep(0.05)
        os.killpg(int((folder / "server.pid").read_text()), signal.SIGKILL)
        assert up(folder) == uri
    again = subprocess.run(command, **options, check=False)  # if it ended while nobody answered

    assert (training.returncode, again.returncode) == (0, 0)
    (file,) = tmp_path.glob("runs/default/*/result.json")
    client = MlflowClient(uri)
    (stored,) = client.search_runs([client.get_experiment_by_name("default").experiment_id])
    assert stored.info.status == "FINISHED"
    straight = run(config(base=RUN))
    ended = load_run(file)
    assert ended.metrics == straight["metrics"]
    assert ended.tags["weights_sha256"] == straight["tags"]["weights_sha256"]
    assert stored.data.tags["weights_sha256"] == straight["tags"]["weights_sha256"]
    expected = MlflowClient(config().machine.tracking)
    for key in ("train/loss", "val/nll", "test/nll"):
        same = expected.get_metric_history(straight["tags"]["mlflow_run_id"], key)
        points = client.get_metric_history(stored.info.run_id, key)
        assert [(p.step, p.value) for p in points] == [(p.step, p.value) for p in same]
    names = [file.path for file in client.list_artifacts(stored.info.run_id)]
    assert names == ["config.yaml", "images.json", "net.json", "pictures", "predictions.npz"]
