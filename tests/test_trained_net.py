"""A net taken from a run gives what the run's own test gave, bit for bit."""

import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from omegaconf import DictConfig
from PIL import Image

from xent_bench.calibrators.temperature import fit
from xent_bench.config.configure import configured
from xent_bench.config.identity import run_folder
from xent_bench.config.parts import checked
from xent_bench.data.image_files import ImageFiles
from xent_bench.data.image_set import ImageSet
from xent_bench.failures import DataError
from xent_bench.runs.predictions import load as load_predictions
from xent_bench.runs.result import load_run
from xent_bench.trained_net import TrainedNet, load
from xent_bench.trained_net.record import load_record
from xent_bench.trained_net.weights import weights_sha256
from xent_bench.training.run import run

SYNTHETIC = ("data=synthetic", "data.n=400", "epochs=2")
COLOUR = ("data=synthetic", "data.n=400", "data.channels=3", "data.size=9", "epochs=2")
MLP = ("model=mlp", "model.width=16")
CNN = ("model=cnn", "model.width=4")


def images_of(config: DictConfig, ids: np.ndarray, net: TrainedNet) -> torch.Tensor:
    """The images of these ids, as a user has them: a tensor, or files."""
    data: ImageSet = configured(config, "data")()
    if isinstance(data.images, ImageFiles):
        return net.read([data.images.root / name.decode() for name in data.images.names[ids]])
    return data.images[ids]


