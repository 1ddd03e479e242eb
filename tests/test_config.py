"""A user's config is checked first: a mistake gets one line and exit code 2; nothing is trained."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT, SMALL
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from xent_bench.commands.train import check_and_announce
from xent_bench.config.configure import (
    ConfigError,
    check_sources,
    check_top_level,
    configured,
)
from xent_bench.config.explain import CONFIG_ERRORS, explain
from xent_bench.config.identity import run_folder, run_key, science
from xent_bench.config.parts import checked
from xent_bench.config.rules import OFFERED, POSITIONAL
from xent_bench.config.schema import CONF, GROUPS, register_schema
from xent_bench.config.signatures import read_parameters
from xent_bench.config.targets import encode, encoder, target_kind
from xent_bench.losses.ce import ce
from xent_bench.losses.sparse_ce import sparse_ce

EXPERIMENTS = sorted(file.stem for file in (CONF / "experiment").glob("*.yaml"))
SETS = sorted(file.stem for file in (CONF / "data").glob("*.yaml"))


def xent_train(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run xent-train in a new process, as a user does."""
    command = [str(Path(sys.executable).with_name("xent-train")), *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("epoch=3", "epoch: no such key; did you mean epochs?"),
        ("lr=1", "lr: no such key; did you mean optimizer.lr?"),
        ("optimizer.epochs=3", "optimizer.epochs: no such key; did you mean epochs?"),
        ("data.cache=true", "data.cache: no such key; did you mean machine.cache?"),
        ("machine.acelerator=cpu", "did you mean machine.accelerator?"),
        ("loss=focl", "loss=focl: no such loss; did you mean focal?"),
        ("data=flowers", f"no such data; there is {', '.join(SETS)}"),
        ("model.widht=3", "did you mean model.width or model.weights?"),
        ("+model.widht=3", "model.widht: no such key; did you mean model.width or model.weights?"),
        ("+epoch=3", "did you mean epochs?"),
        ("epochs=many", "epochs: Value 'many' of type 'str' could not be converted to Integer"),
        ("precision=fp7", "expected one of [fp32, tf32, bf16]"),
        ("machine.tracking=http://me:secret@host", "holds a password"),
        (
            'machine.tracking="http://[host"',
            "machine.tracking: Invalid IPv6 URL; expected",
        ),
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


@pytest.mark.parametrize(
    ("experiment", "is_a_sweep"), [(["experiment=quickstart"], True), ([], False)]
)
def test_one_run_of_what_is_a_sweep_says_so(tmp_path, capsys, experiment, is_a_sweep):
    store = f"machine.tracking=sqlite:///{tmp_path}/new.db"
    register_schema()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        overrides = [*experiment, f"machine.runs={tmp_path}", store]
        config = compose("train", overrides, return_hydra_config=True)
    check_and_announce(config, config.hydra)

    says_so = "One run of a sweep of loss and seed; -m trains all of it." in capsys.readouterr().out
    assert says_so == is_a_sweep


def test_an_experiment_cannot_be_called_as_the_folder_of_mlflow(composed):
    config = composed()
    config.experiment = "mlflow"

    with pytest.raises(ConfigError, match="experiment: mlflow is the folder of"):
        check_top_level(config)


def test_a_folder_of_runs_that_cannot_be_is_one_line(tmp_path):
    refused = xent_train("-m", *SMALL, "seed=0,1", f"machine.runs={'x' * 300}", cwd=tmp_path)

    assert refused.returncode == 4
    assert "File name too long" in refused.stderr
    assert refused.stderr.count("\n") == 1


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


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("_target_: xent_bench.losses.focal.focal\ngamma: much", "loss.gamma: should be a valid"),
        ("_target_: xent_bench.losses.focal.focal\ndelta: 1", "loss.delta: no such key; there is"),
        ("gamma: 1", "loss._target_: expected a dotted name, got None"),
        ("_target_: torch.nn.functional.nll_loss", "loss._target_: expected nll_loss's target"),
    ],
)
def test_a_mistake_in_one_of_several_losses_of_a_sweep_names_its_file(tmp_path, content, complaint):
    """The first loss of the sweep has a file with the same key, which is right."""
    file = tmp_path / "conf" / "loss" / "mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(f"{content}\n")
    refused = xent_train("--config-dir", "conf", "-m", "loss=focal,mine", cwd=tmp_path)

    assert refused.returncode == 2
    assert complaint in refused.stderr
    assert "(in conf/loss/mine.yaml)" in refused.stderr
    assert "not of loss=focal" not in refused.stderr


