"""Whatever is typed wrongly is answered in one line that says how to type it; nothing is left."""

import os
import sys
from pathlib import Path

import pytest
from conftest import answer
from omegaconf import OmegaConf

from xent_bench.commands import losses, report, rescore, status, sync, train, ui
from xent_bench.config.configure import configured
from xent_bench.config.identity import run_folder, run_key, science
from xent_bench.config.parts import checked
from xent_bench.exit_codes import Exit

# an override -> the same value, typed plainly
SAME = {
    'optimizer.lr="1e-3"': "optimizer.lr=0.001",
    "optimizer.lr=1e-3": "optimizer.lr=0.001",
    "optimizer.lr=${oc.env:LR}": "optimizer.lr=0.001",
    "optimizer.weight_decay=-0.0": "optimizer.weight_decay=0",
    "data.flip=no": "data.flip=false",
    "data.flip=off": "data.flip=false",
    "data.flip=0": "data.flip=false",
    "data.flip=1": "data.flip=true",
    "data.size=8.0": "data.size=8",
    'data.size="8"': "data.size=8",
    'epochs="3"': "epochs=3",
    "seed=${oc.env:SEED}": "seed=3",
    'clip_norm="1"': "clip_norm=1.0",
}


@pytest.mark.parametrize("override", SAME)
def test_a_value_typed_in_another_way_is_the_same_run(composed, monkeypatch, override):
    monkeypatch.setenv("LR", "1e-3")
    monkeypatch.setenv("SEED", "3")
    plain, other = (composed("data=synthetic", word) for word in (SAME[override], override))

    assert run_folder(other) == run_folder(plain)
    assert science(other) == science(plain)
    assert science(checked(other)) == science(checked(plain))


USERS = """
GAMMA = 2.0
def steep(logits, target, *, gamma: float = 2.0, kind: str = "x", far: float = GAMMA): ...
"""


def test_a_default_that_a_yaml_leaves_out_counts_as_if_it_was_written(
    composed, tmp_path, monkeypatch
):
    (tmp_path / "users_defaults.py").write_text(USERS)
    monkeypatch.syspath_prepend(tmp_path)
    config = composed(f"machine.runs={tmp_path}/runs")
    OmegaConf.set_struct(config, False)
    folders = []
    for values in ({}, {"gamma": 2}, {"gamma": "2.0", "kind": "x"}, {"gamma": 3}):
        config.loss = {"_target_": "users_defaults.steep", **values}
        folders.append(run_folder(config))

    assert folders[0] == folders[1] == folders[2] != folders[3]
    assert "users_defaults" not in sys.modules


def test_a_folder_of_before_defaults_counted_is_used_again(composed, tmp_path, monkeypatch):
    (tmp_path / "users_defaults.py").write_text(USERS)
    monkeypatch.syspath_prepend(tmp_path)
    config = composed(f"machine.runs={tmp_path}/runs")
    OmegaConf.set_struct(config, False)
    config.loss = {"_target_": "users_defaults.steep"}
    earlier = "08991bd035"  # the key that version 0.2 gave it
    folder = run_folder(config).with_name(f"steep-digits-cnn-s0-{earlier}")
    assert run_folder(config) != folder
    folder.mkdir(parents=True)

    assert run_folder(config) == folder
    assert run_key(config) == earlier


