"""What a user may write, and how a mistake is answered: one line, an exit code, nothing trained."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, SMALL
from omegaconf import OmegaConf

from xent_bench.configure import ConfigError, checked
from xent_bench.explain import CONFIG_ERRORS, explain
from xent_bench.schema import CONF, run_folder, run_key, science

EXPERIMENTS = sorted(file.stem for file in (CONF / "experiment").glob("*.yaml"))


def xent_train(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, as a user runs it."""
    command = [str(Path(sys.executable).with_name("xent-train")), *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("epoch=3", "epoch: no such key; did you mean epochs?"),
        ("lr=1", "lr: no such key; did you mean optimizer.lr?"),
        ("machine.acelerator=cpu", "did you mean machine.accelerator?"),
        ("loss=focl", "loss=focl: no such loss; did you mean focal?"),
        ("data=imagenet22k", "no such data; there is digits, fashion_mnist, synthetic"),
        ("model.widht=3", "did you mean model.width?"),
        ("+model.widht=3", "model.widht: no such key; did you mean model.width?"),
        ("+epoch=3", "did you mean epochs?"),
        ("epochs=many", "epochs: Value 'many' of type 'str' could not be converted to Integer"),
        ("precision=fp7", "expected one of [fp32, tf32, bf16]"),
        ("machine.tracking=http://me:secret@host", "holds a password"),
        ("optimizer.beta1=1", "optimizer.beta1: should be less than 1"),
        ("epochs=0", "epochs: should be greater than or equal to 1, got 0"),
        ("batch_size=0", "batch_size: should be greater than or equal to 1"),
        ("seed=-1", "seed: should be greater than or equal to 0"),
        ("machine.threads=0", "machine.threads: should be greater than or equal to 1"),
        ("optimizer.lr=-0.1", "optimizer.lr: should be greater than 0, got -0.1"),
        ("optimizer.lr=nan", "optimizer.lr: should be a finite number"),
        ("optimizer.lr=fast", "optimizer.lr: should be a valid number"),
        ("schedule.warmup=1.5", "schedule.warmup: should be less than or equal to 1"),
        ("model.width=2.5", "model.width: should be a valid integer"),
        ("epochs=1,2", "epochs=1,2: several values are a sweep, which needs -m"),
        ("seed=???", "seed: has to be given"),
        ("+data.root=???", "data.root: has to be given"),
        ("loss._target_=null", "loss._target_: expected a dotted name, got None"),
        ("loss._target_=os.nope", "loss._target_: cannot use os.nope"),
        ("machine.runs=", "machine.runs: String should have at least 1 character"),
        ("epochs=[1", "cannot read 'epochs=[1': expected key=value"),
    ],
)
def test_a_mistake_is_answered_by_what_was_wrong_and_what_was_expected(
    composed, override, complaint
):
    with pytest.raises(CONFIG_ERRORS) as refusal:
        checked(composed(override))

    line = explain(refusal.value, [override])
    assert complaint in line
    assert line.endswith("(on the command line)")
    assert "\n" not in line


@pytest.mark.parametrize(
    ("loss", "override"),
    [
        *(("focal", f"gamma={value}") for value in ("-1", "nan", "inf", "abc")),
        ("dual_focal", "gamma=-0.1"),
        ("sigmoid_focal", "alpha=1.5"),
        ("label_smoothing", "smoothing=1.01"),
        ("label_smoothing", "smoothing=-0.1"),
        ("bootstrap_soft", "beta=1.1"),
        ("logit_norm", "tau=0"),
        *(("quantile", f"tau={value}") for value in ("0", "1")),
        *(("gce", f"q={value}") for value in ("0", "1.01", "-1")),
        *(("taylor_ce", f"t={value}") for value in ("0", "1.5")),
        ("sce", "A=0"),
        ("poly1", "epsilon=-1.1"),
        ("huber", "delta=0"),
        ("square", "k=0"),
        ("hinge", "margin=0"),
        ("margin_smoothing", "margin=-1"),
        ("ldam", "max_margin=0"),
        ("logit_adjustment", "tau=-1"),
    ],
)
def test_a_hyper_parameter_outside_its_domain_is_refused(composed, loss, override):
    name = override.partition("=")[0]

    with pytest.raises(ConfigError, match=rf"^loss\.{name}: should "):
        checked(composed(f"loss={loss}", f"loss.{override}"))


