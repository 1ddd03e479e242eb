"""The account that a loader gives of a folder or a table: what it used, and what it left out and why."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Listing:
    """The folder in which a loader found its images, and what it left out there."""

    folder: str  # the path that the loader was given
    test_folder: str | None = None  # its folder that is the test split, such as 'val'
    left_out: dict[str, int] = field(default_factory=dict)  # reason -> number of files and folders
    unread: tuple[str, ...] = ()  # names of folders beside those that were read
    val_folder: str | None = None  # its folder that is val and calib, such as 'valid'
    notes: dict[str, str] = field(default_factory=dict)  # what was read as what, and what is odd
