"""The refusal of a run whose images are not there, before anything else of it is prepared."""

from omegaconf import DictConfig

from xent_bench.config.identity import run_folder
from xent_bench.data.image_files import shown
from xent_bench.data.root_folder import root_folder
from xent_bench.failures import DataError
from xent_bench.runs.files import has_result


def refuse_missing_images(config: DictConfig) -> None:
    """Raise a DataError if `data.root` of a run that is to be trained names nothing.

    Data of a function of the user's own, or of a hub, need no file of the name of their root.
    """
    root = config.data.get("root")
    target = str(config.data["_target_"])
    needs_none = target.endswith(".huggingface") or bool(config.data.get("download"))
    if root is None or needs_none or not target.startswith("xent_bench."):
        return
    if not has_result(run_folder(config)) and not root_folder(str(root)).exists():
        raise DataError(f"data.root={shown(str(root))}: no such file or folder")
