"""timm's names of nets, and the weights that it offers for them."""

import os
import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xent_bench.config.nearest import nearest
from xent_bench.failures import DataError
from xent_bench.models.torchvision_weights import file_of_address
from xent_bench.offered_weights import OTHERWISE, ImagesWanted, OfferedFile, Refused

FILES = ("model.safetensors", "pytorch_model.bin")  # of a repository, the first that is there
# Functions of timm's modules that give a file's tensors the names that the nets have today. timm
# hands them to its own loader, and lists them nowhere.
TRANSLATIONS = ("checkpoint_filter_fn", "_filter_fn", "_filter_torchvision_pretrained")
CROPS = {
    "squash": "timm squeezes images to a square for these weights; here the central square is cut",
    "border": "timm fills images up to a square for these weights; here the central square is cut",
}
# errors of requests and httpx where no connection is made; that of a slow answer is another
NO_CONNECTION = {"ConnectError", "ConnectTimeout", "ConnectionError"}
BLOB = re.compile(r"[0-9a-f]{64}")  # the name of a file in the Hub's cache is its SHA-256


class TimmWeights:
    """The library timm, as a `Library`."""

    def check(self, values: Mapping[str, Any]) -> None:
        """Refused for a name that timm does not list, or where timm is not installed."""
        try:
            from timm.models import list_models  # takes a second to import
        except ImportError as error:
            raise Refused("name", "timm is missing: pip install 'xent-bench[timm]'") from error
        name = str(values.get("name"))
        names = list_models()
        net, dot, tag = name.partition(".")
        if dot and net in names:
            raise Refused(
                "name",
                f"expected model.name={net} and, for its weights, "
                f"model.weights={tag}, got {name!r}",
            )
        if name not in names:
            suggestion = nearest(name, names)
            is_near = suggestion.startswith("did you mean")
            way_out = suggestion if is_near else f"there are {len(names)}: timm.list_models()"
            raise Refused("name", f"timm has no {name!r}; {way_out}")

    def names(self, values: Mapping[str, Any]) -> list[str]:
        """The tags of a net's weights, such as a1_in1k, timm's default first."""
        from timm.models import list_pretrained

        net = str(values["name"])
        tags = [tag for name in list_pretrained(f"{net}.*") for tag in [name.partition(".")[2]]]
        default = _trained(net, None).tag
        return sorted(tags, key=lambda tag: tag != default)

    def file(self, name: str, values: Mapping[str, Any]) -> OfferedFile:
        """The file in the Hugging Face Hub's cache, else in torch's, else where it belongs."""
        trained = _trained(str(values["name"]), name)
        address = trained.url if isinstance(trained.url, str) else ""
        by_address = []
        if address and not trained.custom_load:
            from torch import hub

            by_address = [file_of_address(address, Path(hub.get_dir(), "checkpoints"))]
        by_hub = _files_of_hub(trained) if trained.hf_hub_id else []
        files = [*by_hub, *by_address]
        if not files:
            raise Refused(
                "weights",
                f"timm offers {name} in a form of its own, {address or '?'}, "
                "which is not read here; choose others",
            )
        return next((offered for offered in files if offered.file.is_file()), files[0])

    def images(self, name: str, values: Mapping[str, Any]) -> ImagesWanted:
        """The images of timm's `pretrained_cfg`.

        Its crops that keep the whole image are not made here, and that is said.
        """
        from timm.data.config import resolve_data_config

        wanted: Any = resolve_data_config(  # type: ignore[no-untyped-call]  # timm's
            pretrained_cfg=_trained(str(values["name"]), name).to_dict()
        )
        size = int(wanted["input_size"][-1])
        interpolation = str(wanted["interpolation"])
        return ImagesWanted(
            size,
            int(size / wanted["crop_pct"]),  # rounded down, as timm does
            interpolation if interpolation in ("bilinear", "bicubic") else "bilinear",
            tuple(wanted["mean"]),
            tuple(wanted["std"]),
            CROPS.get(str(wanted["crop_mode"]), ""),
        )

    def translated(
        self, state: dict[str, Any], net: Any, values: Mapping[str, Any]
    ) -> dict[str, Any]:
        """A file's tensors as timm's own loader prepares them, its embeddings of places resized."""
        from timm.models import model_entrypoint

        module = sys.modules[model_entrypoint(str(values["name"])).__module__]
        names = [name for name in TRANSLATIONS if hasattr(module, name)]
        if not names:
            return state
        translate = getattr(module, names[0])
        try:
            return dict(translate(dict(state), net))
        except TypeError:  # some take the tensors alone, as timm's loader tries too
            return dict(translate(dict(state)))


def _trained(net: str, tag: str | None) -> Any:
    """timm's record of a net's weights."""
    from timm.models import get_pretrained_cfg

    return get_pretrained_cfg(net if tag is None else f"{net}.{tag}")


def _files_of_hub(trained: Any) -> list[OfferedFile]:
    """The files of a repository of the Hugging Face Hub that may hold the weights."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.file_download import repo_folder_name

    repository, _, revision = trained.hf_hub_id.partition("@")
    names = [trained.hf_hub_filename] if trained.hf_hub_filename else FILES
    snapshots = Path(HF_HUB_CACHE, repo_folder_name(repo_id=repository, repo_type="model"))
    offered = []
    for name in names:
        cached = try_to_load_from_cache(repository, name, revision=revision or None)
        file = (
            Path(cached)
            if isinstance(cached, str)
            else (snapshots / "snapshots" / (revision or "main") / name)
        )
        blob = os.path.basename(os.path.realpath(file))
        digest = blob if BLOB.fullmatch(blob) else ""
        source = f"{repository} on the Hugging Face Hub"
        download = _Download(repository, tuple(names), revision or None)
        offered.append(OfferedFile(file, digest, source, download))
    return offered


class _Download:
    """Downloads the first file that a repository has into the Hub's cache; returns its place."""

    def __init__(self, repository: str, names: tuple[str, ...], revision: str | None) -> None:
        """`names` of files in the order in which they are tried."""
        self.repository, self.names, self.revision = repository, names, revision

    def __call__(self) -> Path:
        """DataError if the Hub cannot be reached, or has none of the files."""
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError
        from huggingface_hub.utils import logging

        # each of its retries would print a line
        logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # the library's
        reason = _without_connection(self.repository, self.names[0], self.revision)
        for name in self.names if not reason else ():
            try:
                return Path(hf_hub_download(self.repository, name, revision=self.revision))
            except EntryNotFoundError as error:
                reason = str(error)
            except Exception as error:  # of the network, the disk, the Hub: many libraries' errors
                reason = str(error)
                break
        line = " ".join(reason.split())[:300]
        raise DataError(
            f"cannot download {self.names[0]} of {self.repository} ({OTHERWISE}): {line}"
        )


def _without_connection(repository: str, name: str, revision: str | None) -> str:
    """The reason why the Hub cannot be connected to; empty if it can, however slow it answers.

    The library itself tries for 100 s where every connection is refused at once, and no option of
    it says otherwise (huggingface-hub 2.4.0). It goes on to do so where a connection exists.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    address = hf_hub_url(repository, name, revision=revision)
    reason = ""
    for pause in (1.0, 0.0):  # tried again once: a single failure may be chance
        try:
            get_hf_file_metadata(address)  # one request without retries, 10 s to connect
        except Exception as error:  # the download that follows reports all others
            if not {kind.__name__ for kind in type(error).__mro__} & NO_CONNECTION:
                return ""
            reason = f"no connection to {address}: {error}"
            time.sleep(pause)
        else:
            return ""
    return reason
