"""The form of a claim's file, and the part of it that is fixed before the first run.

A file has the claim in words and its source, the arms that are compared, a design for each size of
computer, the parts of the claim that are tested, and the rules that turn their outcomes into a
verdict. What decides the verdict is hashed; a source may be corrected without another hash.
"""

import hashlib
import json
import re
from itertools import product
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

from xent_bench.claims.yardstick import check_metric
from xent_bench.comparison.yardsticks import CHOICES

Text: TypeAlias = Annotated[str, Field(min_length=1, max_length=1000)]
Name: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]{0,49}$")]
Number: TypeAlias = int | float
Hyper: TypeAlias = tuple[tuple[str, Number], ...]  # hyper-parameters with their values, by key
Size: TypeAlias = Literal["cpu", "gpu"]
Protocol: TypeAlias = Literal["published", "fair"]
PROTOCOLS: tuple[Protocol, ...] = ("published", "fair")
TUNED = re.compile(r"(optimizer\.\w+|clip_norm|ema)$")
WORD = re.compile(r"[\w/.]+=[^\s,]+$")
FOREIGN_SET = re.compile(r"foreign=\[(\w+)")
SET_BY_DESIGN = ("loss", "seed", "name", "experiment", "tags", "notes", "machine.runs")
DIGITS = 16  # of the hash that is shown


