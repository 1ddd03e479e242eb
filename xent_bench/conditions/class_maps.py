"""Classes that are taken for one another: the maps of asymmetric label noise.

Fashion-MNIST: Zhang and Sabuncu, 2018, arXiv:1805.07836.  CIFAR-10 and CIFAR-100: Patrini et al.,
2017, arXiv:1609.03683; in CIFAR-100 each class is taken for the next one of its superclass, and
the last for the first.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from xent_bench.conditions.class_number import class_number
from xent_bench.config.configure import ConfigError

KEY = "noise.map"
FASHION = {
    "ankle boot": "sneaker",
    "sneaker": "sandal",
    "pullover": "shirt",
    "coat": "dress",
    "dress": "coat",
}
CIFAR10 = {
    "truck": "automobile",
    "bird": "airplane",
    "deer": "horse",
    "cat": "dog",
    "dog": "cat",
}
SUPERCLASSES = (  # of CIFAR-100, by Krizhevsky, 2009
    ("beaver", "dolphin", "otter", "seal", "whale"),
    ("aquarium_fish", "flatfish", "ray", "shark", "trout"),
    ("orchid", "poppy", "rose", "sunflower", "tulip"),
    ("bottle", "bowl", "can", "cup", "plate"),
    ("apple", "mushroom", "orange", "pear", "sweet_pepper"),
    ("clock", "keyboard", "lamp", "telephone", "television"),
    ("bed", "chair", "couch", "table", "wardrobe"),
    ("bee", "beetle", "butterfly", "caterpillar", "cockroach"),
    ("bear", "leopard", "lion", "tiger", "wolf"),
    ("bridge", "castle", "house", "road", "skyscraper"),
    ("cloud", "forest", "mountain", "plain", "sea"),
    ("camel", "cattle", "chimpanzee", "elephant", "kangaroo"),
    ("fox", "porcupine", "possum", "raccoon", "skunk"),
    ("crab", "lobster", "snail", "spider", "worm"),
    ("baby", "boy", "girl", "man", "woman"),
    ("crocodile", "dinosaur", "lizard", "snake", "turtle"),
    ("hamster", "mouse", "rabbit", "shrew", "squirrel"),
    ("maple_tree", "oak_tree", "palm_tree", "pine_tree", "willow_tree"),
    ("bicycle", "bus", "motorcycle", "pickup_truck", "train"),
    ("lawn_mower", "rocket", "streetcar", "tank", "tractor"),
)
CIFAR100 = {
    name: following for names in SUPERCLASSES for name, following in pairwise((*names, names[0]))
}
PUBLISHED = (FASHION, CIFAR10, CIFAR100)


def class_map(typed: Any, classes: Sequence[str]) -> dict[int, int]:
    """The class that each class is taken for, by numbers; classes that are not in it stay.

    `typed` is the map of a config, by names or numbers; None stands for the published map, which is
    found by the names of the classes. ConfigError if there is none, or for a map that is wrong.
    """
    if typed is None:
        typed = _published(classes)
    if not isinstance(typed, Mapping):
        raise ConfigError(
            KEY, f"expected a map of classes, as in 'noise.map={{cat: dog, dog: cat}}', got {typed}"
        )
    numbers: dict[int, int] = {}
    for name, other in typed.items():
        number = class_number(name, classes, KEY)
        if number in numbers:
            raise ConfigError(KEY, f"expected each class once on the left, got {name} twice")
        numbers[number] = class_number(other, classes, KEY)
    if not any(number != other for number, other in numbers.items()):
        raise ConfigError(KEY, "expected a class that is taken for another one, got none")
    return numbers


def _published(classes: Sequence[str]) -> dict[str, str]:
    for names in PUBLISHED:
        if names.keys() | set(names.values()) <= set(classes) and _is_whole(names, classes):
            return names
    raise ConfigError(
        KEY,
        "has to be given for these classes, as in 'noise.map={cat: dog, dog: cat}': asymmetric "
        "noise is published for Fashion-MNIST, CIFAR-10 and CIFAR-100 alone",
    )


def _is_whole(names: Mapping[str, str], classes: Sequence[str]) -> bool:
    """Whether these are the classes of that data set, and not some that share a few names."""
    return len(classes) == (100 if names is CIFAR100 else 10)
