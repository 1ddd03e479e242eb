"""Claims by name, read from the files of conf/claims and of a folder of the user's own."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from xent_bench.claims.schema import Claim
from xent_bench.config.files import CLAIMS, FileError, naming
from xent_bench.config.nearest import nearest
from xent_bench.config.schema import CONF
from xent_bench.failures import UsageError

NAME = re.compile(r"(?!(null|true|false|none|yes|no|on|off)$)[A-Za-z][\w.-]{0,59}", re.I | re.A)
NUMBERS = ("int", "float")  # the last step to a value that may be either, in pydantic's words
EXPONENT = re.compile(r"[+-]?\d+e[+-]?\d+", re.IGNORECASE)  # a float, but not in YAML 1.1
SCALARS = (str, int, float, type(None))


def claim_files(added: Path | None) -> dict[str, Path]:
    """The files of all claims by name; one in the added folder hides ours of the same name."""
    folders = [CONF, *([] if added is None else [added])]
    files = [file for folder in folders for file in sorted((folder / CLAIMS).glob("*.yaml"))]
    return {file.stem: file for file in files}


def find_claim(name: str, files: Mapping[str, Path]) -> Path:
    """The file of a claim; a UsageError with similar names if there is none.

    The name is a word of the sweeps' commands, so it has no character with a meaning there.
    """
    if name not in files:
        raise UsageError(f"{name}: no such claim; {nearest(name, files)}")
    if not NAME.fullmatch(name):
        raise UsageError(
            f"{files[name]}: expected a file's name that begins with a letter, of letters, digits, "
            "'-', '_' and '.' alone, at most 60, that is no word of YAML such as null"
        )
    return files[name]


def read_claim(file: Path) -> Claim:
    """Read a claim's file; a UsageError names the file, the first key at fault and the mistake."""
    try:
        with naming(file):
            content = yaml.load(file.read_text(encoding="utf-8"), Loader=_WithoutTwins)
    except FileError as error:
        raise UsageError(str(error)) from None
    try:
        return Claim.model_validate(content)
    except ValidationError as error:
        raise UsageError(f"{file}: {_complaint(error)}") from None


def _complaint(error: ValidationError) -> str:
    """The first of the mistakes as 'key: complaint'; those of whole parts come last."""
    first = min(error.errors(), key=lambda mistake: mistake["type"] == "value_error")
    place, given = first["loc"], first["input"]
    words = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        words = f"no such key; {nearest(str(place[-1]), _keys_beside(place))}"
    elif first["type"] == "missing":
        words = "expected this key"
    elif place and place[-1] in NUMBERS:  # neither kind of number
        place = place[:-1]
        words = f"expected a finite number, got {given!r}"
        if isinstance(given, str) and EXPONENT.fullmatch(given):
            words += "; YAML takes it for a text: write 1.0e-3, not 1e-3"
    elif first["type"] != "value_error" and isinstance(given, SCALARS):
        words += f", got {given!r}"
    key = ".".join(map(str, place))
    return f"{key}: {words}" if key else words


def _keys_beside(place: tuple[int | str, ...]) -> list[str]:
    """The keys that the mapping around a place can have."""
    model: Any = Claim
    for step in place[:-1]:
        fields = getattr(model, "model_fields", None)
        if fields is not None and step in fields:
            model = _inner(fields[step].annotation)
    return list(getattr(model, "model_fields", {}))


def _inner(annotation: Any) -> Any:
    """The model of the values of a list or a mapping, or the annotation itself."""
    arguments = getattr(annotation, "__args__", ())
    return arguments[-1] if arguments else annotation


class _WithoutTwins(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML ships no types
    """A loader of plain YAML that refuses a key that stands twice in one mapping."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twin = next((key for key in keys if keys.count(key) > 1), None)
        if twin is not None:
            raise ValueError(f"expected each key once, got {twin!r} twice")
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping
