"""xent-embed: the input of a frozen net's head, once for each image, in a file that is mapped."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import answer
from PIL import Image
from torch import nn
from trained_run import weights

from xent_bench.commands import embed as command
from xent_bench.config.configure import ConfigError, configured
from xent_bench.config.identity import run_folder
from xent_bench.data.features import features
from xent_bench.data.split import split
from xent_bench.embedding import embed as embedding
from xent_bench.embedding import stored_parts
from xent_bench.embedding.embed import Wanted, embed
from xent_bench.embedding.head import Headless, find_head
from xent_bench.models.cnn import cnn
from xent_bench.models.resnet import resnet18
from xent_bench.randomness import derived_seed
from xent_bench.runs.predictions import load
from xent_bench.training.run import run

TRAINING = ("epochs=3", "batch_size=32", "optimizer.lr=0.03")
BASE = ("data=synthetic", "data.n=400", "model=cnn", "model.width=4")
VARIED = ("data.flip=true", "data.crop=1")


def quietly(done: int, total: int) -> None:
    """Report nothing."""


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_parts, "PART", 150)
    monkeypatch.setattr(embedding, "PART", 150)


def expected(config) -> torch.Tensor:
    """The features by hand: the net without its last layer, on images normalised by train."""
    data = configured(config, "data")()
    torch.manual_seed(derived_seed(config.seed, "initial weights"))
    net = configured(config, "model")(data.shape, len(data.classes))
    body = nn.Sequential(*list(net)[:-1]).eval()
    normalise = data.normalisation(split(data, config.seed).train)
    with torch.no_grad():
        images = (data.images.float() - normalise.mean) / normalise.std
        return body(images)


@pytest.mark.parametrize("ending", ["npz", "safetensors"])
@pytest.mark.usefixtures("small_parts")
def test_the_file_holds_the_input_of_the_head_and_all_that_lies_beside(
    config, ending, tmp_path: Path
):
    wanted = config(*BASE, "data.labels=posterior", base=())
    file = tmp_path / f"f.{ending}"

    embedded = embed(wanted, Wanted(file), "xent-embed ...", quietly)
    data = features(root=str(file))

    images = configured(wanted, "data")()
    assert (embedded.n, embedded.width, embedded.done_before) == (400, 16, False)
    torch.testing.assert_close(data.images.take(torch.arange(400)), expected(wanted))
    assert torch.equal(data.labels, images.labels)
    assert data.classes == images.classes
    assert split(data, 3).sha256() == split(images, 3).sha256()
    assert sorted(path.name for path in tmp_path.iterdir() if path.name[0] == "f") == [file.name]
    if ending == "npz":
        assert data.images.parts[0].data_ptr() % 64 == 0  # mapped, and aligned
        with np.load(file, allow_pickle=False) as stored:
            about = json.loads(str(stored["about"]))
        assert about["command"] == "xent-embed ..."
        assert about["config"]["data.n"] == 400
        assert {"images_sha256", "weights_sha256", "torch", "key"} <= about.keys()


@pytest.mark.usefixtures("small_parts")
def test_an_interrupted_command_goes_on_and_ends_with_the_same_bytes(config, tmp_path: Path):
    wanted = config(*BASE, *VARIED, base=())
    straight, cut = tmp_path / "straight.npz", tmp_path / "cut.npz"
    embed(wanted, Wanted(straight, views=2), "", quietly)
    reports = []

    def until_700(done: int, _: int) -> None:
        reports.append(done)
        if done >= 700:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed(wanted, Wanted(cut, views=2), "", until_700)
    begun = [file.name for file in (tmp_path / "cut.npz.parts").iterdir()]
    reports.clear()
    embed(wanted, Wanted(cut, views=2), "", lambda done, _: reports.append(done))

    assert begun.count("plain-000000300.npy") == 1
    assert min(reports) == 400  # the plain view was not computed again
    assert cut.read_bytes() == straight.read_bytes()
    assert not (tmp_path / "cut.npz.parts").exists()


def test_views_are_varied_and_the_plain_features_are_those_without_views(config, tmp_path: Path):
    wanted = config(*BASE, *VARIED, base=())
    embed(wanted, Wanted(tmp_path / "v.npz", views=3), "", quietly)
    vectors = features(root=str(tmp_path / "v.npz")).images

    everything = torch.arange(400)
    views = [vectors.take(everything, torch.full((400,), view)) for view in range(3)]
    torch.testing.assert_close(vectors.take(everything), expected(wanted))
    assert vectors.views[0].shape == (400, 3, 16)
    assert not torch.equal(views[0], views[1])
    plain = vectors.take(everything)
    same = sum(int(torch.isclose(view, plain).all(dim=1).sum()) for view in views)
    assert 0 < same < 600  # of 1200: one in 18 is neither mirrored nor moved


def test_a_second_call_computes_nothing_and_other_features_are_not_replaced(
    config, tmp_path: Path, monkeypatch
):
    wanted, file = config(*BASE, base=()), tmp_path / "f.npz"
    embed(wanted, Wanted(file), "", quietly)
    before = file.read_bytes()

    with monkeypatch.context() as patch:
        patch.setattr(embedding, "_compute", None)
        assert embed(wanted, Wanted(file), "", quietly).done_before
        for other in (Wanted(file, dtype="float16"), Wanted(file, views=0)):
            if other.dtype == "float16":
                with pytest.raises(ValueError, match=r"holds other features.*out=FILE"):
                    embed(wanted, other, "", quietly)
    assert file.read_bytes() == before


def test_official_splits_and_names_of_files_are_kept(config, tmp_path: Path):
    rng = np.random.default_rng(0)
    for part, n in (("train", 30), ("test", 6)):
        for name in ("cat", "dog"):
            folder = tmp_path / "photos" / part / name
            folder.mkdir(parents=True)
            for number in range(n):
                pixels = rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number:02}.png")
    images = ("data=image_folder", f"data.root={tmp_path / 'photos'}", "data.size=16")
    wanted = config(*images, "model=cnn", "model.width=4", "machine.workers=0", base=())

    for ending in ("npz", "safetensors"):
        embed(wanted, Wanted(tmp_path / f"f.{ending}", views=1), "", quietly)
        data = features(root=str(tmp_path / f"f.{ending}"))

        assert data.classes == ("cat", "dog")
        assert data.test.tolist() == list(range(60, 72))
        assert data.images.name_of(0) == "train/cat/00.png"
        assert data.images.name_of(71) == "test/dog/05.png"


def test_what_cannot_be_embedded_leaves_nothing_behind(config, tmp_path: Path):
    wanted = config(*BASE, base=())

    with pytest.raises(ConfigError, match="views: expected 0: this set allows no flips"):
        embed(wanted, Wanted(tmp_path / "new" / "f.npz", views=2), "", quietly)
    assert not (tmp_path / "new").exists()


def test_the_head_is_the_linear_layer_whose_outputs_are_the_nets():
    for net, shape in (
        (cnn((1, 8, 8), 3, width=4), (1, 8, 8)),
        (resnet18((3, 8, 8), 3), (3, 8, 8)),
    ):
        pixels = torch.randn(2, *shape)
        head = find_head(net.eval(), pixels)
        features = Headless(net, pixels)(pixels)

        assert head.out_features == 3
        torch.testing.assert_close(head(features), net(pixels))
    without = nn.Sequential(nn.Flatten(), nn.Linear(64, 3), nn.Softmax(dim=1))
    with pytest.raises(ConfigError, match="expected a net that ends with a linear layer"):
        find_head(without, torch.randn(2, 1, 8, 8))


def typed(capsys, *words: str) -> tuple[int, str, str]:
    """Exit code, output and errors of xent-embed, typed in this process."""
    sys.argv[0] = "xent-embed"
    code = answer(command.main, *words)
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def test_the_command_says_where_the_features_are_and_what_to_type_next(place: Path, capsys):
    words = (*BASE, "machine=cpu", "machine.threads=1", "dtype=float16", "seed=1")

    code, out, errors = typed(capsys, *words)
    (file,) = (place / "features").iterdir()
    again = typed(capsys, *words)

    assert code == again[0] == 0
    assert file.name.startswith("synthetic-cnn-")
    assert f"features/{file.name}: features of 400 x 16." in out
    assert f"data.root=features/{file.name} model=linear loss=ce,focal seed=1" in out
    assert "The net has weights drawn at random" in errors
    assert "Done before: " in again[1]
    assert features(root=str(file)).images.parts[0].dtype == torch.float16


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (("data=digts",), 2, "data=digts: no such data; did you mean digits?"),
        (("model.widht=3",), 2, "model.widht: no such key; did you mean model.width"),
        (("loss=ce",), 2, "loss: no key of xent-embed, which trains nothing"),
        (("vews=2",), 2, "did you mean views?"),
        (("views=-1",), 2, "views: expected a number from 0 to 1000, got -1"),
        (("dtype=half",), 2, "dtype: expected float32 or float16, got half"),
        (("out=f.pt",), 2, "out: expected a file called .npz or .safetensors, got f.pt"),
        (("--config-dir", "nowhere"), 2, "no folder nowhere here"),
        (("data=image_folder",), 2, "data.root: has to be given"),
        (("data=image_folder", "data.root=nowhere"), 3, "nowhere"),
        (
            ("data=digits", "model=timm", "model.name=test_convnext"),
            2,
            "model: cannot take a batch of shape (2, 1, 8, 8): ",
        ),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(place: Path, capsys, words, code, line):
    got, _, errors = typed(capsys, *words)

    assert got == code
    assert line in errors
    assert errors.count("\n") == 1
    assert "Traceback" not in errors
    assert not list(place.iterdir())


def test_a_head_on_features_is_the_head_of_the_frozen_net_fine_tuned(config, tmp_path: Path):
    """Same weights at the start, same batches and splits, so the same outputs but for rounding."""
    pretrained = config(*BASE, *TRAINING, "machine.save_weights=true", base=(), folder="pretrained")
    run(pretrained)
    start = ("seed=1", f"model.weights={run_folder(pretrained) / 'weights.pt'}")
    other = (*BASE, "data.classes=7", *TRAINING)
    tuned = config(*other, *start, "model.trainable=head", base=(), folder="tuned")
    run(tuned)
    file = tmp_path / "f.npz"
    embed(config(*other, *start, base=()), Wanted(file), "", quietly)
    linear = ("data=features", f"data.root={file}", "model=linear", *TRAINING)
    head = config(*linear, "seed=1", base=(), folder="head")
    run(head)

    by_net, by_head = (load(run_folder(wanted) / "predictions.npz") for wanted in (tuned, head))
    np.testing.assert_array_equal(by_net.test.id, by_head.test.id)
    np.testing.assert_array_equal(by_net.test.target, by_head.test.target)
    np.testing.assert_allclose(by_net.test.outputs, by_head.test.outputs, rtol=1e-3, atol=1e-4)
    trained = weights(head)["net.1.weight"]
    torch.testing.assert_close(weights(tuned)["net.8.weight"], trained, rtol=1e-3, atol=1e-4)
