"""A calibrated net gives the probabilities of the trained net that it is made of."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from xent_bench import links
from xent_bench.calibrators.temperature import dividend, scales_outputs
from xent_bench.data.image_files import ImageFiles
from xent_bench.data.preparation import SEEN, Preparation
from xent_bench.export import onnx_file
from xent_bench.export.calibrated_net import CalibratedNet, calibrated_net
from xent_bench.export.resampling import AnySize
from xent_bench.export.tensor_links import TENSOR_LINKS, tensor_dividend
from xent_bench.failures import Unavailable
from xent_bench.models.cnn import cnn
from xent_bench.models.resized import Resized
from xent_bench.trained_net import TrainedNet
from xent_bench.trained_net.record import NetRecord, Preprocessing, StoredLink

BOUND = {
    "softmax": partial(links.softmax),
    "sigmoid": partial(links.sigmoid),
    "simplex": partial(links.simplex),
    "projection": partial(links.projection, M=3.0),
    "projection onto the interior": partial(links.projection, M=1e4),  # has log p to be divided
    "normalised_softmax": partial(links.normalised_softmax, tau=0.04),
    "margin": partial(links.margin),
}


def record_of(preprocessing: Preprocessing, classes: int, temperature: float) -> NetRecord:
    """A record as a run writes it, of a net on a CPU."""
    shape = (preprocessing.channels, *preprocessing.size)
    return NetRecord(
        key="0123456789",
        weights_sha256="",
        model={},
        loss={},
        shape=shape,
        classes=tuple(f"class {number}" for number in range(classes)),
        preprocessing=preprocessing,
        link=StoredLink("xent_bench.links.softmax", {}),
        temperature=temperature,
        scaled_map="",
        precision="fp32",
        layout="channels_last",
        device="cpu",
        deterministic=True,
        threads=1,
        processes=1,
        batch_size=100,
        versions={},
    )


def trained_net(
    preprocessing: Preprocessing,
    *,
    classes: int = 4,
    temperature: float = 0.3,
    link: links.BoundLink = BOUND["softmax"],
    scale: float = 6.0,
) -> TrainedNet:
    """A net with weights drawn at random, whose outputs are far from one another."""
    torch.manual_seed(0)
    shape = (preprocessing.channels, *preprocessing.size)
    vectors = preprocessing.vectors is not None
    net = (
        nn.Sequential(nn.Flatten(), nn.Linear(shape[0], classes))
        if vectors
        else cnn(shape, classes, width=4)
    )
    net[-1].weight.data *= scale
    return TrainedNet(
        net.eval(), record_of(preprocessing, classes, temperature), link, torch.device("cpu")
    )


COLOUR = Preprocessing((9, 7), 3, (120.0, 90.5, 60.25), (33.0, 44.5, 70.0))


def draw(*shape: int) -> Tensor:
    rng = torch.Generator().manual_seed(3)
    return torch.randint(256, shape, generator=rng, dtype=torch.uint8)


@pytest.mark.parametrize("link", BOUND.values(), ids=BOUND)
def test_probabilities_are_those_of_the_trained_net(link):
    is_interior = link.keywords.get("M") == 1e4  # where probabilities as trained are nearly equal
    trained = trained_net(COLOUR, link=link, temperature=2e-5 if is_interior else 0.3)
    images = draw(50, 3, 9, 7)
    expected = trained(images).exp()

    probabilities = calibrated_net(trained)(images)

    assert probabilities.dtype == torch.float32
    assert expected.std() > 0.1
    np.testing.assert_allclose(probabilities, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("link", BOUND.values(), ids=BOUND)
def test_what_the_temperature_divides_is_what_calibration_divided(link, classes):
    """With two classes, sigmoid keeps their order, and log p is divided in place of z."""
    outputs = np.random.default_rng(1).normal(0, 3, (40, classes))

    divided = tensor_dividend(link, classes)(torch.from_numpy(outputs))

    np.testing.assert_allclose(divided, dividend(outputs, link), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", [name for name in BOUND if name != "margin"])
def test_a_tensor_link_gives_the_log_probabilities_of_its_namesake(name):
    link = BOUND[name]
    rng = np.random.default_rng(2)
    outputs = np.concatenate([rng.normal(0, 1, (30, 6)), rng.normal(0, 40, (30, 6)), np.eye(6)])

    with np.errstate(divide="ignore"):
        expected = link(outputs)
    log_p = TENSOR_LINKS[link.func](torch.from_numpy(outputs), **link.keywords)

    np.testing.assert_allclose(log_p.exp(), np.exp(expected), rtol=0, atol=1e-12)


def test_every_link_with_probabilities_has_a_tensor_link():
    assert {link.__name__ for link in TENSOR_LINKS} == set(links.LINKS) - {"margin"}


def own_link(outputs: np.ndarray) -> np.ndarray:
    return links.softmax(np.arcsinh(outputs))


def test_a_link_of_the_users_own_is_refused_in_one_line():
    trained = trained_net(COLOUR, link=partial(own_link))

    with pytest.raises(
        Unavailable, match=r"cannot export the link .*own_link: it is written for N"
    ):
        calibrated_net(trained)


@pytest.mark.parametrize("kind", ["none", "standard", "unit"])
def test_vectors_are_normalised_as_the_runs_own(kind):
    mean, std = (
        ((0.5, -1.0, 2.0), (2.0, 0.5, 3.0)) if kind == "standard" else ((0.0,) * 3, (1.0,) * 3)
    )
    trained = trained_net(Preprocessing((1, 1), 3, mean, std, vectors=kind))
    vectors = torch.randn(20, 3, generator=torch.Generator().manual_seed(1))

    probabilities = calibrated_net(trained)(vectors)

    np.testing.assert_allclose(probabilities, trained(vectors).exp(), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "images",
    [draw(2, 3, 9, 8), draw(2, 1, 9, 7), draw(3, 9, 7), draw(2, 3, 9, 7).float()],
    ids=["width", "channels", "no batch", "float"],
)
def test_other_images_are_refused(images):
    net = calibrated_net(trained_net(COLOUR))

    with pytest.raises(ValueError, match=r"expected torch.uint8 of shape \(n, 3, 9, 7\), got "):
        net(images)


def centre(size: int, shorter_side: int, interpolation: str = "bilinear") -> Preparation:
    return Preparation(size, shorter_side, interpolation, 3)


PREPARATIONS = {
    "reduced, then the centre": centre(16, 18),
    "reduced bicubically": centre(16, 21, "bicubic"),
    "the central square": centre(16, 0),
    "the central square bicubically": centre(16, 0, "bicubic"),
}
SIZES = {
    "large": (61, 83),
    "upright": (90, 40),
    "just as large": (18, 30),
    "small": (11, 13),
    "tiny": (3, 5),
    "of the net's size": (16, 16),
}


@pytest.mark.parametrize("preparation", PREPARATIONS.values(), ids=PREPARATIONS)
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_an_image_of_any_size_becomes_what_its_file_became(tmp_path, preparation, size):
    """But for rounding: 1 of 255 in few values."""
    rng = np.random.default_rng(5)
    pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    files = ImageFiles.of(tmp_path, ["image.png"], preparation)
    expected = files.decode([(0, None)])[0]

    image = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    prepared = AnySize(preparation, whole_images=True)(image)[0].permute(1, 2, 0).numpy()

    difference = np.abs(prepared - expected.astype(np.float32))
    takes_rows_first = preparation.shorter_side == 0 and size[0] > size[1]
    assert difference.max() <= 1
    assert (difference > 0).mean() < (0.25 if takes_rows_first else 0.05)


@pytest.mark.parametrize("preparation", PREPARATIONS.values(), ids=PREPARATIONS)
def test_a_prepared_image_stays_as_it_is(preparation):
    image = draw(2, 3, 16, 16)

    assert torch.equal(AnySize(preparation, whole_images=False)(image), image.float())
    assert not torch.equal(AnySize(preparation, whole_images=True)(image), image.float())


def test_a_net_of_files_takes_any_size():
    of_files = Preprocessing(
        (9, 9), 3, (120.0,) * 3, (60.0,) * 3, "centre square", SEEN, "bilinear"
    )
    trained = trained_net(of_files)
    net = calibrated_net(trained)
    images = draw(4, 3, 9, 9)

    np.testing.assert_allclose(net(images), trained(images).exp(), rtol=0, atol=1e-6)
    assert isinstance(net, CalibratedNet)
    assert net(draw(2, 3, 40, 31)).shape == (2, 4)
    with pytest.raises(ValueError, match=r"\(n, 3, height, width\), got torch.uint8 of shape"):
        net(draw(2, 1, 40, 31))


GRAPHS = {
    "sigmoid of two classes": (BOUND["sigmoid"], 2),
    "projection onto the interior": (BOUND["projection onto the interior"], 3),
    "normalised_softmax": (BOUND["normalised_softmax"], 4),
}


@pytest.mark.parametrize(("link", "classes"), GRAPHS.values(), ids=GRAPHS)
def test_a_graph_divides_log_p_where_calibration_does(tmp_path, link, classes):
    assert not scales_outputs(link, classes)
    is_interior = "M" in link.keywords
    temperature = 2e-5 if is_interior else 0.3
    trained = trained_net(COLOUR, link=link, classes=classes, temperature=temperature)
    images = draw(20, 3, 9, 7)

    onnx_file.write(calibrated_net(trained), {}, tmp_path / "model.onnx")
    (probabilities,) = onnx_file.run(tmp_path / "model.onnx", [images.numpy()])

    np.testing.assert_allclose(probabilities, trained(images).exp(), rtol=0, atol=1e-6)


def test_a_net_that_resizes_within_is_exported(tmp_path):
    trained = trained_net(COLOUR)
    resizing = replace(trained, net=Resized(trained.net, 5).eval())
    images = draw(20, 3, 9, 7)

    onnx_file.write(calibrated_net(resizing), {}, tmp_path / "model.onnx")
    (probabilities,) = onnx_file.run(tmp_path / "model.onnx", [images.numpy()])

    assert not torch.allclose(resizing(images), trained(images), atol=1e-2)
    np.testing.assert_allclose(probabilities, resizing(images).exp(), rtol=0, atol=1e-6)


def test_weights_that_one_onnx_file_cannot_hold_are_refused(tmp_path, monkeypatch):
    net = calibrated_net(trained_net(COLOUR))
    weights = sum(tensor.nbytes for tensor in net.state_dict().values())
    monkeypatch.setattr(onnx_file, "LARGEST", weights - 1)

    with pytest.raises(Unavailable, match=r"at most 2 GiB.*expected --to pt2 or --to safetensors"):
        onnx_file.write(net, {}, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())
