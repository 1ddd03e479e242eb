"""Claims by name, read from the files of conf/claims and of a folder of the user's own."""

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


def claim_files(added: Path | None) -> dict[str, Path]:
    """The files of all claims by name; one in the added folder hides ours of the same name."""
    folders = [CONF, *([] if added is None else [added])]
    files = [file for folder in folders for file in sorted((folder / CLAIMS).glob("*.yaml"))]
    return {file.stem: file for file in files}


def find_claim(name: str, files: Mapping[str, Path]) -> Path:
    """The file of a claim; a UsageError with similar names if there is none."""
    if name not in files:
        raise UsageError(f"{name}: no such claim; {nearest(name, files)}")
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
    key = ".".join(str(part) for part in first["loc"])
    words = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        words = f"no such key; {nearest(str(first['loc'][-1]), _keys_beside(first['loc']))}"
    elif first["type"] == "missing":
        words = "expected this key"
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