def assert_as_tested(config: DictConfig, folder: Path | None = None) -> TrainedNet:
    """Outputs and log-probabilities on test are those of the run, bit for bit."""
    tested = load_predictions(run_folder(config) / "predictions.npz")
    z = tested.test.outputs.astype(np.float64)
    scaled, as_trained = fit(tested.calib, tested.link)(z), tested.link(z)
    net = load(folder or run_folder(config))
    images = images_of(config, tested.test.id, net)

    assert net.outputs(images).dtype == torch.float32
    np.testing.assert_array_equal(net.outputs(images).numpy(), tested.test.outputs)
    np.testing.assert_array_equal(net(images).numpy(), scaled)
    if as_trained is not None:
        np.testing.assert_array_equal(net(images, calibrated=False).numpy(), as_trained)
    assert net.classes == tested.classes
    return net


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Two classes of small images in files, of several sizes."""
    rng = np.random.default_rng(0)
    for name, shade in (("dark", 60), ("light", 160)):
        folder = tmp_path / "photographs" / "train" / name
        folder.mkdir(parents=True)
        for number in range(30):
            h, w = rng.integers(12, 30, 2)
            pixels = rng.integers(shade, shade + 90, (h, w, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "photographs"


@pytest.mark.parametrize(
    "overrides",
    [
        ("data=digits", *CNN, "epochs=1"),
        ("data=digits", *MLP, "epochs=1", "machine.save_weights=true"),
        (*SYNTHETIC, *CNN, "loss=mse"),
        (*SYNTHETIC, *CNN, "loss=logit_norm"),
        (*SYNTHETIC, *MLP, "loss=balanced_softmax"),
        (*SYNTHETIC, *CNN, "precision=bf16"),
        (*SYNTHETIC, *MLP, "precision=bf16", "machine.save_weights=true"),
        (*SYNTHETIC, *CNN, "machine.deterministic=false", "machine.threads=2"),
        (*COLOUR, *CNN),
        (*COLOUR, *MLP, "loss=bce"),
    ],
    ids=" ".join,
)
def test_a_loaded_net_gives_what_test_gave_bit_for_bit(config, overrides):
    wanted = config(base=overrides)
    run(wanted)

    assert_as_tested(wanted)


def test_a_hinge_has_probabilities_after_scaling_alone(config):
    wanted = config("loss=hinge", base=(*SYNTHETIC, *CNN))
    run(wanted)
    net = assert_as_tested(wanted)

    with pytest.raises(ValueError, match=r"expected calibrated=True, got False: .* margin"):
        net(torch.zeros(1, 1, 8, 8, dtype=torch.uint8), calibrated=False)


def test_image_files_are_read_as_test_read_them(config, photographs):
    base = ("data=image_folder", f"data.root={photographs}", "data.size=12", *CNN, "epochs=1")
    wanted = config("machine.workers=0", "batch_size=8", base=base)
    run(wanted)
    net = assert_as_tested(wanted)
    file = photographs / "train" / "dark" / "0.png"

    assert net.read(file).shape == (1, 3, 12, 12)
    assert torch.equal(net.read([str(file)]), net.read(file))
    how = net.record.preprocessing
    assert (how.size, how.channels, how.shorter_side) == ((12, 12), 3, 14)
    assert (how.crop, how.crop_fraction, how.interpolation) == ("centre", None, "bilinear")
    file.write_bytes(b"no image")
    with pytest.raises(DataError, match=f"cannot read {file}"):
        net.read(file)


def test_several_batches_are_those_of_test(config, monkeypatch):
    monkeypatch.setattr("xent_bench.training.build.EVALUATION_BATCH", 7)
    wanted = config(base=(*SYNTHETIC, *CNN))
    run(wanted)

    assert assert_as_tested(wanted).record.batch_size == 7


def test_a_resumed_run_keeps_the_same(config, monkeypatch):
    wanted = config("epochs=3", base=(*SYNTHETIC, *CNN), folder="cut")
    with monkeypatch.context() as patch:
        patch.setattr("xent_bench.training.finish.evaluate", stop)
        with pytest.raises(KeyboardInterrupt):
            run(wanted)
    assert not (run_folder(wanted) / "net.json").exists()
    run(wanted)
    straight = config("epochs=3", base=(*SYNTHETIC, *CNN), folder="straight")
    run(straight)

    assert_as_tested(wanted)
    one, other = (load_record(run_folder(each)) for each in (wanted, straight))
    assert one == other


def stop(*_: object) -> None:
    raise KeyboardInterrupt


def test_mlflows_artifacts_are_enough(config, tmp_path):
    wanted = config("machine.save_weights=true", base=(*SYNTHETIC, *CNN))
    run_id = run(wanted)["tags"]["mlflow_run_id"]
    client, copy = MlflowClient(wanted.machine.tracking), tmp_path / "copy"
    copy.mkdir()
    for name in ("net.json", "weights.pt"):
        client.download_artifacts(run_id, name, str(copy))

    assert_as_tested(wanted, copy)
    (copy / "weights.pt").unlink()
    with pytest.raises(DataError, match=r"neither weights\.pt nor a whole checkpoint"):
        load(copy)


@pytest.fixture
def trained(config: Callable[..., DictConfig], tmp_path: Path) -> Path:
    """A folder with what a user takes with them, of a linear net on 8 x 8 pixels."""
    wanted = config("machine.save_weights=true", base=(*SYNTHETIC, "model=linear"))
    run(wanted)
    folder = tmp_path / "taken"
    folder.mkdir()
    for name in ("net.json", "weights.pt", "result.json"):
        shutil.copyfile(run_folder(wanted) / name, folder / name)
    return folder


def test_the_record_says_what_the_net_was_trained_with(trained):
    record, result = load_record(trained), load_run(trained / "result.json")

    assert record.model == {"_target_": "xent_bench.models.linear.linear"}
    assert record.shape == (1, 8, 8)
    assert record.classes == tuple(f"class {number}" for number in range(10))
    assert record.link.function == "xent_bench.links.softmax"
    assert record.temperature == result.metrics["test_ts/temperature"]
    assert record.scaled_map == "softmax(z / T)"
    assert (record.key, record.weights_sha256) == (
        result.tags["key"],
        result.tags["weights_sha256"],
    )
    assert record.versions["torch"] == version("torch")
    assert {"numpy", "scipy", "pillow", "python", "torchvision"} <= record.versions.keys()
    assert record.preprocessing.crop is record.preprocessing.interpolation is None
    mean = record.preprocessing.mean
    assert torch.tensor(mean, dtype=torch.float32).tolist() == list(mean)


def test_using_a_net_leaves_the_process_as_it_was(trained):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    before = (
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.get_float32_matmul_precision(),
        torch.backends.cudnn.benchmark,
    )
    content = json.loads((trained / "net.json").read_text())
    content["threads"] = before[0] + 1
    del content["sha256"]
    (trained / "net.json").write_text(json.dumps(content))
    load(trained)(torch.zeros(2, 1, 8, 8, dtype=torch.uint8))

    assert torch.equal(torch.rand(3), expected)
    assert before == (
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.get_float32_matmul_precision(),
        torch.backends.cudnn.benchmark,
    )


@contextmanager
def doubles() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(
    "settings",
    [
        doubles,
        lambda: torch.device("meta"),
        lambda: torch.autocast("cpu", torch.bfloat16),
        torch.inference_mode,
    ],
    ids=["float64", "another device", "autocast", "inference mode"],
)
def test_settings_of_the_program_change_no_net(trained, settings):
    images = torch.randint(256, (5, 1, 8, 8), dtype=torch.uint8)
    expected = load(trained)(images)
    net = load(trained)
    with settings():
        before = torch.get_default_dtype(), torch.get_default_device()
        given = net(images)
        given_by_another = load(trained)(images)

        assert before == (torch.get_default_dtype(), torch.get_default_device())
    assert torch.equal(given, expected)
    assert torch.equal(given_by_another, expected)


@pytest.fixture
def trained_elsewhere(trained) -> Iterator[Path]:
    """A run, in a process that has PyTorch's own settings, which a training changes."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(False)
    yield trained
    torch.use_deterministic_algorithms(before)


