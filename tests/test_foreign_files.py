"""Files that are read back are data: whatever they hold, nothing runs, and damage gets one line."""

import hashlib
import io
import json
import os
import pickle
import random
import shutil
import socket
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import SMALL
from mlflow import MlflowClient
from omegaconf import DictConfig

from xent_bench.commands.report import main as xent_report
from xent_bench.commands.rescore import _parser as rescore_parser
from xent_bench.commands.status import main as xent_status
from xent_bench.config.configure import ConfigError, configured
from xent_bench.config.identity import run_folder
from xent_bench.config.schema import GROUPS
from xent_bench.evaluation.rescore import rescore
from xent_bench.failures import DataError
from xent_bench.runs.begun import load_begun
from xent_bench.runs.curves import load_curves
from xent_bench.runs.pace import load_pace
from xent_bench.runs.predictions import load
from xent_bench.runs.reading import read_config
from xent_bench.runs.result import load_run
from xent_bench.runs.sweep_record import RECORD, Planned, Sweep, load_sweep, save_sweep
from xent_bench.runs.trusted import import_trusted
from xent_bench.runs.whole_files import write_whole
from xent_bench.tracking.store import open_store
from xent_bench.tracking.stored_runs import fetch, load_stored_runs
from xent_bench.trained_net import load as load_net
from xent_bench.trained_net.record import load_record
from xent_bench.training.checkpoint_files import LastingCheckpointIO
from xent_bench.training.run import run

HOSTILE = "\x1b[31mred\x1b[0m[bold]<script>alert(1)</script>\u202e"


class PowerCut(BaseException):
    """Ends a run where it stands."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a finished run; tests leave it as it is."""
    from hydra import compose, initialize_config_dir

    from xent_bench.config.schema import CONF, register_schema

    register_schema()
    offline = ("machine=cpu", "machine.offline=true", "machine.save_weights=true")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", [*offline, *SMALL])
    config.machine.runs = str(tmp_path_factory.mktemp("foreign"))
    run(config)
    return run_folder(config)


@pytest.fixture
def folder(trained, tmp_path):
    """A copy of it, as somebody else may have sent it."""
    return Path(shutil.copytree(trained, tmp_path / "runs" / "default" / trained.name))


def edited(file: Path, **changes: Any) -> None:
    """Change fields of a JSON file and drop its checksum, as somebody who means it can."""
    content = json.loads(file.read_text())
    content.pop("sha256", None)
    file.write_text(json.dumps(content | changes))


def with_arrays(file: Path, **changes: np.ndarray) -> None:
    with np.load(file) as stored:
        arrays = dict(stored) | changes
    np.savez(file, **arrays)


# --- links of predictions


@pytest.mark.parametrize(
    "link",
    [
        {"link": "pandas.to_pickle", "filepath_or_buffer": "FILE"},
        {"link": "pandas.io.pickle.to_pickle", "filepath_or_buffer": "FILE"},
        {"link": "numpy.save", "file": "FILE"},
        {"link": "os.system"},
        {"link": "subprocess.getoutput"},
        {"link": "xent_bench.links.np.save"},
        {"link": "xent_bench.links.use"},
        {"link": "xent_bench.links.log_softmax"},
        {"link": "xent_bench.runs.whole_files.write_whole", "content": "FILE"},
        {"link": "xent_bench.links.projection", "M": "2"},
        {"link": "xent_bench.links.projection", "M": {"a": 1}},
        {"link": ["xent_bench.links.softmax"]},
        {"link": "xent_bench.links.softmax", "axis": 1},
    ],
)
def test_predictions_name_no_function_to_call(folder, tmp_path, link):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    named = json.dumps(link).replace("FILE", str(victim))
    with_arrays(folder / "predictions.npz", link=np.array(named))

    with pytest.raises(DataError, match=r"its link .* cannot be used") as refusal:
        rescore(folder, offline=True)
    assert "\n" not in str(refusal.value)
    assert victim.read_text() == "precious"


