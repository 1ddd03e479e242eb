"""What holds for every model in conf/model; and the stem of the ResNets."""

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from xent_bench.config.configure import configured
from xent_bench.config.schema import CONF
from xent_bench.models.resnet import resnet18, resnet50

# the nets of a library are chosen by name: here those that take small images
NAMED = {
    "torchvision": {"name": "mobilenet_v3_small"},
    "timm": {"name": "test_resnet"},
}
FILES = sorted((CONF / "model").glob("*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32)], ids=str)
def test_a_model_gives_one_raw_score_a_class(file, shape):
    chosen = OmegaConf.merge(OmegaConf.load(file), NAMED.get(file.stem, {}))
    build = configured(OmegaConf.create({"model": chosen}), "model")
    net = build(shape, 7)
    scores = net.eval()(torch.randn(2, *shape))

    assert scores.shape == (2, 7)
    assert not isinstance(list(net.modules())[-1], nn.Softmax | nn.LogSoftmax | nn.Sigmoid)


@pytest.mark.parametrize("resnet", [resnet18, resnet50])
def test_a_resnet_keeps_small_images_whole_and_has_the_original_stem_for_large_ones(resnet):
    small, large, grey = (resnet(shape, 10) for shape in [(3, 32, 32), (3, 64, 64), (1, 96, 96)])

    assert (small.conv1.stride, type(small.maxpool)) == ((1, 1), nn.Identity)
    assert (large.conv1.stride, type(large.maxpool)) == ((2, 2), nn.MaxPool2d)
    assert (grey.conv1.stride, grey.conv1.in_channels) == ((2, 2), 1)


# 1,000 classes at 224 pixels: torchvision's table of models
@pytest.mark.parametrize(("resnet", "weights"), [(resnet18, 11_689_512), (resnet50, 25_557_032)])
def test_the_imagenet_forms_have_the_published_numbers_of_weights(resnet, weights):
    net = resnet((3, 224, 224), 1000)

    assert sum(weight.numel() for weight in net.parameters()) == weights