def test_two_threads_leave_the_process_as_it_was(trained_elsewhere):
    """The first computes until the second has begun, if it can, and the second until it ended."""
    net, images = load(trained_elsewhere), torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    assert net.record.deterministic
    began, ended = threading.Event(), threading.Event()

    def wait(*_: object) -> None:
        if threading.current_thread() is second:
            began.set()
            ended.wait(5)
        else:
            began.wait(0.5)

    def compute_first() -> None:
        net(images)
        ended.set()

    net.net.register_forward_pre_hook(wait)
    first = threading.Thread(target=compute_first)
    second = threading.Thread(target=net, args=(images,))
    first.start()
    time.sleep(0.1)  # the first is within the net
    second.start()
    first.join()
    second.join()

    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize(
    ("images", "got"),
    [
        (torch.zeros(2, 1, 8, 8), r"got torch.float32 of shape \(2, 1, 8, 8\)"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), r"got torch.uint8 of shape \(2, 3, 8, 8\)"),
        (torch.zeros(2, 1, 8, 9, dtype=torch.uint8), r"got torch.uint8 of shape \(2, 1, 8, 9\)"),
        (torch.zeros(1, 8, 8, dtype=torch.uint8), r"got torch.uint8 of shape \(1, 8, 8\)"),
        (np.zeros((2, 1, 8, 8), np.uint8), "got ndarray"),
    ],
)
def test_other_images_are_refused(trained, images, got):
    expected = r"expected images in torch.uint8 of shape \(n, 1, 8, 8\), "

    with pytest.raises(ValueError, match=expected + got):
        load(trained)(images)


def test_no_image_has_no_outputs(trained):
    assert load(trained)(torch.zeros(0, 1, 8, 8, dtype=torch.uint8)).shape == (0, 10)


def test_a_net_of_images_in_memory_reads_no_files(trained):
    with pytest.raises(ValueError, match="expected a net trained on image files, got one trained"):
        load(trained).read(["a.png"])


def set_to(*place: str, value: object) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        content = json.loads((folder / "net.json").read_text())
        inner = content
        for key in place[:-1]:
            inner = inner[key]
        inner[place[-1]] = value
        del content["sha256"]
        (folder / "net.json").write_text(json.dumps(content))

    return edit


def cut(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])

    return damage


def other_weights(folder: Path) -> None:
    state = torch.load(folder / "weights.pt", weights_only=True)
    next(iter(state.values())).view(-1)[0] += 1
    torch.save(state, folder / "weights.pt")