def test_a_module_that_predictions_name_is_not_imported(folder, tmp_path, monkeypatch):
    (tmp_path / "trap.py").write_text(f"open({str(tmp_path / 'sprung')!r}, 'w')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with_arrays(folder / "predictions.npz", link=np.array('{"link": "trap.link"}'))

    with pytest.raises(DataError, match="--trust trap"):
        load(folder / "predictions.npz")
    assert not (tmp_path / "sprung").exists()


def test_a_link_of_ones_own_is_read_where_its_module_is_named(folder, tmp_path, monkeypatch):
    (tmp_path / "own_losses.py").write_text(
        "from xent_bench.links import softmax, use\n"
        "from xent_bench.types import Index, Logits, PerExample\n"
        "def halved(outputs, *, by):\n"
        "    return softmax(outputs / by)\n"
        "@use(halved)\n"
        "def half(logits: Logits, target: Index, *, by: float = 2.0) -> PerExample: ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    file = folder / "predictions.npz"
    with_arrays(file, link=np.array('{"link": "own_losses.halved", "by": 2.0}'))
    with pytest.raises(DataError, match="--trust own_losses, with the module of the loss"):
        load(file)
    parser = rescore_parser()
    import_trusted(parser, parser.parse_args(["--trust", "own_losses", str(folder)]))

    assert load(file).link.keywords == {"by": 2.0}


def test_a_module_that_cannot_be_trusted_is_named(capsys):
    parser = rescore_parser()
    with pytest.raises(SystemExit, match="2"):
        import_trusted(parser, parser.parse_args(["--trust", "no_such_module", "runs"]))

    assert "--trust: cannot import no_such_module: ModuleNotFoundError" in capsys.readouterr().err


# --- targets of a config

TARGETS = [
    *("subprocess.run", "subprocess.getoutput", "subprocess.Popen", "os.system", "os.popen"),
    *("os.remove", "os.makedirs", "os.kill", "os.execv", "shutil.rmtree", "shutil.copyfile"),
    *("builtins.eval", "builtins.exec", "builtins.open", "builtins.print", "builtins.list"),
    *("pathlib.Path", "tempfile.mkdtemp", "urllib.request.urlopen", "socket.socket"),
    *("importlib.import_module", "runpy.run_path", "pickle.loads", "code.interact"),
    *("webbrowser.open", "ctypes.CDLL", "torch.load", "torch.save", "torch.hub.load"),
    *("numpy.load", "numpy.save", "pandas.to_pickle", "mlflow.start_run", "time.time"),
]


@pytest.mark.parametrize("group", GROUPS)
def test_a_target_that_promises_something_else_is_never_called(composed, group):
    config = composed()
    for target in TARGETS:
        config[group] = {"_target_": target}
        with pytest.raises(
            ConfigError, match=rf"^{group}._target_: (expected|cannot use)"
        ) as error:
            configured(config, group)
        assert "\n" not in str(error.value)


def test_a_class_promises_itself_and_a_function_what_it_is_annotated_with(
    composed, tmp_path, monkeypatch
):
    (tmp_path / "promising.py").write_text(
        "from __future__ import annotations\n"
        "from torch import nn, optim\n"
        "from xent_bench.data.image_set import ImageSet\n"
        "class Net(nn.Sequential): pass\n"
        "class Mine(ImageSet): pass\n"
        "def net(shape, classes) -> Net: ...\n"
        "def data() -> Mine: ...\n"
        "def optimizer(net, *, lr: float = 1.0) -> optim.SGD: ...\n"
        "def schedule(step, steps) -> float: ...\n"
        "def unannotated(shape, classes): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    config = composed()
    good = [
        *(("model", "promising.Net"), ("model", "promising.net"), ("data", "promising.data")),
        *(("optimizer", "promising.optimizer"), ("schedule", "promising.schedule")),
        *(("model", "torchvision.models.resnet18"), ("optimizer", "torch.optim.SGD")),
    ]
    for group, target in good:
        config[group] = {"_target_": target}
        assert callable(configured(config, group))
    config.model = {"_target_": "promising.unannotated"}

    expected = r"as in `def unannotated\(shape, classes, ...\) -> nn.Module`; promising.unannotated"
    with pytest.raises(ConfigError, match=expected):
        configured(config, "model")


# --- configs


def test_nothing_is_resolved_in_a_config_that_is_read_back(folder, monkeypatch):
    monkeypatch.setenv("SECRET", "hunter2")
    text = "machine:\n  tracking: http://h/${oc.env:SECRET}\n"
    (folder / "config.yaml").write_text(text)

    assert read_config(folder / "config.yaml") == {
        "machine": {"tracking": "http://h/${oc.env:SECRET}"}
    }


@pytest.mark.parametrize(
    "text",
    ["- a\n", "a: [", "a: !!python/object/apply:os.system ['true']\n", "[" * 100_000, "\0", ""],
)
def test_a_config_of_another_form_gets_one_line(folder, text):
    (folder / "config.yaml").write_text(text)

    with pytest.raises(DataError, match=r"cannot read .*config\.yaml: ") as refusal:
        read_config(folder / "config.yaml")
    assert "\n" not in str(refusal.value)


# --- damage


def sweep_of(folder: Path) -> Sweep:
    """The sweep that is on record; a ValueError where it is composed again."""
    sweep = load_sweep(folder)
    if sweep is None:
        raise ValueError
    return sweep


READERS: dict[str, Callable[[Path], Any]] = {
    "result.json": lambda folder: load_run(folder / "result.json").content(),
    "begun.json": load_begun,
    "curves.json": load_curves,
    "net.json": load_record,
    "config.yaml": lambda folder: read_config(folder / "config.yaml"),
    RECORD: sweep_of,
}


@pytest.mark.parametrize("name", READERS)
def test_a_flipped_bit_is_noticed_or_changes_nothing(folder, name):
    planned = Planned("ce-s0", "xent-train", ["seed=0"], folder, "temperature", False, False)
    save_sweep(folder, Sweep("key", "xent-train -m", [planned] * 3))
    file, read = folder / name, READERS[name]
    content, expected = file.read_bytes(), repr(read(folder))
    rng = random.Random(0)
    refused = 0
    for bit in rng.sample(range(8 * len(content)), 200):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        file.write_bytes(flipped)
        try:
            assert repr(read(folder)) == expected, bit
        except ValueError:
            refused += 1

    assert refused > 150
    file.write_bytes(content)
    assert repr(read(folder)) == expected


def test_a_record_of_a_sweep_that_was_changed_is_no_record(folder):
    save_sweep(folder, Sweep("key", "xent-train -m", []))
    text = (folder / RECORD).read_text()
    (folder / RECORD).write_text(text.replace("xent-train -m", "rm -r ~"))
    assert load_sweep(folder) is None
    (folder / RECORD).write_text('["key", "xent-train -m", []]')

    assert load_sweep(folder) == Sweep("key", "xent-train -m", [])  # as it was written before


BIG = "1" * 5000


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *((name, "[" * 100_000) for name in ("result.json", "begun.json", "curves.json")),
        *((name, '{"a": ' * 100_000) for name in ("result.json", "net.json", "progress.json")),
        *((name, f'{{"1": {{"a": {BIG}}}}}') for name in ("result.json", "curves.json")),
        ("curves.json", '{"1": {"a": 1' + "0" * 400 + "}}"),
        ("curves.json", '{"1": {"a": 1}, "1": {"a": 2}}'),
        ("curves.json", '{"1": 1}'),
        ("begun.json", '{"name": "a", "name": "b"}'),
        ("begun.json", '{"name": 1, "experiment": "a", "params": {}, "command": ""}'),
        ("begun.json", '{"name": "1", "experiment": "a", "params": [], "command": ""}'),
        (
            "begun.json",
            '{"name": "1", "experiment": "a", "params": {}, "command": "", "tags": "x"}',
        ),
        ("progress.json", '{"epoch": 1, "epochs": 1e999, "left": null, "time": NaN}'),
    ],
)
def test_json_of_another_form_gets_one_line(folder, name, text):
    (folder / name).write_text(text)
    read = READERS.get(name, load_pace)

    if name == "progress.json":
        assert read(folder) is None
        return
    with pytest.raises(DataError) as refusal:
        read(folder)
    assert name in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", ["result.json", "curves.json", "config.yaml", "predictions.npz"])
def test_a_pipe_in_place_of_a_file_is_not_waited_for(folder, name):
    (folder / name).unlink()
    os.mkfifo(folder / name)
    read = READERS.get(name, lambda folder: load(folder / "predictions.npz"))

    with pytest.raises(DataError, match="expected a file, got a folder, a pipe or a device"):
        read(folder)


def array_of(shape: tuple[int, ...]) -> bytes:
    """An .npy whose header asks for that shape, without the numbers."""
    buffer = io.BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, header)
    return buffer.getvalue() + bytes(64)


