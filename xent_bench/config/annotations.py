"""Annotations of a run: the name it is filed under, notes and tags. They change no number.

Notes and tags become tags of the run, in its folder and in MLflow, as they were typed.
"""

import re
from collections.abc import Mapping
from typing import Any

NOTES = "notes"  # the tag that holds the notes
PRETRAINED = ("pretrained", "pretrained_sha256")  # the weights that a net began with
NAMES = "user_tags"  # the tag that lists the names of the user's tags
# Tags that a run has already; a test compares them with those of a run.
TAKEN = {
    *(
        "chosen",
        "command",
        "commit",
        "compile",
        "dirty",
        "failure",
        "folder",
        "hardware",
        "infinite",
    ),
    *("key", "link", "mlflow", "n_test", "numpy", "owner", "python", "pytorch-lightning"),
    *("scaled_map", "torch", "torchvision", "xent-bench", "batch_statistics", NOTES, NAMES),
    *(*PRETRAINED, "pretrained_fit"),
    *("mlflow_run_id", "superseded_by"),
    *("chosen_epoch", "epochs_trained", "stopped_early", "trained_weights", "design"),
}
TAKEN_ENDINGS = ("_sha256", "_verdict")
TAG_NAME = re.compile(r"(?!mlflow\.)[A-Za-z0-9_][A-Za-z0-9_./-]{0,99}")
LONGEST_NAME = 100  # characters of a name: a file system allows 255 bytes
LONGEST_TEXT = 4000  # characters of notes or of a tag: MLflow takes 8,000, some stores 5,000


def complaint_of_name(name: str) -> str | None:
    """The reason why runs cannot be filed under this name, or None."""
    if (
        not name
        or "/" in name
        or name.startswith(".")
        or name != name.strip()
        or not name.isprintable()
    ):
        return f"expected a folder's name, got {name!r}"
    if len(name) > LONGEST_NAME:
        return f"expected at most {LONGEST_NAME} characters, got {len(name)}"
    if name == "mlflow":
        return "mlflow is the folder of MLflow's own files"
    return None


def complaint_of_tags(tags: Any) -> str | None:
    """The reason why a run cannot have these tags, or None; no tags (None) are right too."""
    if not isinstance(tags, Mapping | None):
        return f"expected names and values, as in 'tags={{team: vision}}', got {tags!r}"[:200]
    for name, value in (tags or {}).items():
        if not TAG_NAME.fullmatch(str(name)):
            return f"expected names of letters, digits and _ . / -, got {str(name)[:100]!r}"
        if name in TAKEN or str(name).endswith(TAKEN_ENDINGS):
            return f"{name!r} is a tag that every run has already: choose another name"
        if isinstance(value, Mapping | list | None):
            return f"expected a text or a number as {name}, got {value!r}"[:200]
        if len(str(value)) > LONGEST_TEXT:
            return f"expected at most {LONGEST_TEXT} characters as {name}, got {len(str(value))}"
    return None


def annotation_tags(notes: str | None, tags: Mapping[str, Any] | None) -> dict[str, str]:
    """The notes and tags of a user, with the names of the tags, as tags of a run."""
    annotations = {str(name): str(value) for name, value in (tags or {}).items()}
    if annotations:
        annotations[NAMES] = " ".join(sorted(annotations))
    if notes:
        annotations[NOTES] = notes
    return annotations


def user_tags(run_tags: Mapping[str, str]) -> dict[str, str]:
    """The tags of a run that its user gave it."""
    return {name: run_tags[name] for name in run_tags.get(NAMES, "").split() if name in run_tags}
