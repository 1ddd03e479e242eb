"""The origin of a run: its key, and hashes of its images, splits and code.

Every checkpoint holds it, and a run goes on from a checkpoint only if the origin is still the same.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from xent_bench.config.code_hash import changed_module, code_of, digest_of, file_of
from xent_bench.failures import DataError

CODE = ("loss", "model", "optimizer", "schedule")  # groups of the config that hold code
ORIGIN_TEXTS = ("key", "data_sha256", "split_sha256")
CHANGED = "have changed since this run began"


class Origin(NamedTuple):
    """The origin in plain values, as a checkpoint holds it."""

    key: str
    data_sha256: str
    split_sha256: str
    code: dict[str, dict[str, str]]  # group -> name of a module -> its hash

    def tags(self) -> dict[str, str]:
        """The origin as tags of a run: `key`, `data_sha256`, ..., `loss_sha256`, ..."""
        code = {f"{group}_sha256": digest_of(hashes) for group, hashes in self.code.items()}
        data = {"data_sha256": self.data_sha256, "split_sha256": self.split_sha256}
        return {"key": self.key} | data | code


def code_of_parts(
    targets: Mapping[str, str], known: dict[str, dict[str, str]] | None = None
) -> dict[str, dict[str, str]]:
    """Hash the code behind the target of each group.

    `known` holds the hashes of targets that were met before, and is added to: the runs of a group
    share most of their parts.
    """
    known = {} if known is None else known
    for target in {targets[group] for group in CODE} - known.keys():
        known[target] = code_of(target)
    return {group: known[targets[group]] for group in CODE}


def refuse_changes(kept: Mapping[str, Any], now: Origin, checkpoint: Path) -> None:
    """Raise a DataError that names what has changed since the run began, if anything has.

    `kept` is the origin in the checkpoint that the run is to go on from.
    """
    before = _origin_of(kept, checkpoint)
    if before.key != now.key:
        raise DataError(
            f"{checkpoint} is the checkpoint of another run (key {before.key}, expected "
            f"{now.key}); delete it to train anew"
        )
    changes = [*_data_changes(before, now), *_code_changes(before, now)]
    if changes:
        way_out = f"or delete {checkpoint.parent} to train anew"
        raise DataError(f"{' and '.join(changes)}; put back what was there, {way_out}")


def _origin_of(kept: Mapping[str, Any], checkpoint: Path) -> Origin:
    """The origin that a checkpoint holds; a DataError unless it has the form of one."""
    is_origin = all(isinstance(kept.get(name), str) for name in ORIGIN_TEXTS)
    code = kept.get("code")
    if not (
        is_origin
        and isinstance(code, dict)
        and all(isinstance(code.get(group), dict) for group in CODE)
    ):
        raise DataError(f"{checkpoint} does not say which run it is of; delete it to train anew")
    return Origin(**{name: kept[name] for name in ORIGIN_TEXTS}, code=code)


def _data_changes(before: Origin, now: Origin) -> list[str]:
    if before.data_sha256 != now.data_sha256:
        hashes = f"{before.data_sha256[:8]}, now {now.data_sha256[:8]}"
        return [f"the images or labels {CHANGED} (data_sha256 {hashes})"]
    if before.split_sha256 != now.split_sha256:  # another version of torch may draw otherwise
        hashes = f"{before.split_sha256[:8]}, now {now.split_sha256[:8]}"
        return [f"the splits {CHANGED} (split_sha256 {hashes})"]
    return []


def _code_changes(before: Origin, now: Origin) -> list[str]:
    changes = []
    for group in CODE:
        module = changed_module(before.code[group], now.code[group])
        if module is not None:
            name = "net" if group == "model" else group
            place = file_of(module) or module
            changes.append(f"the code of the {name} ({place}) has changed since this run began")
    return changes