LONG = "a" * 5000
TYPED = {
    "--loss=ce": "--loss=ce: no such flag; did you mean loss=ce?",
    "--loss focal": "did you mean loss=focal?",
    "-loss ce": "did you mean loss=ce?",
    "--lr 0.1": "did you mean optimizer.lr=0.1?",
    "--seed=0": "did you mean seed=0?",
    "--batch-size 8": "did you mean batch_size=8?",
    "--experiment=quickstart": "did you mean experiment=quickstart?",
    "-M": "did you mean -m?",
    "--multirn": "did you mean --multirun?",
    "focal": "cannot read 'focal': expected key=value; did you mean loss=focal?",
    "--resolve": "--resolve: resolves what --cfg shows",
    "--package loss": "--package: is the part that --cfg shows",
    "--cfg nonsense": "invalid choice: 'nonsense'",
    "--cfg job --package nope": "package 'nope' not found",
    "-m --cfg job": "--multirun: does not go together with --cfg",
    "--info x": "invalid choice: 'x'",
    "--experimental-rerun x": "--experimental-rerun: xent-train does not take it",
    "--config-path x": "--config-dir FOLDER adds a folder to ours",
    "--config-name=x": "--config-dir FOLDER adds a folder to ours",
    "--config-dir nope": "no folder nope here; expected one laid out as conf/",
    "experiment=[[[[[]]]]]": "experiment: expected the name of a choice, such as",
    "loss=[]": "loss: expected the name of a choice, such as loss=focal",
    "loss={}": "loss: expected the name of a choice, such as loss=focal",
    "-m loss=[ce,focal]": "or several with -m: loss=NAME,NAME",
    "loss=null": "expected the name of a choice, such as loss=focal",
    "~loss": "loss: a run needs one; expected loss=NAME",
    "+loss=ce": "expected loss=ce, without +",
    "loss@x=ce": "expected loss=ce, without @x",
    f"loss={LONG}": "no such loss",
    f"experiment={LONG}": "no such experiment",
    f"{LONG}=1": "no such key; a name of 5,000 characters",
    "seed=" + "9" * 5000: "seed: expected a number of fewer digits, got 5,000",
    "machine.runs=/data/ü": """with such a value in quotes: 'machine.runs="/data/ü"'""",
    "machine.runs=/data/a=b": """'machine.runs="/data/a=b"'""",
    "machine.runs=/data/set(1)": """'machine.runs="/data/set(1)"'""",
    "machine.runs=/data/a#b": """'machine.runs="/data/a#b"'""",
    "data=image_folder data.root=/a,b": """as one value: 'data.root="/a,b"'""",
    "data=image_folder": "data.root: has to be given, as in data.root=/path/to/images",
    "model=resnet18 data.size=3": "there is data.mean, data.std; data.size is a key of data=",
    "loss.gamma=2": "loss.gamma is a key of loss=dual_focal, loss=focal",
    "-m seed=0..5": "from 0 to 5: -m 'seed=range(0,6)'",
    "seed=range(0,3)": "seed=range(0,3): a sweep, which needs -m",
    "-m seed=range(0,1000000)": "the sweep has 1,000,000 runs, expected at most 10,000",
    "-m seed=range(0,1e12,0.5)": "machine.most_runs=2000000000000 allows them",
    "-m seed=range(0,101) epochs=range(1,101)": "the sweep has 10,100 runs",
    "-m loss=glob(*) seed=range(0,1000)": "machine.most_runs: the sweep has",
    "-m seed=range(0,3) machine.most_runs=2": "the sweep has 3 runs, expected at most 2",
    "-m seed=range(0,inf)": "expected range(first,end)",
    "-m seed=range(0,5,0)": "expected range(first,end)",
    "-m seed=range(3,0)": "a sweep over no value",
    "-m loss=ce,focal loss.gamma=1,2": (
        "loss.gamma: a key of loss=focal, not of loss=ce; expected "
        "xent-train -m loss=ce,focal loss.focal.gamma=1,2"
    ),
    "-m loss=focal,ce loss.gamma=1": "xent-train -m loss=focal,ce loss.focal.gamma=1 (on the",
    "-m loss=ce,focal +loss.gamma=1": "xent-train -m loss=ce,focal +loss.focal.gamma=1",
    "-m loss=ce,focal,dual_focal loss.gamma=1": "loss.focal.gamma=1 loss.dual_focal.gamma=1",
    "loss=focal loss.focal.gamma=2": "with -m; expected loss=focal loss.gamma=2",
    "loss=focal loss.focla.gamma=2": "loss.focla.gamma: no such loss; did you mean loss=focal?",
    "-m loss=ce,focal loss.focla.gamma=2": "no such loss; did you mean loss.focal?",
    "-m loss=ce,focal loss.xyz.gamma=2": "no such loss; expected one of ce,focal",
    "-m loss=ce,focal loss.focal.gama=2": "no such key; did you mean loss.focal.gamma?",
    "-m loss=ce,focal loss.ce.gamma=1,2": "loss.ce.gamma: no such key; it takes none",
    "-m loss=ce,focal loss.gce.q=0.5,1": "loss=gce is not in the sweep; expected loss=ce,focal,gce",
    "-m loss=ce,focal loss.focal.gamma=-1,2": "equal to 0, got -1 (on the command line)",
    "-m hydra/sweeper=basic loss.ce.x=1": "loss.ce.x: no such key",
    "-m hydra/sweeper=basic loss=focal loss.focal.gamma=1": "expected no hydra/sweeper=",
    "-m optimizer.lr=interval(1e-4,1)": "needs a number of points to try, as in trials=16; or val",
    "-m optimizer.lr=1,2 trials=1,2": "trials: says which runs the sweep has; expected one value",
    "-m optimizer.lr=interval(1,0.1) trials=2": "expected the smaller bound first, got interval(1",
    "-m optimizer.lr=interval(1,1) trials=2": "expected two bounds, got interval(1.0,1.0); or one",
    "-m optimizer.lr=interval(1,inf) trials=2": "expected finite bounds, got interval(1.0,inf)",
    "-m optimizer.lr=interval(nan,1) trials=2": "expected finite bounds, got interval(nan,1.0)",
    "-m optimizer.lr=tag(log,interval(0,1)) trials=2": (
        "log needs bounds above 0, got interval(0.0,1.0); expected as in "
        "'optimizer.lr=tag(log,interval(0.001,1.0))', or no tag"
    ),
    "-m optimizer.lr=tag(lg,interval(1,2)) trials=2": "no such tag of an interval: lg; did you me",
    "-m optimizer.lr=interval(1) trials=2": "an interval is 'optimizer.lr=tag(log,interval(1e-4",
    "-m optimizer.lr=interval(1,2),interval(2,3) trials=2": "expected one interval, or a list",
    "-m optimizer.lr=[interval(1,2)] trials=2": "optimizer.lr: an interval is no part of a list",
    "-m optimizer.lr=range(0,1e9,0.1) trials=2": "expected at most 10,000 values to choose from",
    "-m optimizer.lr=interval(1e-4,1) trials=6000 seed=0,1": "the sweep has 12,000 runs",
    "-m optimizer.lr=interval(1e-4,1) trials=0": "trials: expected at least 1, got 0",
    "-m optimizer.lr=1,2 trials=3": "expected 3 different points for every loss, and loss=ce",
    "-m loss=ce,focal seed=0,1 trials=3": "trials: there is nothing to search; expected as in 'opt",
    "-m loss=ce,focal loss.focal.gamma=1,2 trials=2": "and loss=ce has 1; search more keys that",
    "-m epochs=int(interval(1,9)) trials=2": "epochs: is not tuned, as optimizer.lr is, so an int",
    "-m seed=interval(1,9) trials=2": "expected values: seed=A,B",
    "-m data.flip=interval(0,1) trials=2": "data.flip: is not tuned, as optimizer.lr is",
    "-m optimizer=interval(0,1) trials=2": "an interval is of numbers, and this is a group",
    "-m optimizer.decay_bias_and_norm=interval(0,1) trials=2": "numbers, and this is False; expect",
    "-m loss=interval(0,1) trials=2": "loss: expected names, such as loss=ce,focal",
    "-m lr=interval(0.1,1) trials=2": "lr: no such key; did you mean optimizer.lr?",
    "optimizer.lr=interval(1e-4,1) trials=2": "a sweep, which needs -m",
    "-m model=linear,mlp model.width=8,16": "a key of model=mlp, not of model=linear",
    "-m data=digits,synthetic data.n=9": "a key of data=synthetic, not of data=digits",
    "-m optimizer=sgd,adamw optimizer.momentum=0": "a key of optimizer=sgd, not of optimizer=adamw",
    "-m experiment=quickstart loss.gamma=1,2": "a key of loss=focal, not of loss=ce and loss=spars",
    "augmentation.mixup=inf": "augmentation.mixup: should be a finite number",
    "augmentation.cutmix=nan": "augmentation.cutmix: should be a finite number",
    "clip_norm=inf": "clip_norm: should be a finite number",
    "machine.checkpoint_minutes=inf": "machine.checkpoint_minutes: should be a finite number",
    "epochs=99999999999": "epochs: should be less than 2147483648",
    "batch_size=99999999999": "batch_size: should be less than 2147483648",
    "model.width=99999999999": "model.width: should be less than 2147483648",
    "machine.retries=99999999999": "machine.retries: should be less than 2147483648",
    "seed=" + "9" * 40: "seed: should be less than 3402823669",
    "hydra.sweeper.params=a seed=1 -m": "hydra.sweeper.params: expected lines of key: values",
    "hydra.run.dir=1 optimizer.lr=-1": "hydra.run.dir: is set by xent-train; machine.runs=FOLDER",
    "++hydra.sweep.dir=1 -m seed=0,1": "hydra.sweep.dir: is set by xent-train",
    "loss._target_=": "loss._target_: expected a dotted name, got ''",
}


@pytest.mark.parametrize("words", TYPED, ids=lambda words: words[:40])
def test_a_mistake_on_the_command_line_is_one_line_with_a_way_out(place, capsys, words):
    code = answer(train.main, *words.split(" "))
    line = capsys.readouterr().err

    assert (code, line.count("\n")) == (Exit.USAGE, 1), line
    assert TYPED[words] in line
    assert len(line) < 1500
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("word", ["", "loss=\udcff", "loss=a\nb", "loss=a\x01", "x" * 300_000])
@pytest.mark.usefixtures("place")
def test_a_word_that_nothing_can_be_called_is_one_line(capsys, word):
    assert answer(train.main, word) == Exit.USAGE
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.usefixtures("place")
def test_flags_may_stand_behind_what_they_belong_to(capsys):
    code = answer(train.main, "loss=focal", "--cfg", "job", "seed=3")
    shown = OmegaConf.create(capsys.readouterr().out)

    assert code == Exit.DONE
    assert (shown.loss.gamma, shown.seed) == (2, 3)


@pytest.mark.usefixtures("place")
def test_notes_may_have_several_lines(capsys):
    assert answer(train.main, 'notes="one\ntwo"', "--cfg", "job") == Exit.DONE
    assert OmegaConf.create(capsys.readouterr().out).notes == "one\ntwo"


