"""A worked example: losses at the scores of one image, with every step from scores to values."""

from collections.abc import Mapping
from functools import partial
from math import log
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float64
from scipy.special import entr, log_softmax
from torch import Tensor

from xent_bench.certificates.catalogue import in_nats
from xent_bench.certificates.population import least_value
from xent_bench.config.configure import ConfigError
from xent_bench.config.targets import target_kind
from xent_bench.offer import offer
from xent_bench.tables import Table, joined

OFF_ONE = 1e-6  # the shares of a target may miss a sum of 1 by this
ROUNDING = 1e-12  # smaller values are rounding errors of a search, and shown as 0
LARGEST_SCORE = 700.0  # exp of a larger one has no float64


class Example(NamedTuple):
    """The scores of one image by class, and its label as a distribution over the classes."""

    scores: dict[str, float]
    label: dict[str, float]

    @property
    def true_class(self) -> int | None:
        """The place of the label's class; None if several classes have a share of it."""
        shares = list(self.label.values())
        return shares.index(1.0) if 1.0 in shares else None


class AtExample(NamedTuple):
    """A loss at an example: its value, and the gradient by the score of each class.

    least: the smallest value that the loss has with this label, over all scores.
    by_class_size: whether it depends on the class counts of train, here taken as equal.
    """

    value: float
    least: float
    gradient: tuple[float, ...]
    in_nats: bool
    by_class_size: bool


def example(scores: str, true: str | None, label: str | None) -> Example:
    """Read scores as 'dog=-3.44,cat=1.16', and a true class or the shares of a label.

    Classes without a share have 0. ConfigError says what was expected instead.
    """
    by_class = _numbers("--at", scores)
    if len(by_class) < 2:
        raise ConfigError("--at", f"expected the scores of two classes at least, got {scores}")
    if (true is None) == (label is None):
        raise ConfigError("--at", "expected --true CLASS or --target CLASS=SHARE,... with it")
    shares = {str(true): 1.0} if label is None else _numbers("--target", label)
    option = "--true" if label is None else "--target"
    for name in shares:
        if name not in by_class:
            raise ConfigError(option, f"expected a class of --at ({', '.join(by_class)}): {name}")
    if min(shares.values()) < 0 or abs(sum(shares.values()) - 1) > OFF_ONE:
        total = f"{sum(shares.values()):g}"
        raise ConfigError(option, f"expected shares of at least 0 that sum to 1, got {total}")
    return Example(by_class, {name: shares.get(name, 0.0) for name in by_class})


def _numbers(option: str, text: str) -> dict[str, float]:
    """Read 'dog=-3.44,cat=1.16' as a dict. ConfigError, with the option, for anything else."""
    numbers: dict[str, float] = {}
    for part in text.split(","):
        name, _, number = (word.strip() for word in part.rpartition("="))
        try:
            value = float(number)
        except ValueError:
            value = float("nan")
        if not name or name in numbers or not abs(value) <= LARGEST_SCORE:
            raise ConfigError(
                option,
                "expected CLASS=NUMBER,CLASS=NUMBER with each class once and numbers between "
                f"-{LARGEST_SCORE:g} and {LARGEST_SCORE:g}, got {part.strip() or text!r}",
            )
        numbers[name] = value
    return numbers


def losses_at(losses: Mapping[str, "partial[Any]"], given: Example) -> dict[str, AtExample | None]:
    """Each loss at the example; None for a loss that takes one class where several have a share.

    Losses that ask for the class counts of train get equal ones.
    """
    return {name: _at(loss, given) for name, loss in losses.items()}


def _at(loss: "partial[Any]", given: Example) -> AtExample | None:
    scores = torch.tensor(list(given.scores.values()), dtype=torch.float64)
    classes = len(scores)
    given_values = {*loss.keywords}
    loss = offer(loss, class_counts=torch.ones(classes, dtype=torch.long))
    by_class_size = "class_counts" in {*loss.keywords} - given_values
    is_of_one_class = target_kind(loss.func) == "Index"
    if is_of_one_class and given.true_class is None:
        return None
    shares = torch.tensor(list(given.label.values()), dtype=torch.float64)
    target = torch.tensor([given.true_class]) if is_of_one_class else shares[None]

    def value(logits: Tensor) -> Tensor:
        per_example: Tensor = loss(logits[None], target)
        return per_example[0]

    at = scores.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(value(at), at, materialize_grads=True)
    # a value that the search did not reach shows that it is not the least
    least = min(least_value(value, shares), float(value(scores)))
    slopes = tuple(gradient.tolist())
    return AtExample(float(value(scores)), least, slopes, in_nats(loss), by_class_size)


