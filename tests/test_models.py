"""What holds for every model in conf/model; and the stem of ResNet-18."""

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from xent_bench.configure import configured
from xent_bench.models.resnet18 import resnet18
from xent_bench.schema import CONF

FILES = sorted((CONF / "model").glob("*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32)], ids=str)
def test_a_model_gives_one_raw_score_a_class(file, shape):
    build = configured(OmegaConf.create({"model": OmegaConf.load(file)}), "model")
    net = build(shape, 7)
    scores = net.eval()(torch.randn(2, *shape))

    assert scores.shape == (2, 7)
    assert not isinstance(list(net.modules())[-1], nn.Softmax | nn.LogSoftmax | nn.Sigmoid)


def test_resnet18_keeps_small_images_whole_and_has_the_original_stem_for_large_ones():
    small, large, grey = (resnet18(shape, 10) for shape in [(3, 32, 32), (3, 64, 64), (1, 96, 96)])

    assert (small.conv1.stride, type(small.maxpool)) == ((1, 1), nn.Identity)
    assert (large.conv1.stride, type(large.maxpool)) == ((2, 2), nn.MaxPool2d)
    assert (grey.conv1.stride, grey.conv1.in_channels) == ((2, 2), 1)
    assert sum(weight.numel() for weight in large.parameters()) == 11_181_642