@pytest.mark.usefixtures("place")
def test_what_all_choices_of_a_sweep_have_may_be_set_once(capsys):
    """All is right, and the store is asked: it does not answer."""
    words = ("data=synthetic", "loss=focal,dual_focal", "loss.gamma=3", "-m")

    assert answer(train.main, *words) == Exit.UNAVAILABLE
    assert "no answer" in capsys.readouterr().err


BOMB = "a: &a [1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
FILES = {
    b"gamma: \xff\n": "its text is not UTF-8",
    "_target_: x".encode("utf-16"): "its text is not UTF-8",
    b"\tgamma: 1\n": "cannot read YAML",
    b"gamma: 1\ngamma: 2\n": "found duplicate key gamma, line 2",
    b"- a\n- b\n": "expected lines of key: value, got a list",
    b"": "loss._target_: expected a dotted name, got None",
    b"a: " + b"1\n" * 500_001: "expected a config of at most 1 MB, got a file of 1.0 MB",
    BOMB.encode(): "its aliases stand for more than 100,000 values",
    b"a: &a [*a]\n": "its aliases stand for more than 100,000 values",
    b"a: " + b"[" * 5000: "it is nested too deeply",
    b"a: \0\n": "cannot read YAML",
    b'!!python/object/apply:os.mkdir ["made"]': "could not determine a constructor",
    b"# @package a b c\n": "Too many components",
    b"defaults: 3\n": "Invalid defaults list",
    b"defaults:\n  - mine\n": "nested too deeply",
    b"_target_: [a]\n": "expected a dotted name, got ['a']",
}


@pytest.mark.parametrize("content", FILES, ids=lambda content: FILES[content])
def test_a_file_that_is_no_config_is_one_line(place, capsys, content):
    (place / "conf" / "loss").mkdir(parents=True)
    (place / "conf" / "loss" / "mine.yaml").write_bytes(content)
    code = answer(train.main, "--config-dir", "conf", "loss=mine")
    line = capsys.readouterr().err

    assert (code, line.count("\n")) == (Exit.USAGE, 1), line
    assert FILES[content] in line
    assert "conf/loss/mine.yaml" in line or b"defaults" in content
    assert [path.name for path in place.iterdir()] == ["conf"]