def steps_table(given: Example) -> Table:
    """Table from scores to probabilities, a row for each class, and what follows from them."""
    z = np.array([*given.scores.values()])
    q = np.array([*given.label.values()])
    log_p = log_softmax(z)
    rows = [
        [
            name,
            f"{z[k]:g}",
            _size(np.exp(z[k]), 2),
            _size(np.exp(log_p[k]), 4),
            f"{q[k]:g}",
            *(_size(-log_p[k] / unit, 4) for unit in (1.0, log(2))),
        ]
        for k, name in enumerate(given.scores)
    ]
    rows.append(["sum", "", _size(np.exp(z).sum(), 2), "1", "1", "", ""])
    headings = ["class", "score z", "exp z", "p", "label q", "-log p\nnats", "-log2 p\nbits"]
    notes = [
        "p = exp z / sum of exp z (softmax). -log p is the information of a class.",
        *_sums(q, log_p),
    ]
    return Table("From scores to probabilities", headings, rows, notes)


def _sums(q: Float64[np.ndarray, " c"], log_p: Float64[np.ndarray, " c"]) -> list[str]:
    """Entropies of label and prediction, cross-entropy and divergence, in nats and bits."""
    cross = -float(np.einsum("i,i->", q[q > 0], log_p[q > 0]))
    of_label, of_prediction = float(entr(q).sum()), float(entr(np.exp(log_p)).sum())
    sums = {
        "cross-entropy H(q, p) = -sum q log p": cross,
        "entropy of the label H(q)": of_label,
        "divergence KL(q || p) = H(q, p) - H(q)": cross - of_label,
        "entropy of the prediction H(p)": of_prediction,
    }
    return [
        f"{name}: {_size(value, 4)} nats, {_size(value / log(2), 4)} bits."
        for name, value in sums.items()
    ]


def losses_table(at: Mapping[str, AtExample | None], given: Example) -> Table:
    """Table of the losses at the example: value, least value for this label, and gradient."""
    headings = [
        "loss",
        "value",
        "unit",
        "bits",
        "least",
        *(f"by z of\n{name}" for name in given.scores),
    ]
    rows = []
    for name, point in at.items():
        if point is None:
            rows.append([name, *["-"] * (len(headings) - 1)])
            continue
        rows.append(
            [
                name,
                _size(point.value, 4),
                "nats" if point.in_nats else "",
                _size(point.value / log(2), 4) if point.in_nats else "",
                _size(point.least, 4),
                *(f"{slope + 0.0:+.4f}" for slope in point.gradient),
            ]
        )
    notes = [
        "least: the smallest value that any scores between -50 and 50 have with this label. By z "
        "of: the gradient; training moves each score against it."
    ]
    by_class_size = [name for name, point in at.items() if point and point.by_class_size]
    if by_class_size:
        notes.append(
            f"Value for one image of each class in train, on whose numbers it depends: "
            f"{joined(by_class_size)}."
        )
    if None in at.values():
        notes.append("-: the loss takes one true class, and several classes have a share.")
    return Table("Losses at these scores", headings, rows, notes)


def loss_records(at: Mapping[str, AtExample | None], given: Example) -> list[dict[str, Any]]:
    """A record for each loss, with a column `gradient/CLASS` for each class.

    That of a loss that takes one class, where several have a share, has its name alone.
    """
    return [
        {"loss": name}
        if point is None
        else {"loss": name, "value": point.value, "in_nats": point.in_nats, "least": point.least}
        | {
            f"gradient/{of_class}": slope
            for of_class, slope in zip(given.scores, point.gradient, strict=True)
        }
        for name, point in at.items()
    ]


def _size(value: float, decimals: int) -> str:
    """The number with these decimals; in powers of ten where it is too small or large for them."""
    value = value if abs(value) > ROUNDING else 0.0
    shown = f"{value:.{decimals}f}"
    if value and (abs(value) >= 1e6 or float(shown) == 0):
        return f"{value:.2g}"
    return shown
