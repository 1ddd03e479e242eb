"""A data set of image files that a table lists: a row for each, with its label."""

import os
from pathlib import Path
from typing import Literal

from xent_bench.data.image_files import ImageFiles, shown
from xent_bench.data.image_set import ImageSet
from xent_bench.data.listing import Listing
from xent_bench.data.preparation import Preparation
from xent_bench.data.prepared_set import prepared_set
from xent_bench.data.root_folder import root_folder
from xent_bench.data.table_columns import choose_columns
from xent_bench.data.table_file import read_table
from xent_bench.data.table_rows import TableRows
from xent_bench.data.table_votes import counted
from xent_bench.failures import DataError
from xent_bench.ranges import ColumnNames, ImageSize, Moments, NaturalNumber


def table(
    *,
    root: str,
    images: str | None = None,
    path: str | None = None,
    label: ColumnNames | None = None,
    split: str | None = None,
    group: str | None = None,
    weight: str | None = None,
    attribute: str | None = None,
    annotator: str | None = None,
    ending: str | None = None,
    size: ImageSize | None = None,
    shorter_side: NaturalNumber | None = None,
    interpolation: Literal["bilinear", "bicubic"] | None = None,
    channels: Literal[1, 3] = 3,
    mean: Moments | None = None,
    std: Moments | None = None,
    flip: bool = True,
    crop: NaturalNumber = 0,
) -> ImageSet:
    """Images that the table `root` lists (CSV, TSV or Parquet), with their labels.

    `path`, `label`, `split`, `group` and `weight` name its columns; those of a usual name need not
    be named, and `none` as one of the last three leaves such a column out. `attribute` names a
    column by whose values scores on test are told apart; there is no usual name. With `annotator`,
    a column too, each row is one vote, and the votes on an image are counted. Paths begin at the
    folder `images`, else at the table's; `ending` (.jpg) is added to them. Several columns as
    `label` hold a class's votes or probabilities each; a row is divided by its sum, and where each
    row names one class alone, these are the labels. Splits are train, val and test, as in
    `image_folder`. Images of one group are never in two splits. The loss of an image in training is
    multiplied by its weight, divided by the mean weight of train; metrics are not weighted. Pixels
    are as `image_folder` says. DataError names wrong rows by their numbers.
    """
    preparation = Preparation.chosen(
        size=size,
        shorter_side=shorter_side,
        interpolation=interpolation,
        channels=channels,
        mean=mean,
        std=std,
        flip=flip,
        crop=crop,
    )
    file = root_folder(root)
    if os.path.isdir(file):
        raise DataError(
            f"expected a table as data.root, got the folder {shown(file)}: data=image_folder reads "
            "folders"
        )
    content = read_table(file)
    named = {
        "split": split,
        "group": group,
        "weight": weight,
        "attribute": attribute,
        "annotator": annotator,
    }
    columns = choose_columns(content, path, label, named)
    notes = columns.notes(content)
    if columns.annotator is not None:
        content, columns = counted(content, columns)
    folder = file.parent if images is None else root_folder(images)
    rows = TableRows(content, columns, Path(os.path.abspath(folder)), ending or "")
    rows.refuse_wrong()
    labels, classes = rows.labels()
    listing = Listing(shown(file), notes=notes)
    files = ImageFiles.of(rows.folder, rows.paths, preparation)
    return prepared_set(
        files,
        labels,
        classes,
        listing=listing,
        groups=rows.groups(),
        weights=rows.weights(),
        attribute=rows.attribute(attribute),
        **rows.official(),
    )
