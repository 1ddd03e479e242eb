"""ResNets, torchvision's, with a stem for small images.  He et al., 2016, arXiv:1512.03385."""

from torch import nn

SMALL = 64  # pixels: below, the ImageNet stem would leave nothing to look at


def resnet18(shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Eight blocks of two 3 x 3 convolutions, 512 features: 11.2 million weights and a head."""
    from torchvision.models import resnet18 as imagenet_resnet18  # seconds of import

    return _fit_stem(imagenet_resnet18(num_classes=classes), shape)


def resnet50(shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Sixteen bottlenecks of three convolutions, 2048 features: 23.5 million and a head."""
    from torchvision.models import resnet50 as imagenet_resnet50  # seconds of import

    return _fit_stem(imagenet_resnet50(num_classes=classes), shape)


def _fit_stem(net: nn.Module, shape: tuple[int, int, int]) -> nn.Module:
    """Under 64 pixels one 3 x 3 convolution replaces the 7 x 7 one and the pooling."""
    channels, h, w = shape
    if min(h, w) < SMALL:
        net.conv1 = nn.Conv2d(channels, 64, kernel_size=3, padding=1, bias=False)
        net.maxpool = nn.Identity()
    elif channels != 3:
        net.conv1 = nn.Conv2d(channels, 64, kernel_size=7, stride=2, padding=3, bias=False)
    return net
