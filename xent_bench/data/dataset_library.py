"""Sets of the datasets library, read from a folder or by a name of the hub, without its prints."""

import errno
import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from xent_bench.cache_folder import cache_folder
from xent_bench.data.image_files import shown
from xent_bench.data.root_folder import root_folder
from xent_bench.failures import DataError

HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?", re.ASCII)


def splits_of(
    root: str, config: str | None, revision: str | None, download: bool
) -> dict[str, Any]:
    """The library's splits of a folder, of a Parquet file, or of a name of the hub.

    The network is used for a name of the hub with `download` alone, and code that comes with a set
    is never run. DataError says in one line what cannot be read.
    """
    place = root_folder(root)
    is_local = os.path.exists(place)
    if not is_local and not HUB_NAME.fullmatch(root):
        raise DataError(f"expected a folder or a name of the hub as data.root, got {shown(root)}")
    try:
        import datasets
    except ImportError as error:
        raise DataError(
            "data=huggingface needs the datasets library: pip install 'xent-bench[huggingface]'"
        ) from error
    with _quiet_and_offline(is_offline=is_local or not download):
        try:
            content = _of_folder(place, config) if is_local else _of_hub(root, config, revision)
        except MemoryError:
            raise
        except Exception as error:  # the library passes on errors of many others
            raise _as_data_error(root, error, is_local=is_local, download=download) from error
    if isinstance(content, datasets.DatasetDict):
        return dict(content)
    return {"train": content}


def _of_folder(place: Path, config: str | None) -> Any:
    import datasets

    place = Path(os.path.abspath(place))
    if any((place / name).exists() for name in ("dataset_dict.json", "state.json")):
        return datasets.load_from_disk(str(place))
    cache = str(cache_folder() / "datasets")  # where Parquet is kept as Arrow, which can be mapped
    if place.is_file():
        return datasets.load_dataset("parquet", data_files=str(place), cache_dir=cache)
    return datasets.load_dataset(str(place), config, cache_dir=cache)


def _of_hub(root: str, config: str | None, revision: str | None) -> Any:
    import datasets

    return datasets.load_dataset(root, config, revision=revision)


def _as_data_error(root: str, error: Exception, *, is_local: bool, download: bool) -> Exception:
    cause = error.__cause__ or error
    if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
        return cause
    reason = shown(" ".join(str(cause).split()) or type(cause).__name__)
    if is_local:
        return DataError(f"cannot read {shown(root)} as a set of the datasets library: {reason}")
    if not download:
        return DataError(
            f"data.root={shown(root)}: no such folder, and no set of this name was downloaded "
            "before; data.download=true downloads it from the Hugging Face hub"
        )
    return DataError(f"cannot download {shown(root)} from the Hugging Face hub: {reason}")


@contextmanager
def _quiet_and_offline(*, is_offline: bool) -> Iterator[None]:
    """Keep the library from printing, and with `is_offline` from using the network."""
    import datasets
    from huggingface_hub import constants
    from huggingface_hub.utils.tqdm import disable_progress_bars

    held = datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE
    bars = datasets.is_progress_bar_enabled()
    loggers = [logging.getLogger(name) for name in ("datasets", "huggingface_hub")]
    levels = [logger.level for logger in loggers]
    datasets.disable_progress_bars()
    with suppress(Warning):  # of an environment variable that asks for them
        disable_progress_bars()
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    if is_offline:
        datasets.config.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE = held
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if bars:
            datasets.enable_progress_bars()
