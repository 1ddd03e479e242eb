"""The catalogue of losses as two tables: their formulas and their certificates."""

import inspect
import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from xent_bench.certificates.certify import Certificate
from xent_bench.certificates.geometry import SPREAD
from xent_bench.certificates.population import LIMIT, long_tail
from xent_bench.certificates.posteriors import OF_THREE, STATED
from xent_bench.config.targets import target_kind
from xent_bench.links import link_of
from xent_bench.tables import Table

NOTATION = (
    "Values are for one example; training minimises their mean over a batch. z: outputs, "
    "c: number of classes, p = softmax(z), s = sigmoid(z), y: true class, "
    "q: target distribution, n_k: number of training images of class k."
)


def formulas(losses: "Mapping[str, partial[Any]]", code: str) -> Table:
    """Table of the losses' formulas; `code` is the format string of code, such as '`{}`'."""
    rows = []
    for name, loss in losses.items():
        link = link_of(loss).func.__name__
        shown = ", ".join(part for part in (code.format(formula(loss)), settings(loss)) if part)
        rows.append([code.format(name), target_kind(loss.func), link, shown])
    return Table("Losses", ["loss", "target", "link", "value"], rows, [NOTATION], text=4)


def properties(certificates: Mapping[str, Certificate], classes: int, code: str) -> Table:
    """Table of the losses' certificates; `code` is the format string of code."""
    stated = ", ".join(f"{p:g}" for p in STATED)
    headings = [
        *("loss", "at\nz = 0", "grad.\n/ ce", "at\nleast", "at\nmost", "symm.", "con-\nvex"),
        *(f"minimiser for\n{stated}", "cali-\nbration", "top\nclass", "fp32\nto", "bf16\nto"),
    ]
    rows = [
        [
            code.format(name),
            f"{certificate.at_uniform:.3g}",
            f"{certificate.gradient:.3g}",
            f"{certificate.infimum:.1g}",
            "∞" if certificate.supremum == float("inf") else f"{certificate.supremum:.3g}",
            "yes" if certificate.symmetric else "no",
            "yes" if certificate.convex else "no",
            _probabilities(certificate.minimiser),
            certificate.calibration or "-",
            certificate.top_class,
            *map(_power, (certificate.largest_float32, certificate.largest_bfloat16)),
        ]
        for name, certificate in certificates.items()
    ]
    return Table("Certificates", headings, rows, _legend(classes))


def formula(loss: "partial[Any]") -> str:
    """Formula of a loss: first line of its docstring, without unit, range and terms of NOTATION."""
    first = (inspect.getdoc(loss.func) or "").partition("\n")[0].partition("; ")[0]
    return re.sub(r",? (with|and) [ps] = \w+\(z\)|, in nats|\.$", "", first)


def in_nats(loss: "partial[Any]") -> bool:
    """Whether the first line of a loss's docstring says that its values are in nats."""
    return ", in nats" in (inspect.getdoc(loss.func) or "").partition("\n")[0]


def settings(loss: "partial[Any]") -> str:
    """Hyper-parameters of a loss, as 'key=value key=value'."""
    short = {k: f"{v:g}" if isinstance(v, float) else str(v) for k, v in loss.keywords.items()}
    return " ".join(f"{key}={value}" for key, value in short.items())


def _legend(classes: int) -> list[str]:
    """Paragraphs that explain the columns of the certificates."""
    posterior = ", ".join(f"{p:g}" for p in STATED)
    counts = long_tail(classes).tolist()
    return [
        f"Computed from the functions, for {classes} classes. Labels are as frequent as the images "
        f"of a long-tailed data set: {counts[0]} of the first class, falling geometrically to "
        f"{counts[-1]} of the last. At z = 0: mean value at equal outputs. Grad. / ce: norm of the "
        "gradient with respect to the outputs, when these are still small (standard deviation "
        f"{SPREAD:g}), over that of ce; it shows why one learning rate does not fit all losses. At "
        "least: the least value for a label of one class; that of ce for a soft label is the "
        "label's entropy. At most: the supremum. Symm., symmetric: the sum over all labels is "
        "constant, which makes the loss robust to symmetric label noise. Convex in the outputs: no "
        "negative curvature was found.",
        "Minimiser: probabilities that the loss learns for an image whose label is one of three "
        f"with probabilities {posterior} (outputs are limited to ±{LIMIT:g}). Calibration: how the "
        f"learnt probabilities relate to the true ones, for this image, {len(OF_THREE) - 1} other "
        "images of three classes and some images of all classes. proper: they are equal, to 1e-5, "
        "as for a strictly proper loss; over, under: the likeliest class gets too much, too "
        "little; either: too much for some images, too little for others; balanced: they are equal "
        "to those of a data set whose classes are equally frequent; -: the loss has no "
        "probabilities until a temperature is fitted. Top class: whether the likeliest class gets "
        "the largest output; majority: only if its probability is above one half.",
        "fp32 to, bf16 to: value and gradient are finite for outputs up to this size.",
    ]


def _probabilities(minimiser: tuple[float, ...] | None) -> str:
    return "-" if minimiser is None else " ".join(f"{p:.2f}" for p in minimiser)


def _power(x: float) -> str:
    """Format a number as a power: '3e38'."""
    return f"{x:.0e}".replace("e+", "e")