def test_a_domain_is_checked_before_the_first_run_of_a_sweep(tmp_path):
    refused = xent_train("-m", *SMALL, "loss=gce", "loss.q=0.5,0", cwd=tmp_path)

    assert refused.returncode == 2
    assert refused.stderr == (
        "xent-train: loss.q: should be greater than 0, got 0 (on the command line)\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_class_counts_are_the_data_s_and_nobody_else_s(composed):
    with pytest.raises(ConfigError, match="no such key"):
        checked(composed("loss=ldam", "+loss.class_counts=[1,2]"))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("epochz: 3", "epochz: no such key; did you mean epochs?"),
        ("loss:\n  gama: 3", "loss.gama: no such key"),
        ("defaults:\n  - override /loss: focl", "loss=focl: no such loss; did you mean focal?"),
        ("epochs: 0", "epochs: should be greater than or equal to 1"),
        ("optimizer:\n  lr: -1", "optimizer.lr: should be greater than 0"),
    ],
)
def test_a_mistake_in_an_experiment_names_its_file(tmp_path, content, complaint):
    file = tmp_path / "conf" / "experiment" / "mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(f"# @package _global_\n{content}\n")
    refused = xent_train("--config-dir", "conf", "experiment=mine", cwd=tmp_path)

    assert refused.returncode == 2
    assert refused.stdout in ("", "Loading PyTorch ...\n")
    assert refused.stderr.startswith("xent-train: ")
    assert complaint in refused.stderr
    assert "(in conf/experiment/mine.yaml)" in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["conf"]


@pytest.mark.parametrize("last", ["epochs=1,0", "loss=ce,focl", "optimizer.lr=0.1,-1"])
def test_a_mistake_in_the_last_run_of_a_sweep_is_refused_before_the_first(tmp_path, last):
    refused = xent_train("-m", *SMALL, last, cwd=tmp_path)

    assert refused.returncode == 2
    assert "(on the command line)" in refused.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_composes_and_its_header_is_its_command(composed, name):
    config = composed(f"experiment={name}")
    header = (CONF / "experiment" / f"{name}.yaml").read_text().splitlines()

    assert config.experiment == name
    assert header[0] == "# @package _global_"
    assert header[1] == f"# xent-train -m experiment={name}"
    checked(config)


@pytest.mark.parametrize(
    "group", sorted(folder.name for folder in CONF.iterdir() if folder.is_dir())
)
def test_every_choice_composes(composed, group):
    for file in (CONF / group).glob("*.yaml"):
        checked(composed(f"{group}={file.stem}"))


def test_the_key_hashes_what_can_change_the_numbers_and_nothing_else(composed):
    key = run_key(composed())
    science_changed = ["seed=1", "loss=mse", "data=synthetic", "optimizer.lr=0.1", "precision=bf16"]
    machine_changed = ["machine.threads=1", "machine=cpu", "machine.runs=elsewhere"]

    assert len({key, *(run_key(composed(each)) for each in science_changed)}) == 6
    assert {run_key(composed(each)) for each in machine_changed} == {key}


def test_downloading_a_set_does_not_change_the_key_and_another_folder_does(composed):
    here = composed("data=fashion_mnist")
    fetched = composed("data=fashion_mnist", "data.download=true")
    there = composed("data=fashion_mnist", "data.root=/data")

    assert run_key(here) == run_key(fetched) != run_key(there)
    assert "data.download" not in science(fetched)


def test_a_number_written_in_two_ways_is_one_run(composed):
    two, also_two = composed("loss=focal", "loss.gamma=2"), composed("loss=focal", "loss.gamma=2.0")

    assert run_folder(two) == run_folder(also_two)


def test_a_file_that_is_no_yaml_is_named(tmp_path):
    file = tmp_path / "conf" / "experiment" / "mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("epochs: [1\n")
    refused = xent_train("--config-dir", "conf", "experiment=mine", cwd=tmp_path)

    assert refused.returncode == 2
    assert "cannot read YAML" in refused.stderr
    assert "mine.yaml" in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_help_says_what_to_type(tmp_path):
    shown = xent_train("--help", cwd=tmp_path)

    assert shown.returncode == 0
    assert "xent-train -m loss=ce,focal seed=0,1,2" in shown.stdout
    assert "loss: " in shown.stdout
    assert "Powered by" not in shown.stdout


def test_the_composed_config_can_be_shown(tmp_path):
    shown = xent_train("loss=focal", "--cfg", "job", cwd=tmp_path)

    assert OmegaConf.create(shown.stdout).loss.gamma == 2


def test_nothing_heavy_is_imported_before_something_is_trained(tmp_path):
    probe = (
        "import sys; sys.argv = ['xent-train', 'loss=focl'];"
        "from xent_bench.train import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'mlflow', 'pytorch_lightning', 'sklearn'} & set(sys.modules)))"
    )
    shown = subprocess.run(
        [sys.executable, "-c", probe], cwd=tmp_path, capture_output=True, text=True, check=True
    )

    assert shown.stdout.strip() == "[]"


def test_the_top_level_of_the_project_is_what_it_should_be():
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    top = {line.partition("/")[0] for line in listed.stdout.splitlines()}
    visible = {name for name in top if not name.startswith(".")}

    named = {"conf", "xent_bench", "scripts", "tests", "pyproject.toml", "README.md", "LICENSE"}
    assert visible <= named