def huge(file: Path) -> None:
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("another.npy", array_of((10**12, 10)))


def compressed(file: Path) -> None:
    with np.load(file) as stored:
        np.savez_compressed(file, **dict(stored))


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (huge, "its header asks for 40,000,000,000,128 bytes, got 192"),
        (compressed, "expected an array that is not compressed"),
        (
            lambda file: np.savez(file, calib_logits=np.array([print])),
            "calib_logits.npy: expected numbers or text, got objects",
        ),
        (lambda file: file.write_bytes(pickle.dumps(print)), "File is not a zip file"),
    ],
)
def test_predictions_that_would_fill_the_memory_or_run_code_are_refused(folder, damage, complaint):
    damage(folder / "predictions.npz")

    with pytest.raises(DataError, match=complaint):
        load(folder / "predictions.npz")


# --- checkpoints


class Bomb:
    """A pickle that runs a program where it is opened."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, ("touch sprung",)


@pytest.fixture
def interrupted(config, monkeypatch):
    """The config of a run that was cut after its first checkpoint, and that checkpoint."""
    wanted = config("machine.offline=true")
    save = LastingCheckpointIO.save_checkpoint

    def cut_the_power(*arguments: object, **options: object) -> None:
        save(*arguments, **options)
        raise PowerCut

    with monkeypatch.context() as patch:
        patch.setattr(LastingCheckpointIO, "save_checkpoint", cut_the_power)
        with pytest.raises(PowerCut):
            run(wanted)
    (checkpoint,) = run_folder(wanted).glob("step*.ckpt")
    return wanted, checkpoint


def renamed(checkpoint: Path, content: bytes) -> Path:
    """Write a checkpoint whose name has the hash of its content."""
    checkpoint.unlink(missing_ok=True)
    digest = hashlib.sha256(content).hexdigest()[:16]
    file = checkpoint.with_name(f"step0000000001-{digest}.ckpt")
    file.write_bytes(content)
    return file


def saved(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def bomb(content: bytes) -> bytes:
    """The same zip with each entry deflated."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as archive,
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as deflated,
    ):
        for entry in archive.infolist():
            deflated.writestr(entry.filename, archive.read(entry))
    return buffer.getvalue()