@pytest.mark.parametrize("last", ["epochs=1,0", "loss=ce,focl", "optimizer.lr=0.1,-1"])
def test_a_mistake_in_the_last_run_of_a_sweep_is_refused_before_the_first(tmp_path, last):
    refused = xent_train("-m", *SMALL, last, cwd=tmp_path)

    assert refused.returncode == 2
    assert "(on the command line)" in refused.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_composes_and_its_header_is_its_command(composed, name):
    header = (CONF / "experiment" / f"{name}.yaml").read_text().splitlines()
    command, *overrides = header[1].removeprefix("# xent-train -m ").split()
    config = composed(command, *overrides)

    assert header[0] == "# @package _global_"
    assert command == f"experiment={name}"
    assert config.experiment == name
    checked(config)


@pytest.mark.parametrize(
    "group",
    sorted(
        {folder.name for folder in CONF.iterdir() if folder.is_dir()} - {"experiment", "claims"}
    ),
)
def test_every_choice_composes(composed, group):
    nets = {"torchvision": "resnet18", "timm": "resnet18"}
    for file in (CONF / group).glob("*.yaml"):
        value = nets.get(file.stem, "given")
        values = OmegaConf.load(file)
        to_give = [f"{group}.{key}={value}" for key in OmegaConf.missing_keys(values)]
        if group == "noise" and file.stem in ("matrix", "file"):
            to_give.append("noise.matrix=given" if file.stem == "matrix" else "noise.labels=given")
        if "train" in values:  # the folders of a set: one, or one for each split
            to_give.append(f"{group}.root={value}")
        checked(composed(f"{group}={file.stem}", *to_give))


def test_the_key_hashes_what_can_change_the_numbers_and_nothing_else(composed):
    key = run_key(composed())
    science_changed = ["seed=1", "loss=mse", "data=synthetic", "optimizer.lr=0.1", "precision=bf16"]
    machine_changed = ["machine.threads=1", "machine=cpu", "machine.runs=elsewhere"]

    assert len({key, *(run_key(composed(override)) for override in science_changed)}) == 6
    assert {run_key(composed(override)) for override in machine_changed} == {key}


def test_keys_that_came_later_leave_the_runs_of_before_their_names(composed):
    assert run_key(composed("experiment=quickstart")) == "d302c68dc2"

    later = ["accumulate=2", "clip_norm=1", "augmentation.cutout=2", "augmentation.mixup=0.1"]
    keys = {run_key(composed(override)) for override in [*later, "augmentation.cutmix=0.1"]}
    assert len(keys) == 5
    assert run_key(composed()) not in keys


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


CHOICES = [(group, file) for group in GROUPS for file in sorted((CONF / group).glob("*.yaml"))]
each_choice = pytest.mark.parametrize(
    ("group", "file"), CHOICES, ids=lambda part: part if isinstance(part, str) else part.stem
)


@each_choice
def test_every_hyper_parameter_of_ours_is_read_from_the_source(group, file):
    parameters = read_parameters(OmegaConf.load(file)["_target_"])

    assert parameters is not None
    hyper = [
        parameter
        for parameter in parameters[POSITIONAL[group] :]
        if parameter.name not in OFFERED.get(group, ())
    ]
    assert [parameter.name for parameter in hyper if parameter.annotation is Any] == []


def complaint(check, *arguments: Any) -> str:
    try:
        check(*arguments)
    except ConfigError as error:
        return str(error)
    return ""


@each_choice
def test_the_source_is_refused_in_the_words_of_the_imported_target(composed, group, file):
    config, node = composed(), OmegaConf.load(file)
    OmegaConf.set_struct(config, False)
    for key in OmegaConf.missing_keys(node):
        node[key] = "given"
    keys = [key for key in node if not str(key).startswith("_")]
    mistakes = [("nope", 1), *((key, value) for key in keys for value in (-2, 2.5, "x", None, []))]
    for key, value in mistakes:
        config[group] = {**node, key: value}

        assert complaint(check_sources, config) == complaint(configured, config, group)


FOREIGN = """
import torch
from functools import lru_cache
from annotated_types import Ge
from typing import Annotated
from xent_bench.ranges import PositiveInt as Count
from xent_bench.types import Index
class Unknown: pass
def steep(logits, target: Index, *, slope: Count = 2, given: "list[Unknown] | None" = None,
          exotic: Annotated[int, Ge(1)] = 1): ...
def loose(logits, target, **anything): ...
@lru_cache
def wrapped(logits, target, *, slope: int = 2): ...
def twice(logits, target): ...
twice = steep
"""


