"""Nets of torchvision and timm: any classes, channels and pixels, and the way out where not."""

import pytest
import torch
from torch import nn

from xent_bench.config.configure import ConfigError, configured
from xent_bench.config.first_weights import refusing
from xent_bench.config.identity import run_folder
from xent_bench.config.parts import resolve
from xent_bench.config.targets import encode, target_kind
from xent_bench.models.timm import timm
from xent_bench.models.torchvision import torchvision
from xent_bench.offered_weights import library_of
from xent_bench.pretrained.fit import fitted
from xent_bench.pretrained.head import head_of

# one of each family, small
NETS = {
    "torchvision": (
        *("resnet18", "squeezenet1_1", "shufflenet_v2_x0_5", "mobilenet_v3_small", "mnasnet0_5"),
        *("densenet121", "efficientnet_b0", "regnet_y_400mf", "googlenet", "convnext_tiny"),
    ),
    "timm": (
        *("test_vit", "test_convnext", "test_efficientnet", "test_nfnet", "test_byobnet"),
        *("levit_128s", "pit_ti_224", "regnetx_002", "mobilevitv2_050", "gmlp_ti16_224"),
    ),
}
NAMED = [(library, name) for library, names in NETS.items() for name in names]
LABELS = torch.tensor([0, 2, 1, 2])


def built(composed, library, name, shape, *overrides):
    config = composed(f"model={library}", f"model.name={name}", *overrides)
    return configured(config, "model")(shape, 3)


@pytest.mark.parametrize(("library", "name"), NAMED, ids=[name for _, name in NAMED])
def test_a_net_of_a_library_takes_a_step_and_predicts(composed, library, name):
    net = built(composed, library, name, (3, 64, 64))
    before = [weights.clone() for weights in net.parameters()]
    images = torch.randn(4, 3, 64, 64)
    logits = net(images)
    optimizer = configured(composed("optimizer=sgd", "optimizer.lr=1e-3"), "optimizer")(net)
    gradients = []
    for loss_name in ("ce", "hinge"):
        loss = configured(composed(f"loss={loss_name}"), "loss")
        target = encode(LABELS, target_kind(loss.func), 3)
        optimizer.zero_grad()
        loss(logits, target).mean().backward(retain_graph=True)
        gradients.append([weights.grad is not None for weights in net.parameters()])
    optimizer.step()

    assert logits.shape == (4, 3)
    assert gradients[0] == gradients[1]
    assert any((a != b).any() for a, b in zip(before, net.parameters(), strict=True))
    assert net.eval()(images).isfinite().all()
    assert len(head_of(net, 3)) >= 1


@pytest.mark.parametrize(("library", "name"), NAMED[::3], ids=[name for _, name in NAMED[::3]])
@pytest.mark.parametrize("channels", [1, 4])
def test_a_net_of_a_library_takes_other_channels(composed, library, name, channels):
    with torch.device("meta") if name != "regnet_y_400mf" else torch.device("cpu"):
        net = built(composed, library, name, (channels, 64, 64)).eval()
        scores = net(torch.zeros(2, channels, 64, 64))

    assert scores.shape == (2, 3)


@pytest.mark.parametrize(("library", "name"), [("torchvision", "vit_b_32"), ("timm", "test_vit")])
def test_a_net_of_one_size_takes_images_that_it_resizes_within(composed, library, name):
    with torch.device("meta"):
        net = built(composed, library, name, (1, 28, 28), "model.size=64").eval()
        scores = net(torch.zeros(2, 1, 28, 28))

    assert scores.shape == (2, 3)
    assert net.net.get_parameter(next(n for n, _ in net.net.named_parameters())) is not None


def test_what_a_net_cannot_take_is_one_line_with_the_way_out(composed):
    refused = pytest.raises(ConfigError, match=r"28 x 28 pixels .*; model.size=224 resizes")
    with refused, torch.device("meta"), refusing():
        built(composed, "torchvision", "vit_b_16", (1, 28, 28))