def cut_moments(good: dict[str, Any]) -> dict[str, Any]:
    """The state of its optimizer with moments of a single row."""
    optimizer = good["optimizer_states"][0]
    state = {
        number: {key: value[:1] if value.ndim else value for key, value in moments.items()}
        for number, moments in optimizer["state"].items()
    }
    return optimizer | {"state": state}


def test_a_checkpoint_of_other_content_gets_one_line(
    interrupted: tuple[DictConfig, Path], tmp_path, monkeypatch
):
    wanted, checkpoint = interrupted
    monkeypatch.chdir(tmp_path)
    content = checkpoint.read_bytes()
    good = torch.load(io.BytesIO(content), weights_only=True)
    weights = good["state_dict"]
    narrow = {name: tensor[:1] for name, tensor in weights.items()}
    contents = {
        "a pickle": pickle.dumps(Bomb()),
        "a bomb": saved(Bomb()),
        "nothing": b"",
        "a text": b"step",
        "half": content[: len(content) // 2],
        "a list": saved([1]),
        "a tensor": saved(torch.zeros(1)),
        "deflated": bomb(content),
        "no keys": saved({}),
        "only its origin": saved({"origin": good["origin"]}),
        "another origin": saved(good | {"origin": {"key": 1}}),
        "no weights": saved(good | {"state_dict": {}}),
        "narrow weights": saved(good | {"state_dict": narrow}),
        "weights that are texts": saved(good | {"state_dict": dict.fromkeys(weights, "a")}),
        "no optimizer": saved(good | {"optimizer_states": []}),
        "another optimizer": saved(good | {"optimizer_states": [{"state": 1, "param_groups": 2}]}),
        "no loops": saved(good | {"loops": {}}),
        "other loops": saved(good | {"loops": {"fit_loop": {"state_dict": 1}}}),
        "narrow moments": saved(good | {"optimizer_states": [cut_moments(good)]}),
        "no threads": saved({k: v for k, v in good.items() if k != "threads"}),
        "a million threads": saved(good | {"threads": 10**6}),
        "a version that is none": saved(good | {"pytorch-lightning_version": {}}),
    }
    complaints = {}
    for kind, replaced in contents.items():
        file = renamed(checkpoint, replaced)
        try:
            run(wanted)
            complaints[kind] = "it was taken"
            (run_folder(wanted) / "result.json").unlink()
        except DataError as error:
            complaints[kind] = str(error).replace(str(file), "FILE")
        for step_file in run_folder(wanted).glob("step*.ckpt"):
            step_file.unlink()
    wrong = {k: v for k, v in complaints.items() if not ("FILE" in v and "delete it" in v)}
    assert not wrong
    assert not [line for line in complaints.values() if "\n" in line]
    assert not (tmp_path / "sprung").exists()
    renamed(checkpoint, content)
    assert "test/nll" in run(wanted)["metrics"]


@pytest.mark.parametrize(
    "content", [pickle.dumps(Bomb()), saved(Bomb()), saved([]), saved({"net.0.weight": "text"})]
)
def test_weights_of_other_content_get_one_line(folder, tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    (folder / "weights.pt").write_bytes(content)

    with pytest.raises(DataError, match=r"weights\.pt") as refusal:
        load_net(folder)
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "sprung").exists()


def test_code_that_came_with_a_net_is_not_imported(folder, monkeypatch):
    (folder / "trap.py").write_text(f"open({str(folder / 'sprung')!r}, 'w')\n")
    edited(folder / "net.json", model={"_target_": "trap.net"})
    monkeypatch.syspath_prepend(folder)  # as Python does with the folder where one types

    with pytest.raises(DataError, match="code is not read from there"):
        load_net(folder)
    assert not (folder / "sprung").exists()


# --- what is shown and written


def test_names_and_reasons_are_shown_as_text(folder, tmp_path, capsys):
    edited(folder / "result.json", name=HOSTILE, experiment=HOSTILE, command=HOSTILE + "\nrm -r ~")
    other = folder.with_name("other")
    shutil.copytree(folder, other)
    (other / "result.json").unlink()
    edited(other / "begun.json", name=HOSTILE, reason=HOSTILE, command=HOSTILE + "\nrm -r ~")
    page = tmp_path / "page.html"
    with pytest.raises(SystemExit, match="1"):
        xent_status([str(tmp_path / "runs")])
    xent_report([str(tmp_path / "runs"), "--page", str(page)])
    shown, html = capsys.readouterr(), page.read_text()

    assert r"\x1b[31mred\x1b[0m[bold]<script>" in shown.out.replace("\n", "").replace(" ", "")
    assert r"\nrm -r ~" in shown.out
    for sign in "\x1b\u202e":
        assert sign not in shown.out + shown.err + html
    assert "<script>alert(1)" not in html
    assert "&lt;script&gt;alert(1)" in html


def test_a_link_in_a_foreign_folder_does_not_lead_what_is_written_elsewhere(folder, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (folder / "result.json.part").symlink_to(victim)
    with pytest.raises(OSError, match=r"result\.json"):
        write_whole(folder / "result.json", "{}")
    write_whole(folder / "result.json", "{}")  # the link is gone

    assert victim.read_text() == "precious"


@pytest.mark.parametrize("run_id", ["../../victim", "a/b", "", "\x1b[31m", "a" * 300])
def test_an_id_in_mlflow_that_is_none_is_refused(folder, run_id):
    (folder / "mlflow_run_id").write_text(run_id)

    with pytest.raises(DataError, match="expected the id of a run in MLflow"):
        load_run(folder / "result.json")


@pytest.mark.parametrize(
    "values", ['{"a": 1, "time/written": 1e999}', '{"a": 1, "time/written": -1}', '{"a": 1}']
)
def test_a_step_or_a_time_that_mlflow_cannot_hold_is_refused(folder, values):
    step = 1 if "time" in values else 10**12
    (folder / "curves.json").write_text(f'{{"{step}": {values}}}')

    with pytest.raises(DataError, match="expected steps from 1, each written at a time"):
        load_curves(folder)


def test_a_store_of_a_file_sends_nobody_for_files_to_another_host(empty_store, tmp_path):
    store = f"sqlite:///{shutil.copy(empty_store, tmp_path)}"
    client = MlflowClient(store)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        place = f"http://127.0.0.1:{server.getsockname()[1]}/artifacts"
        experiment = client.create_experiment(HOSTILE, artifact_location=place)
        stored = client.create_run(experiment, run_name=HOSTILE, tags={"key": "k", "n_test": "9"})
        for key, value in {"loss": "ce", "data": "d", "model": "m", "seed": 0}.items():
            client.log_param(stored.info.run_id, key, value)
        client.log_metric(stored.info.run_id, "test/top1", 0.5)
        client.set_terminated(stored.info.run_id)
        ((loaded,), _) = load_stored_runs(store, None)
        files = fetch(loaded, store, tmp_path)

        assert list(files.iterdir()) == []
        assert "\x1b" not in loaded.name + loaded.experiment
        with pytest.raises(TimeoutError):
            server.accept()


def test_a_new_store_is_for_the_user_alone(tmp_path):
    open_store(f"sqlite:///{tmp_path}/new.db", "Default", tmp_path)

    assert stat.S_IMODE((tmp_path / "new.db").stat().st_mode) == 0o600