class Strict(BaseModel):
    """A part of the file, in which an unknown key is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Source(Strict):
    """The publication that makes the claim."""

    authors: Text
    year: Annotated[int, Field(ge=1900, le=2100)]
    arxiv: Annotated[str, Field(pattern=r"^\d{4}\.\d{4,5}$")] | None = None
    title: Text

    def shown(self) -> str:
        """The source in one line, with the address of its preprint if it has one."""
        at = "" if self.arxiv is None else f", arXiv:{self.arxiv}"
        return f"{self.authors}, {self.year}: {self.title}{at}"


class Design(Strict):
    """The runs of a claim: a setting, seeds, and the values that are tuned."""

    setting: Text  # words of xent-train that all arms share
    seeds: Annotated[int, Field(ge=2, le=1000)]  # the seeds 0, 1, ... of each arm and value
    # values of each hyper-parameter, the same for all arms; at least one, for the fair protocol
    tuning: Annotated[dict[str, list[Number]], Field(min_length=1)]
    published: dict[str, Number]  # the one value of each as the claim was published
    choose_by: str = "val/nll"  # the metric on val that chooses, in the fair protocol

    @model_validator(mode="after")
    def check(self) -> Self:
        """Raise a ValueError for words, keys or values that no run can have."""
        check_words(self.setting)
        self._check_tuning()
        if tuned := keys_of(self.setting) & self.tuning.keys():
            raise ValueError(f"setting: {min(tuned)} is tuned; expected it not among the words")
        if self.choose_by not in CHOICES:
            raise ValueError(f"choose_by: expected one of {', '.join(CHOICES)}")
        if self.published.keys() != self.tuning.keys():
            raise ValueError("published: expected one value for each key of tuning, and no other")
        for key, value in self.published.items():
            if value not in self.tuning[key]:
                raise ValueError(f"published.{key}: expected one of {self.tuning[key]}")
        return self

    def _check_tuning(self) -> None:
        """Raise a ValueError for a key that cannot be tuned, or for two equal values."""
        for key, values in self.tuning.items():
            if not TUNED.match(key):
                raise ValueError(f"tuning: expected optimizer.KEY, clip_norm or ema, got {key!r}")
            if len(set(values)) != len(values) or not values:
                raise ValueError(f"tuning.{key}: expected different values, got {values}")

    def foreign(self) -> str:
        """The first foreign set of the setting; empty if it has none."""
        match = FOREIGN_SET.search(self.setting)
        return match[1] if match else ""

    def points(self) -> list[Hyper]:
        """Each combination of the tuned values."""
        return [
            tuple(zip(self.tuning, values, strict=True))
            for values in product(*self.tuning.values())
        ]

    def of_protocol(self, protocol: Protocol) -> list[Hyper]:
        """The combinations that a protocol has: all if fair, else the published one."""
        published = tuple((key, self.published[key]) for key in self.tuning)
        return self.points() if protocol == "fair" else [published]


class Part(Strict):
    """One comparison that the claim implies: an arm against another one, by a metric."""

    says: Text
    arm: Name
    against: Name
    expect: Literal["better", "worse", "as_good", "same"]
    published: str  # the metric of the published protocol
    fair: str  # that of the fair protocol
    margin: Annotated[Number, Field(gt=0)] | None = None  # of a tie, in the unit that is shown

    @model_validator(mode="after")
    def check(self) -> Self:
        """Raise a ValueError for an unknown metric, or for a margin that is missing or idle."""
        for protocol in PROTOCOLS:
            check_metric(self.metric(protocol))
        if (self.margin is None) != (self.expect == "same"):
            raise ValueError("margin: expected one, except for expect: same, which has none")
        return self

    def metric(self, protocol: Protocol) -> str:
        """The key of the metric by which a protocol tests this part."""
        return self.fair if protocol == "fair" else self.published


class Rules(Strict):
    """The rules that turn outcomes of parts into the verdict of a protocol, and of the claim."""

    replicated: Literal["all_shown", "most_shown", "any_shown"]
    not_replicated: Literal["any_refuted", "most_refuted", "all_refuted"]
    only_as_published: Literal["fair_not_replicated", "never"]


class Claim(Strict):
    """The content of a claim's file."""

    claim: Text
    sources: Annotated[list[Source], Field(min_length=1)]
    shown_on: Text
    arms: Annotated[dict[Name, str], Field(min_length=2)]  # words of xent-train by name
    sizes: dict[Size, Design]
    parts: Annotated[list[Part], Field(min_length=1)]
    rules: Rules
    mechanism: Text  # what the small size can show of the claim, and what it cannot

    @model_validator(mode="after")
    def check(self) -> Self:
        """Raise a ValueError where parts of the file do not fit each other."""
        if "cpu" not in self.sizes:
            raise ValueError("sizes: expected a size cpu")
        for name, words in self.arms.items():
            check_words(words, of_arm=True)
            if sum(word.startswith("loss=") for word in words.split()) != 1:
                raise ValueError(f"arms.{name}: expected one loss=NAME among the words")
            for size, design in self.sizes.items():
                if tuned := keys_of(words) & design.tuning.keys():
                    raise ValueError(
                        f"arms.{name}: {min(tuned)} is tuned at sizes.{size}; expected it not "
                        "among the words"
                    )
        self._check_parts()
        self._check_margins()
        return self

    def _check_parts(self) -> None:
        """Raise a ValueError for a part of arms or of foreign images that the claim lacks."""
        for place, part in enumerate(self.parts):
            for arm in (part.arm, part.against):
                if arm not in self.arms:
                    raise ValueError(f"parts.{place}: {arm} is not among the arms")
            if part.arm == part.against:
                raise ValueError(f"parts.{place}: expected two different arms")
            for size, design in self.sizes.items():
                if "/*/" in part.published + part.fair and not design.foreign():
                    raise ValueError(
                        f"sizes.{size}.setting: expected foreign=[SET] for parts.{place}"
                    )

    def _check_margins(self) -> None:
        """Raise a ValueError where one protocol has two margins of one metric."""
        for protocol in PROTOCOLS:
            margins: dict[str, Number] = {}
            for part in self.parts:
                if part.margin is None:
                    continue
                metric = part.metric(protocol)
                if margins.setdefault(metric, part.margin) != part.margin:
                    raise ValueError(f"parts: expected one margin of {metric}, got two")

    def parts_at(self, size: Size) -> list[Part]:
        """The parts with the name of the size's foreign set in the place of `*` in a metric."""
        name = f"/{self.sizes[size].foreign()}/"
        return [
            part.model_copy(
                update={key: part.metric(key).replace("/*/", name) for key in PROTOCOLS}
            )
            for part in self.parts
        ]

    def decisive(self, size: Size) -> dict[str, Any]:
        """The part of the file that decides the verdict at a size, as plain values."""
        content = self.model_dump(mode="json")
        kept: dict[str, Any] = {key: content[key] for key in ("claim", "arms", "parts", "rules")}
        return kept | {"design": content["sizes"][size]}


def keys_of(words: str) -> set[str]:
    """The keys that words such as 'epochs=20 model=mlp' set."""
    return {word.partition("=")[0] for word in words.split()}


def check_words(words: str, *, of_arm: bool = False) -> None:
    """Raise a ValueError unless these are words of one run, without what the design sets."""
    for word in words.split():
        if not WORD.match(word):
            raise ValueError(f"expected words such as epochs=20, with one value each, got {word!r}")
        key = word.partition("=")[0]
        if key in SET_BY_DESIGN and not (of_arm and key == "loss"):
            raise ValueError(f"{key} is set by the design; expected it not among the words")


def hash_of(decisive: dict[str, Any]) -> str:
    """The SHA-256 of what decides a verdict, cut to 16 digits: 'sha256-0f3a...'.

    The order of keys and the form of numbers (2 or 2.0) do not count.
    """
    canonical = json.loads(json.dumps(decisive), parse_int=float)
    text = json.dumps(canonical, sort_keys=True, separators=(",", ":"))
    return f"sha256-{hashlib.sha256(text.encode()).hexdigest()[:DIGITS]}"