SHELL = "subprocess.getoutput"


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda folder: (folder / "net.json").unlink(), "no .*/net.json; a run has it when it"),
        (lambda folder: (folder / "weights.pt").unlink(), "neither weights.pt nor a whole check"),
        (cut("net.json"), "cannot read .*/net.json: Invalid JSON"),
        (cut("weights.pt"), "cannot read .*/weights.pt, delete it to use the last checkpoint"),
        (lambda folder: (folder / "net.json").write_bytes(b"\xff\xfe"), "cannot read .*/net.json"),
        (other_weights, "weights.pt: expected the weights that were tested, of SHA-256"),
        (set_to("temperature", value="1"), "net.json: temperature: Input should be a valid number"),
        (set_to("temperature", value=-1.0), "net.json: temperature: Input should be greater"),
        (set_to("shape", value=[1, 9, 8]), "net.json: shape: expected"),
        (set_to("preprocessing", "std", value=[0.0]), "std.0: Input should be greater than 0"),
        (set_to("preprocessing", "mean", value=[1.0, 2.0]), "expected 1 numbers as mean, got 2"),
        (set_to("classes", value=["a", "b"]), "does not fit the net of"),
        (set_to("model", "width", value=3), "model.width: no such key"),
        (set_to("model", "_target_", value="nowhere.net"), "cannot use nowhere.net"),
        (set_to("model", "_target_", value=SHELL), "expected a model, got subprocess.getoutput"),
        (set_to("model", "_target_", value="${oc.env:HOME}"), "got an interpolation"),
        (set_to("model", "_target_", value="xent_bench.losses.ce.ce"), "cannot use .*net.json"),
        (set_to("link", "function", value=SHELL), "expected a link of ours or of the loss"),
        (set_to("link", "function", value="xent_bench.links.np"), "expected a link of ours"),
        (set_to("link", "values", value={"tau": 1}), "the link .*softmax cannot be used"),
    ],
)
def test_what_is_missing_or_damaged_is_refused_in_one_line(trained, damage, complaint):
    damage(trained)

    with pytest.raises(DataError, match=complaint) as refusal:
        load(trained)
    assert "\n" not in str(refusal.value)


def test_somebodys_model_and_link_are_found_where_theirs_are(config, tmp_path, monkeypatch):
    (tmp_path / "theirs.py").write_text(
        "import numpy as np\n"
        "from torch import nn\n"
        "from xent_bench.links import softmax, use\n"
        "from xent_bench.losses.sparse_ce import sparse_ce\n"
        "from xent_bench.types import Index, Logits, PerExample\n"
        "def halved(outputs, *, by):\n"
        "    return softmax(outputs / by)\n"
        "@use(halved)\n"
        "def half_ce(logits: Logits, target: Index, *, by: float = 2.0) -> PerExample:\n"
        "    return sparse_ce(logits / by, target)\n"
        "def net(shape, classes, *, slope: float = 0.1) -> nn.Module:\n"
        "    layers = (nn.Linear(64, 8), nn.LeakyReLU(slope), nn.Linear(8, classes))\n"
        "    return nn.Sequential(nn.Flatten(), *layers)\n"
    )
    for group, target in (("loss", "half_ce"), ("model", "net")):
        file = tmp_path / "conf" / group / f"{target}.yaml"
        file.parent.mkdir(parents=True)
        file.write_text(f"_target_: theirs.{target}\n")
    monkeypatch.syspath_prepend(tmp_path)
    search = f"hydra.searchpath=[file://{tmp_path}/conf]"
    wanted = config(base=(*SYNTHETIC, "loss=half_ce", "+loss.by=3", "model=net", search))
    run(checked(wanted))
    net = assert_as_tested(wanted)

    assert net.record.link.function == "theirs.halved"
    assert net.record.link.values == {"by": 3.0}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.bool, torch.int64])
def test_the_hash_of_weights_does_not_depend_on_their_strides(dtype):
    strided, dense = torch.nn.Module(), torch.nn.Module()
    values = torch.arange(10).to(dtype)
    strided.register_buffer("values", values[::2])
    dense.register_buffer("values", values[::2].clone())

    assert weights_sha256(strided) == weights_sha256(dense)
    dense.values[0] = 1
    assert weights_sha256(strided) != weights_sha256(dense)