def test_a_foreign_target_is_read_and_its_package_not_executed(composed, tmp_path, monkeypatch):
    (tmp_path / "heavy").mkdir()
    (tmp_path / "heavy" / "__init__.py").write_text("executed = True")
    (tmp_path / "heavy" / "own.py").write_text(FOREIGN)
    monkeypatch.syspath_prepend(tmp_path)
    config = composed()
    OmegaConf.set_struct(config, False)

    config.loss = {"_target_": "heavy.own.steep", "slope": 0}
    with pytest.raises(ConfigError, match=r"^loss\.slope: should be greater than or equal to 1"):
        check_sources(config)
    assert "heavy" not in sys.modules

    config.loss = {"_target_": "heavy.own.steep", "exotic": 0}
    check_sources(config)  # not understood from the source, so refused after the import
    with pytest.raises(ConfigError, match=r"^loss\.exotic: should be greater than or equal to 1"):
        configured(config, "loss")


@pytest.mark.parametrize("name", ["loose", "wrapped", "twice", "steep", "Unknown", "nowhere"])
def test_what_the_source_does_not_tell_is_left_to_the_imported_target(
    composed, tmp_path, monkeypatch, name
):
    (tmp_path / f"own_{name}.py").write_text(FOREIGN)
    monkeypatch.syspath_prepend(tmp_path)
    config = composed()
    OmegaConf.set_struct(config, False)
    config.loss = {"_target_": f"own_{name}.{name}", "slope": 3, "given": [1]}

    assert complaint(check_sources, config) == ""


def test_a_foreign_target_is_checked_and_used(composed, tmp_path, monkeypatch):
    (tmp_path / "own_loss.py").write_text(FOREIGN)
    monkeypatch.syspath_prepend(tmp_path)
    config = composed()
    OmegaConf.set_struct(config, False)
    config.loss = {"_target_": "own_loss.steep", "slope": 3}

    assert configured(config, "loss").keywords["slope"] == 3


def test_the_top_level_of_the_project_is_what_it_should_be():
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    top = {line.partition("/")[0] for line in listed.stdout.splitlines()}
    visible = {name for name in top if not name.startswith(".")}

    named = {"conf", "xent_bench", "scripts", "tests", "pyproject.toml", "README.md", "LICENSE"}
    assert visible <= named


@pytest.mark.parametrize(
    ("sweep", "complaint"),
    [
        ("loss=ce,sparse_ce augmentation.mixup=0.2", "augmentation.mixup: mixes labels"),
        ("accumulate=1,5", "accumulate: expected a divisor of batch_size, got 64 and 5"),
    ],
)
def test_keys_that_do_not_go_together_are_refused_before_the_first_run_of_a_sweep(
    tmp_path, sweep, complaint
):
    refused = xent_train("-m", *sweep.split(), cwd=tmp_path)

    assert refused.returncode == 2
    assert complaint in refused.stderr
    assert not (tmp_path / "runs").exists()


def test_a_net_compiled_with_cuda_graphs_takes_whole_batches_only(composed):
    checked(composed("machine.compile=reduce_overhead"))
    checked(composed("machine.compile=default", "accumulate=2"))

    with pytest.raises(ConfigError, match=r"^accumulate: a CUDA graph"):
        checked(composed("machine.compile=reduce_overhead", "accumulate=2"))


def test_the_annotation_of_a_loss_says_which_target_it_takes():
    def unsaid(logits, target):
        raise NotImplementedError

    assert (target_kind(sparse_ce), target_kind(ce)) == ("Index", "Distribution")
    with pytest.raises(ConfigError, match="expected unsaid's target to be annotated"):
        target_kind(unsaid)


@pytest.mark.parametrize(
    ("kind", "labels"),
    [
        ("Index", torch.tensor([2, 0, 2])),
        ("Distribution", torch.tensor([2, 0, 2])),
        ("Distribution", torch.tensor([[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]])),
    ],
)
def test_a_batch_of_labels_is_encoded_as_all_of_them_are(kind, labels):
    target = encoder(kind, 4, torch.device("cpu"))(labels)

    assert target.dtype == encode(labels, kind, 4).dtype
    assert target.tolist() == encode(labels, kind, 4).tolist()
