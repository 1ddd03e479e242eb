"""torchvision's ResNets, with a stem for small images.  He et al., 2016, arXiv:1512.03385."""

from torch import nn

SMALL = 64  # pixels: below this the stem for ImageNet, which divides sides by 4, keeps too little


def resnet18(shape: tuple[int, int, int], classes: int) -> nn.Module:
    """ResNet-18: eight blocks of two 3 x 3 convolutions; 11.2 million weights + 513 a class."""
    from torchvision.models import resnet18 as imagenet_resnet18  # takes seconds to import

    return _fit_stem(imagenet_resnet18(num_classes=classes), shape)


def resnet50(shape: tuple[int, int, int], classes: int) -> nn.Module:
    """ResNet-50: sixteen bottlenecks of three convolutions; 23.5 million weights + 2049 a class."""
    from torchvision.models import resnet50 as imagenet_resnet50  # takes seconds to import

    return _fit_stem(imagenet_resnet50(num_classes=classes), shape)


def _fit_stem(net: nn.Module, shape: tuple[int, int, int]) -> nn.Module:
    """Adapt the first layers to the images: under 64 pixels one 3 x 3 convolution, without pooling.

    It replaces a 7 x 7 convolution and a max-pooling, both of stride 2.
    """
    channels, h, w = shape
    if min(h, w) < SMALL:
        net.conv1 = nn.Conv2d(channels, 64, kernel_size=3, padding=1, bias=False)
        net.maxpool = nn.Identity()
    elif channels != 3:
        net.conv1 = nn.Conv2d(channels, 64, kernel_size=7, stride=2, padding=3, bias=False)
    return net