def test_what_is_called_as_a_config_and_is_no_file_is_no_choice(place, capsys):
    folder = place / "conf" / "loss"
    (folder / "a_folder.yaml").mkdir(parents=True)
    (folder / "dangling.yaml").symlink_to("nowhere")
    for name in ("a_folder", "dangling"):
        code = answer(train.main, "--config-dir", "conf", f"loss={name}")

        assert code == Exit.USAGE
        assert f"loss={name}: no such loss" in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_permission_is_one_line(place, capsys):
    file = place / "conf" / "loss" / "mine.yaml"
    file.parent.mkdir(parents=True)
    file.touch(mode=0)

    assert answer(train.main, "--config-dir", "conf", "loss=mine") == Exit.USAGE
    assert "Permission denied" in capsys.readouterr().err


def test_folders_that_may_have_been_meant_by_config_dir_are_named(place, capsys):
    (place / "my_conf" / "loss").mkdir(parents=True)

    assert answer(train.main, "--config-dir", "my_cnf") == Exit.USAGE
    assert "no folder my_cnf here; did you mean my_conf?" in capsys.readouterr().err


MODULES = {
    "def f(:": "SyntaxError: invalid syntax, in {file}, line 1",
    "import no_such": "ModuleNotFoundError: No module named 'no_such', in {file}, line 1",
    "import sys\nsys.exit(3)": "SystemExit: 3, in {file}, line 2",
    "\nraise KeyboardInterrupt": "KeyboardInterrupt, in {file}, line 2",
    "def f(): f()\nf()": "RecursionError: maximum recursion depth exceeded, in {file}, line 1",
    "import json\njson.loads('{')": "JSONDecodeError: Expecting property name",
    "raise BaseException('no')": "BaseException: no, in {file}, line 1",
}


@pytest.mark.parametrize("source", MODULES)
def test_what_a_user_s_module_raises_is_told_with_its_file_and_line(
    composed, tmp_path, monkeypatch, source
):
    name = f"users_module_{list(MODULES).index(source)}"
    (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    config = composed()
    config.loss._target_ = f"{name}.f"
    with pytest.raises(ValueError, match=f"^loss._target_: cannot use {name}.f: ") as refusal:
        configured(config, "loss")

    assert MODULES[source].format(file=tmp_path / f"{name}.py") in str(refusal.value)


@pytest.mark.usefixtures("place")
def test_a_forgotten_path_to_a_module_is_named(composed):
    config = composed()
    config.loss._target_ = "users_own.f"
    with pytest.raises(ValueError, match="no module users_own; if it is yours: PYTHONPATH=FOLDER"):
        configured(config, "loss")
    Path("users_own.py").touch()
    with pytest.raises(ValueError, match=r"no module users_own; if it is yours: PYTHONPATH=\. "):
        configured(config, "loss")


OPTIONS = [
    (report, "--formt csv", "xent-report: --formt: no such option; did you mean --format?"),
    (report, "--format cvs", "xent-report: --format: invalid choice: 'cvs'; did you mean csv?"),
    (report, "--power", "xent-report: --power: expected one argument"),
    (status, "a b", "xent-status: b: one too many; it takes runs"),
    (status, "--al --nope", "xent-status: --nope: no such option; there is --all"),
    (losses, "--clases 3", "xent-losses: --clases: no such option; did you mean --classes?"),
    (losses, "--classes x", "xent-losses: --classes: expected a whole number of at least 2"),
    (rescore, "", "xent-rescore: the following arguments are required: RUN"),
    (rescore, "--calibrator isotonc x", "did you mean isotonic?"),
    (sync, "--stor", "xent-sync: --store: expected one argument"),
    (ui, "--port 99999999", "xent-ui: --port/-p: expected a port from 1 to 65535, got 99999999"),
]


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(("command", "words", "complaint"), OPTIONS)
def test_a_mistyped_option_of_another_command_is_one_line(
    capsys, monkeypatch, command, words, complaint
):
    monkeypatch.setattr(sys, "argv", [f"xent-{command.__name__.rpartition('.')[2]}"])
    code = answer(command.main, *words.split())
    line = capsys.readouterr().err

    assert (code, line.count("\n")) == (Exit.USAGE, 1), line
    assert complaint in line
