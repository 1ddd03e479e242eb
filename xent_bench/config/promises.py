"""The promise of a target: its annotations say that it returns what its group is for.

A config names any function of any module, and subprocess.run is one. Nothing is called before its
annotations, or its class, promise a net, an optimizer, a set of images, a factor, or a loss.
"""

from collections.abc import Mapping
from inspect import isclass
from typing import Any

# What a target of each group returns: where the type is defined, and how a user writes it. They are
# compared by name, since the modules of some take seconds to import.
RETURNS = {
    "data": ("xent_bench.data.image_set.ImageSet", "ImageSet"),
    "model": ("torch.nn.modules.module.Module", "nn.Module"),
    "optimizer": ("torch.optim.optimizer.Optimizer", "torch.optim.Optimizer"),
    "schedule": ("builtins.float", "float"),
}
SIGNATURES = {
    "data": "def {}(...) -> ImageSet",
    "model": "def {}(shape, classes, ...) -> nn.Module",
    "optimizer": "def {}(net, ...) -> torch.optim.Optimizer",
    "schedule": "def {}(step, steps, ...) -> float",
    "loss": "def {}(logits: Logits, target: Index, ...) -> PerExample",
}


def broken_promise(group: str, target: str, function: Any, hints: Mapping[str, Any]) -> str:
    """Say what annotation a target lacks; an empty text if it promises what its group needs.

    `hints` are its annotations. A class promises itself; a loss, by its `target`, that it is one.
    """
    name = target.rpartition(".")[2]
    way_out = f"as in `{SIGNATURES[group].format(name)}`; {target} was not called"
    if group == "loss":
        if "target" in hints:  # Index or Distribution: `target_kind` reads which of them
            return ""
        expected = f"expected {name}'s target to be annotated Index or Distribution"
        return f"{expected}, got None: {way_out}"
    place, shown = RETURNS[group]
    promised = function if isclass(function) else hints.get("return")
    if isclass(promised) and place in map(_place, promised.__mro__):
        return ""
    return f"expected a function that returns {shown} and is annotated so, {way_out}"


def _place(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
