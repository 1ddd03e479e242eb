"""A sweep on a real SLURM of one node: whatever happens to its jobs, the same runs, once each."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import ROOT
from mlflow import MlflowClient
from mlflow_server import serve

from xent_bench.failures import Unavailable
from xent_bench.runs.result import load_runs
from xent_bench.sweeps.slurm_job import Job, submit
from xent_bench.sweeps.slurm_queue import job_states
from xent_bench.training.run import run

SCRIPT = ROOT / "scripts" / "slurm"
XENT_TRAIN = str(Path(sys.executable).with_name("xent-train"))
RUN = ("data=synthetic", "data.n=4000", "model=cnn", "model.width=4", "epochs=20")
JOB = ("hydra/launcher=slurm", "hydra.launcher.cpus_per_task=1", "hydra.launcher.mem_gb=1")
GROUP = [XENT_TRAIN, "-m", "loss=ce,mse", *RUN, "machine=cpu", "machine.threads=1", *JOB]
SWEEP = [*GROUP, "machine.together=1"]
LIMITS = ("MaxArraySize=3", "AccountingStorageEnforce=limits")

pytestmark = pytest.mark.skipif(
    os.getuid() != 0 or shutil.which("slurmctld", path=f"{os.environ['PATH']}:/usr/sbin") is None,
    reason="needs root and Debian's slurmctld: see scripts/slurm",
)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment that knows of it."""
    folder = tmp_path_factory.mktemp("slurm")
    try:
        command = [SCRIPT, "up", folder, *LIMITS]
        up = subprocess.run(command, capture_output=True, text=True, check=True)
        conf = up.stdout.strip().removeprefix("export SLURM_CONF=")
        rest = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW")}
        yield rest | {"SLURM_CONF": conf}
    finally:
        subprocess.run([SCRIPT, "down", folder], check=True, stdout=subprocess.DEVNULL)


def until(found: Callable[[], object]) -> None:
    end = time.monotonic() + 120
    while not found():
        assert time.monotonic() < end
        time.sleep(0.05)


def job_of(place: Path, loss: str) -> str:
    (file,) = place.glob(f"runs/default/{loss}-*/slurm_job")
    return file.read_text()


def checkpoints(place: Path, loss: str) -> set[Path]:
    return set(place.glob(f"runs/default/{loss}-*/step*.ckpt"))


def job_states_in(cluster: dict[str, str]) -> dict[str, str]:
    command = ["squeue", "--noheader", "--states=all", "--format=%i|%T"]
    done = subprocess.run(command, env=cluster, capture_output=True, text=True, check=True)
    return dict(line.split("|") for line in done.stdout.split())


def is_training(place: Path) -> bool:
    """Whether a run has noted its progress within two seconds."""
    notes = place.glob("runs/default/*/progress.json")
    return any(time.time() - file.stat().st_mtime < 2 for file in notes)


def process_of(job: str, place: Path) -> int:
    """Which trains; SLURM itself does not tell it of a job of an array."""
    array, _, task = job.partition("_")
    known = (f"SLURM_ARRAY_TASK_ID={task}" if task else f"SLURM_JOB_ID={array}").encode()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # ended meanwhile
            typed = (folder / "cmdline").read_bytes().split(b"\0")
            trains = b"submitit.core._submit" in typed and typed[0].endswith(b"python")
            here = (folder / "cwd").readlink() == place
            if trains and here and known in (folder / "environ").read_bytes():
                return int(folder.name)
    raise ProcessLookupError(job)


