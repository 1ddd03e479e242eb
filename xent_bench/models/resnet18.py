"""ResNet-18, torchvision's, with a stem for small images.  He et al., 2016, arXiv:1512.03385."""

from torch import nn

SMALL = 64  # pixels: below, the ImageNet stem would leave nothing to look at


def resnet18(shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Under 64 pixels one 3 x 3 convolution replaces the 7 x 7 one and the pooling."""
    from torchvision.models import resnet18 as imagenet_resnet18  # seconds of import

    channels, h, w = shape
    net: nn.Module = imagenet_resnet18(num_classes=classes)
    if min(h, w) < SMALL:
        net.conv1 = nn.Conv2d(channels, 64, kernel_size=3, padding=1, bias=False)
        net.maxpool = nn.Identity()
    elif channels != 3:
        net.conv1 = nn.Conv2d(channels, 64, kernel_size=7, stride=2, padding=3, bias=False)
    return net