def test_resizing_keeps_images_that_have_the_size(composed):
    net = built(composed, "timm", "test_resnet", (3, 32, 32), "model.size=32")
    resized = built(composed, "timm", "test_resnet", (3, 16, 16), "model.size=32").eval()
    images = torch.randn(2, 3, 32, 32)

    assert not hasattr(net, "net")
    assert torch.equal(resized(images), resized.net(images))


@pytest.mark.parametrize(
    ("library", "name", "complaint"),
    [
        ("torchvision", "resnet19", "torchvision has no 'resnet19'; did you mean resnet18 or"),
        ("torchvision", "quantized_resnet18", "a quantized net cannot be trained"),
        ("torchvision", "zzz", "there are 80: torchvision.models.list_models"),
        ("timm", "resnet19", "timm has no 'resnet19'; did you mean resnet18 or"),
        ("timm", "resnet18.a1_in1k", "expected model.name=resnet18 and, for its weights, model.we"),
    ],
)
def test_a_name_that_a_library_does_not_have_is_refused(composed, library, name, complaint):
    with pytest.raises(ConfigError) as refusal:
        resolve(composed(f"model={library}", f"model.name={name}"))

    assert complaint in str(refusal.value)
    assert refusal.value.key == "model.name"


def test_without_the_extra_one_line_names_it(composed, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "timm.models", None)

    with pytest.raises(ConfigError, match=r"pip install 'xent-bench\[timm\]'"):
        resolve(composed("model=timm", "model.name=resnet18"))


def test_every_weight_of_torchvision_has_a_file_and_says_what_images_it_wants():
    from torchvision import models

    library = library_of(torchvision)
    for net in models.list_models(module=models):
        library.check({"name": net})
        for name in library.names({"name": net}):
            offered = library.file(name, {"name": net})
            wanted = library.images(name, {"name": net})

            assert offered.file.name.endswith(".pth")
            assert len(offered.sha256) >= 8
            assert wanted.size <= wanted.shorter_side
            assert len(wanted.mean) == len(wanted.std) == 3


def test_timm_names_its_default_weights_first():
    library = library_of(timm)

    assert library.names({"name": "resnet18"})[0] == "a1_in1k"
    assert library.images("a1_in1k", {"name": "resnet18"})[:3] == (224, 235, "bicubic")


@pytest.mark.parametrize("channels", [1, 6])
def test_adapted_filters_see_a_grey_image_as_three_equal_channels(channels):
    conv, other = nn.Conv2d(3, 5, 3), nn.Conv2d(channels, 5, 3)
    net = nn.Sequential(other, nn.Flatten(), nn.Linear(5, 2))
    file = nn.Sequential(conv, nn.Flatten(), nn.Linear(5, 2)).state_dict()
    grey = torch.randn(2, 1, 3, 3)
    fit = fitted(net, file, ["2"], channels=channels, strict=True)
    net.load_state_dict(fit.tensors)

    torch.testing.assert_close(other(grey.repeat(1, channels, 1, 1)), conv(grey.repeat(1, 3, 1, 1)))
    assert f"0.weight of 3 channels is adapted to {channels}" in fit.line(4)


def test_adapted_filters_are_repeated_in_turn():
    net, file = (nn.Sequential(nn.Conv2d(channels, 5, 3), nn.Linear(5, 2)) for channels in (4, 3))
    filters = file[0].weight
    fit = fitted(net, file.state_dict(), ["1"], channels=4, strict=True)
    expected = torch.cat([filters, filters[:, :1]], dim=1) * 3 / 4

    torch.testing.assert_close(fit.tensors["0.weight"], expected)


def test_a_net_of_timm_says_which_layers_are_its_head():
    net = timm((3, 64, 64), 16, name="test_vit")

    assert list(head_of(net, 16)) == ["head"]


def test_the_head_of_any_net_is_its_last_layer_with_an_output_for_each_class():
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.LayerNorm(4))

    assert list(head_of(net, 4)) == ["1"]
    assert head_of(net, 5) == {}


def test_the_folder_of_a_run_names_the_net_and_not_its_library(composed):
    config = composed("model=timm", "model.name=test_vit.r160_in1k")

    assert run_folder(config).name.startswith("ce-digits-test_vit.r160_in1k-s0-")