def test_a_sweep_whose_jobs_are_requeued_preempted_and_killed_is_finished_by_its_own_command(
    cluster, config, tmp_path
):
    def scheduler(*words: str) -> None:
        subprocess.run(words, env=cluster, check=True)

    typed = {"cwd": tmp_path, "env": cluster, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(SWEEP, **typed) as watch:
        until(lambda: checkpoints(tmp_path, "mse") and checkpoints(tmp_path, "ce"))
        scheduler("scontrol", "requeue", job_of(tmp_path, "ce"))
        scheduler("scancel", "--signal=USR2", job_of(tmp_path, "mse"))
        time.sleep(3)  # it saves what it has
        saved = checkpoints(tmp_path, "mse")
        until(lambda: checkpoints(tmp_path, "mse") - saved)
        os.kill(process_of(job_of(tmp_path, "mse"), tmp_path), signal.SIGKILL)
        killed = next(line for line in watch.stdout if "FAILED" in line)
        watch.send_signal(signal.SIGINT)
        said = watch.stdout.read()
    again = subprocess.run(SWEEP, **typed, check=False)

    assert "mse-s0         FAILED: job" in killed
    assert "task 0: Killed; see" in killed
    assert watch.returncode == 130 or "1 trained, 1 failed" in said  # ce may have been faster
    assert again.returncode == 0, again.stdout
    assert "SLURM: 1 run submitted" in again.stdout
    found = {each.name: each for each in load_runs(tmp_path / "runs")}
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    stored = client.search_runs([client.get_experiment_by_name("default").experiment_id])
    assert sorted(each.info.run_name for each in stored) == ["ce-s0", "mse-s0"]
    assert {each.info.status for each in stored} == {"FINISHED"}
    for loss in ("ce", "mse"):
        straight = run(config(f"loss={loss}", base=RUN))
        ended = found[f"{loss}-s0"]
        assert ended.metrics == straight["metrics"]
        assert ended.tags["weights_sha256"] == straight["tags"]["weights_sha256"]
        points = client.get_metric_history(ended.tags["mlflow_run_id"], "val/top1")
        assert sorted(each.step for each in points) == list(range(1, 21))


def test_a_group_is_one_job_and_goes_on_when_it_was_requeued_or_killed(cluster, config, tmp_path):
    words = [*GROUP, "seed=0,1", "epochs=60", "machine.checkpoint_minutes=0.005"]
    typed = {"cwd": tmp_path, "env": cluster, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(words, **typed) as watch:
        until(lambda: checkpoints(tmp_path, "mse") and checkpoints(tmp_path, "ce"))
        jobs = {file.read_text() for file in tmp_path.glob("runs/default/*/slurm_job")}
        (job,) = jobs
        subprocess.run(["scontrol", "requeue", job], env=cluster, check=True)
        saved = checkpoints(tmp_path, "ce")
        until(lambda: checkpoints(tmp_path, "ce") - saved)
        watch.send_signal(signal.SIGINT)
        first = watch.stdout.read()
    with subprocess.Popen(words, **typed) as watch:
        second = next(line for line in watch.stdout if line.startswith("SLURM: "))
        until(lambda: job_states_in(cluster)[job] == "RUNNING")
        until(lambda: is_training(tmp_path))
        os.kill(process_of(job, tmp_path), signal.SIGKILL)
        second += watch.stdout.read()
    again = subprocess.run(words, **typed, check=False)

    assert "SLURM: 4 runs submitted in 1 job; logs:" in first
    assert "4 runs: 4 to go" in first
    assert f"To end them: scancel {job}" in first
    assert "SLURM: 4 runs submitted before; logs:" in second
    assert second.count("FAILED: job") == 4
    assert "4 runs: 4 failed" in second
    assert again.returncode == 0, again.stdout
    assert "SLURM: 4 runs submitted in 1 job" in again.stdout
    ended = {run.name: run for run in load_runs(tmp_path / "runs")}
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    stored = client.search_runs([client.get_experiment_by_name("default").experiment_id])
    assert sorted(run.info.run_name for run in stored) == ["ce-s0", "ce-s1", "mse-s0", "mse-s1"]
    assert {run.info.status for run in stored} == {"FINISHED"}
    straight = run(config("loss=mse", "seed=1", "epochs=60", base=RUN))["metrics"]
    assert ended["mse-s1"].metrics == pytest.approx(straight, rel=1e-3, abs=1e-5)


def test_jobs_go_on_where_mlflow_has_gone_away_since_they_were_submitted(cluster, tmp_path):
    replaced = ("loss", "epochs", "data.n")
    words = [word for word in GROUP if not word.startswith(replaced)]
    words += ["loss=ce,mse,focal", "epochs=1", "data.n=600", "machine.together=2"]  # 2 jobs
    typed = {"cwd": tmp_path, "env": cluster, "stdout": subprocess.PIPE, "text": True}
    with serve(f"sqlite:///{tmp_path}/served.db", tmp_path) as server:
        held = [f"machine.tracking={server.uri}", "+hydra.launcher.additional_parameters.hold=true"]
        with subprocess.Popen([*words, *held], **typed) as watch:
            until(lambda: len([*tmp_path.glob("runs/default/*/slurm_job")]) == 3)
            server.kill()
            jobs = {file.read_text() for file in tmp_path.glob("runs/default/*/slurm_job")}
            for job in jobs:
                subprocess.run(["scontrol", "release", job], env=cluster, check=True)
            printed = watch.stdout.read()

    assert watch.returncode == 0, printed
    assert len(jobs) == 2
    assert "3 runs: 3 trained" in printed
    assert len(load_runs(tmp_path / "runs")) == 3
    assert len([*tmp_path.glob("runs/default/*/not_in_mlflow")]) == 3


@pytest.fixture
def idle_jobs(cluster, monkeypatch, tmp_path) -> Iterator[Callable[[int], list[str]]]:
    """Submit so many jobs that are held in the queue; returns the ids that SLURM gave."""
    monkeypatch.setenv("SLURM_CONF", cluster["SLURM_CONF"])
    held = {"additional_parameters": {"hold": True}}
    settings = {"submitit_folder": str(tmp_path), "max_num_timeout": 1, **held}
    yield lambda n: list(submit([Job("xent-status")] * n, settings))
    subprocess.run(["scancel", "--user=root"], check=True)
    until(lambda: not [job for job, state in job_states().items() if not state.has_ended])


def test_a_sweep_larger_than_an_array_may_be_is_several_arrays(idle_jobs):
    jobs = idle_jobs(7)

    arrays = [job.partition("_")[0] for job in jobs]
    assert len(jobs) == 7
    assert [arrays.count(array) for array in dict.fromkeys(arrays)] == [3, 3, 1]


def test_of_more_jobs_than_a_user_may_have_as_many_as_can_be_are_submitted(idle_jobs, tmp_path):
    def limit(jobs: int) -> None:
        words = [
            "sacctmgr",
            "--immediate",
            "modify",
            "user",
            "root",
            "set",
            f"MaxSubmitJobs={jobs}",
        ]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        time.sleep(1)  # until slurmctld has heard it

    limit(2)
    try:
        jobs = idle_jobs(5)
        with pytest.raises(Unavailable, match=r"^sbatch: AssocMaxSubmitJobLimit"):
            idle_jobs(2)
    finally:
        limit(-1)

    assert len(jobs) == 2
    kept = [file for pattern in ("*.pkl", ".submission_file*") for file in tmp_path.glob(pattern)]
    assert all(file.is_symlink() or file.name.partition("_")[0] in jobs for file in kept), kept


def test_what_slurm_refuses_is_one_line(cluster, monkeypatch, tmp_path):
    monkeypatch.setenv("SLURM_CONF", cluster["SLURM_CONF"])
    settings = {"submitit_folder": str(tmp_path), "max_num_timeout": 1, "partition": "gpus"}

    with pytest.raises(Unavailable, match=r"^sbatch: invalid partition specified: gpus[^\n]*$"):
        list(submit([Job("xent-train")], settings))


def test_without_the_extra_one_line_says_what_to_install(tmp_path):
    hidden = "hydra_plugins.hydra_submitit_launcher"
    words = ["xent-train", "-m", "loss=ce,mse", "hydra/launcher=slurm"]
    program = (
        f"import sys; sys.modules[{hidden!r}] = None; sys.argv = {words}\n"
        "from xent_bench.commands.train import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 2
    assert done.stderr == (
        "xent-train: hydra/launcher=slurm needs pip install 'xent-bench[slurm]' "
        "(on the command line)\n"
    )
