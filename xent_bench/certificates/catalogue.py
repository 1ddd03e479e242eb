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
    "Per example; the mean over a batch is trained. z outputs, c classes, p = softmax(z), "
    "s = sigmoid(z), y the true class, q a target distribution, n_k images of class k in train."
)


def formulas(losses: "Mapping[str, partial[Any]]", code: str) -> Table:
    """What each loss is; `code` formats what is code."""
    rows = []
    for name, loss in losses.items():
        link = link_of(loss).func.__name__
        shown = ", ".join(part for part in (code.format(formula(loss)), settings(loss)) if part)
        rows.append([code.format(name), target_kind(loss.func), link, shown])
    return Table("Losses", ["loss", "target", "link", "value"], rows, [NOTATION], text=4)


def properties(certificates: Mapping[str, Certificate], classes: int, code: str) -> Table:
    """What each loss is like."""
    stated = ", ".join(f"{p:g}" for p in STATED)
    headings = [
        *("loss", "at\nuniform", "gradient\n/ ce", "at\nmost", "sym-\nmetric", "con-\nvex"),
        *(f"minimiser for\n{stated}", "cali-\nbration", "top\nclass", "fp32\nto", "bf16\nto"),
    ]
    rows = [
        [
            code.format(name),
            f"{each.at_uniform:.3g}",
            f"{each.gradient:.3g}",
            "∞" if each.supremum == float("inf") else f"{each.supremum:.3g}",
            "yes" if each.symmetric else "no",
            "yes" if each.convex else "no",
            "-" if each.minimiser is None else " ".join(f"{p:.2f}" for p in each.minimiser),
            each.calibration or "-",
            each.top_class,
            *(_power(x) for x in (each.largest_float32, each.largest_bfloat16)),
        ]
        for name, each in certificates.items()
    ]
    return Table("Certificates", headings, rows, _legend(classes))


def formula(loss: "partial[Any]") -> str:
    """The first line of its docstring, without unit, range and what NOTATION says already."""
    first = (inspect.getdoc(loss.func) or "").partition("\n")[0].partition("; ")[0]
    return re.sub(r",? (with|and) [ps] = \w+\(z\)|, in nats|\.$", "", first)


def settings(loss: "partial[Any]") -> str:
    """Its hyper-parameters, as `key=value` each."""
    short = {k: f"{v:g}" if isinstance(v, float) else str(v) for k, v in loss.keywords.items()}
    return " ".join(f"{key}={value}" for key, value in short.items())


def _legend(classes: int) -> list[str]:
    posterior = ", ".join(f"{p:g}" for p in STATED)
    counts = long_tail(classes).tolist()
    return [
        f"Computed from the functions, for {classes} classes with {counts[0]} images of the first, "
        f"falling geometrically to {counts[-1]} of the last; labels are as frequent. At uniform: "
        "the mean value at equal outputs. Gradient: its norm by the outputs, when these are still "
        f"small (standard deviation {SPREAD:g}), over that of ce: why one learning rate does not "
        "fit all. At most: the supremum. Symmetric: the sum over all labels is constant, hence "
        "robust to symmetric label noise. Convex in the outputs: no negative curvature was found.",
        "Minimiser: what is learnt of an image whose label is uncertain among three, with "
        f"probabilities {posterior} (with outputs of at most {LIMIT:g}). "
        f"Calibration, there, at {len(OF_THREE) - 1} other posteriors of three classes and at "
        "some of all: proper finds each, to 1e-5, as a strictly proper loss does; over and under "
        "put more and less on the likeliest class; either, by image; balanced finds them as if "
        "classes were equally frequent; - has no probabilities until a temperature is fitted. "
        "Top class: whether the likeliest comes first; majority: if it has more than half.",
        "To: outputs up to this size leave value and gradient finite.",
    ]


def _power(x: float) -> str:
    return f"{x:.0e}".replace("e+", "e")
