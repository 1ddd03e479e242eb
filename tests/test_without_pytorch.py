"""Mistakes, --help and finished runs are answered without importing PyTorch."""

import os
import subprocess
import sys
import tempfile
from itertools import product
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from test_config import xent_train

from xent_bench.config import identity
from xent_bench.config.identity import run_folder, science
from xent_bench.config.schema import CONF, register_schema
from xent_bench.runs.result import Run, save_run
from xent_bench.runs.sweep_record import load_sweep
from xent_bench.sweeps import recall


def test_nothing_heavy_is_imported_before_something_is_trained(tmp_path):
    probe = (
        "import sys; sys.argv = ['xent-train', 'loss=focl'];"
        "from xent_bench.commands.train import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'mlflow', 'pytorch_lightning', 'sklearn'} & set(sys.modules)))"
    )
    shown = subprocess.run(
        [sys.executable, "-c", probe], cwd=tmp_path, capture_output=True, text=True, check=True
    )

    assert shown.stdout.strip() == "[]"


def without_torch(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run xent-train where importing PyTorch is an error, in every process that it starts."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "torch.py").write_text("raise ImportError('there is no torch')")
        path = os.pathsep.join([folder, os.environ.get("PYTHONPATH", "")])
        command = [str(Path(sys.executable).with_name("xent-train")), *arguments]
        return subprocess.run(
            command,
            cwd=cwd,
            env=os.environ | {"PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=False,
        )


def finish(config: DictConfig, cwd: Path) -> Path:
    """Write the result of a finished run, with a folder of pictures that is not looked into."""
    scores = dict.fromkeys(("top1", "nll", "ece", "temperature_at_bound"), 0.5)
    metrics = {
        f"{split}/{key}": score for split in ("test", "test_ts") for key, score in scores.items()
    }
    folder = cwd / run_folder(config)
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    done = Run("one", "default", science(config), metrics, {}, "", n_test=9, seconds=1.0)
    save_run(done, folder)
    return folder / "result.json"


@pytest.mark.parametrize(
    "mistake",
    [
        "loss=focl",
        "epoch=3",
        "epochs=0",
        "loss=focal loss.gamma=-1",
        "loss=focal +loss.gama=2",
        "loss=huber loss.delta=0",
        "loss=taylor_ce loss.t=0",
        "optimizer.lr=fast",
        "model.width=2.5",
        "schedule.warmup=1.5",
        "+data.n=3",
        "-m loss=focal loss.gamma=2,-1",
    ],
)
def test_a_mistake_is_refused_without_pytorch(tmp_path, mistake):
    refused = without_torch(*mistake.split(), cwd=tmp_path)

    assert refused.returncode == 2
    assert refused.stdout == ""
    assert refused.stderr.startswith("xent-train: ")
    assert refused.stderr.endswith(" (on the command line)\n")
    assert list(tmp_path.iterdir()) == []


def test_help_needs_no_pytorch(tmp_path):
    assert without_torch("--help", cwd=tmp_path).stdout == xent_train("--help", cwd=tmp_path).stdout


def test_a_finished_run_is_shown_without_pytorch(composed, tmp_path):
    finish(composed("loss=focal"), tmp_path)
    shown = without_torch("loss=focal", cwd=tmp_path)

    assert shown.returncode == 0, shown.stderr
    assert "done before: nothing was trained" in shown.stdout


def test_a_finished_sweep_is_shown_without_pytorch_and_remembered(composed, tmp_path):
    for seed in (0, 1):
        finish(composed(f"seed={seed}"), tmp_path)
    first, again = (without_torch("-m", "seed=0,1", cwd=tmp_path) for _ in range(2))

    assert first.returncode == again.returncode == 0, first.stderr
    assert "2 runs: 2 done before" in first.stdout
    assert "2 runs: 2 done before" in again.stdout
    assert (tmp_path / "runs" / "default" / ".sweep.json").is_file()
    assert OmegaConf.load(tmp_path / "runs" / "default" / "multirun.yaml").epochs == 20


def test_a_remembered_sweep_is_forgotten_when_a_result_is_gone(composed, tmp_path):
    results = [finish(composed(f"seed={seed}"), tmp_path) for seed in (0, 1)]
    without_torch("-m", "seed=0,1", cwd=tmp_path)
    results[1].unlink()

    assert "2 runs, 1 to train" in without_torch("-m", "seed=0,1", cwd=tmp_path).stdout


def test_a_sweep_is_not_finished_while_its_weights_are_asked_for_and_not_kept(composed, tmp_path):
    results = [finish(composed(f"seed={seed}"), tmp_path) for seed in (0, 1)]
    command = ("-m", "seed=0,1", "machine.save_weights=true")
    lacking = [without_torch(*command, cwd=tmp_path) for _ in range(2)]
    for result in results:
        result.with_name("weights.pt").touch()
    kept = without_torch(*command, cwd=tmp_path)

    assert {done.returncode for done in lacking} == {1}  # PyTorch is needed, and is not there
    assert (kept.returncode, "2 done before" in kept.stdout) == (0, True)


def test_an_edited_record_is_ignored(composed, tmp_path):
    for seed in (0, 1):
        finish(composed(f"seed={seed}"), tmp_path)
    without_torch("-m", "seed=0,1", cwd=tmp_path)
    record = tmp_path / "runs" / "default" / ".sweep.json"
    for edited in (
        '[["x", {"bogus": 1}]]',
        "[[1, {}]]",
        '[["x", []]]',
        "[1]",
        '{"a": 1}',
        "[" * 100_000,
    ):
        assert record.is_file(), edited
        record.write_text(edited)
        shown = without_torch("-m", "seed=0,1", cwd=tmp_path)

        assert "2 runs: 2 done before" in shown.stdout, edited
        assert shown.stderr == "", edited


def test_a_remembered_sweep_is_forgotten_when_a_choice_in_a_folder_of_its_own_changes(
    composed, tmp_path
):
    folder = tmp_path / "conf" / "loss" / "sub"
    folder.mkdir(parents=True)
    target = "_target_: xent_bench.losses.focal.focal\n"
    for name, gamma in (("f", 2.0), ("g", 3.0)):
        (folder / f"{name}.yaml").write_text(f"{target}gamma: {gamma}\n")
        finish(composed("loss=focal", f"loss.gamma={gamma}"), tmp_path)
    command = ("-m", "--config-dir", "conf", "loss=sub/f,sub/g")
    before = without_torch(*command, cwd=tmp_path).stdout
    (folder / "f.yaml").write_text(f"{target}gamma: 5.0\n")

    assert "2 done before" in before
    assert "2 runs, 1 to train" in without_torch(*command, cwd=tmp_path).stdout


def test_a_file_that_cannot_be_read_is_no_obstacle_to_a_finished_sweep(composed, tmp_path):
    folder = tmp_path / "conf" / "experiment"
    folder.mkdir(parents=True)
    (folder / "dangling.yaml").symlink_to(tmp_path / "nowhere")
    for seed in (0, 1):
        finish(composed(f"seed={seed}"), tmp_path)
    shown = without_torch("-m", "--config-dir", "conf", "seed=0,1", cwd=tmp_path)

    assert "2 done before" in shown.stdout
    assert shown.stderr == ""


@pytest.mark.parametrize("resolver", ["${oc.env:SEEDS}", "${ oc.env:SEEDS}"])
def test_a_sweep_that_the_environment_decides_on_is_not_remembered(
    composed, tmp_path, monkeypatch, resolver
):
    file = tmp_path / "conf" / "experiment" / "mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(f"# @package _global_\nepochs: {resolver}\n")
    for epochs, seed in product((3, 4), (0, 1)):
        finish(composed(f"epochs={epochs}", f"seed={seed}"), tmp_path)
    monkeypatch.setenv("SEEDS", "3")
    shown = without_torch("-m", "--config-dir", "conf", "experiment=mine", "seed=0,1", cwd=tmp_path)

    assert "2 done before" in shown.stdout, shown.stderr
    assert load_sweep(tmp_path / "runs" / "default").key is None


def test_a_remembered_sweep_is_forgotten_when_a_file_of_it_changes(composed, tmp_path):
    file = tmp_path / "conf" / "experiment" / "mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("# @package _global_\nepochs: 3\n")
    command = ("-m", "--config-dir", "conf", "experiment=mine", "seed=0,1")
    for seed in (0, 1):
        finish(composed("epochs=3", f"seed={seed}"), tmp_path)
    first, again = (without_torch(*command, cwd=tmp_path).stdout for _ in range(2))
    file.write_text("# @package _global_\nepochs: 4\n")
    changed = without_torch(*command, cwd=tmp_path).stdout

    assert "2 done before" in first
    assert "2 done before" in again
    assert "2 runs, 2 to train" in changed


def test_a_remembered_sweep_is_forgotten_when_the_code_that_names_folders_changes(
    tmp_path, monkeypatch
):
    register_schema()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        sweep = compose("train", ["hydra.mode=MULTIRUN"], return_hydra_config=True)
    before = recall._key(sweep)
    edited = tmp_path / "identity.py"
    edited.write_text("# another rule\n")
    monkeypatch.setattr(identity, "__file__", str(edited))

    assert before is not None
    assert recall._key(sweep) != before
