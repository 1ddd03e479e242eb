"""torchvision's names of nets, and the weights that it offers for them."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlsplit

from xent_bench.config.nearest import nearest
from xent_bench.failures import DataError
from xent_bench.offered_weights import OTHERWISE, ImagesWanted, OfferedFile, Refused

HASH = re.compile(r"-([0-9a-f]{8,64})\.")  # as in resnet18-f37072fd.pth
# the outputs from within googlenet and inception_v3, which the nets are built without
LEFT_OUT = ("aux1.", "aux2.", "AuxLogits.")
# names in old files of DenseNets, such as denselayer1.norm.1.weight
OLD_NAME = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..*)$")


class TorchvisionWeights:
    """The library torchvision, as a `Library`."""

    def check(self, values: Mapping[str, Any]) -> None:
        """Refused for a name that is none of torchvision's classification nets."""
        from torchvision import models  # takes seconds to import

        name = str(values.get("name"))
        names = models.list_models(module=models)
        if name.startswith("quantized_"):
            raise Refused("name", f"a quantized net cannot be trained; expected as {names[0]}")
        if name not in names:
            raise Refused("name", f"torchvision has no {name!r}; {_nearest(name, names)}")

    def names(self, values: Mapping[str, Any]) -> list[str]:
        """The names of a net's weights, such as IMAGENET1K_V2, that of DEFAULT first."""
        weights = _weights(values)
        default = weights["DEFAULT"].name
        return [default, *(member.name for member in weights if member.name != default)]

    def file(self, name: str, values: Mapping[str, Any]) -> OfferedFile:
        """The file in torch's cache: TORCH_HOME/hub/checkpoints, by default in ~/.cache/torch."""
        from torch import hub

        return file_of_address(_weights(values)[name].url, Path(hub.get_dir(), "checkpoints"))

    def images(self, name: str, values: Mapping[str, Any]) -> ImagesWanted:
        """The images of the weights' `transforms()`.

        Inception v3 and GoogLeNet were trained elsewhere on values from -1 to 1, to which
        torchvision's nets take the images back (`transform_input`); here they are normalised so.
        """
        transforms = _weights(values)[name].transforms()
        mean, std = tuple(transforms.mean), tuple(transforms.std)
        if values["name"] in ("googlenet", "inception_v3"):
            mean, std = (0.5,) * 3, (0.5,) * 3
        return ImagesWanted(
            transforms.crop_size[0],
            transforms.resize_size[0],
            transforms.interpolation.value,
            mean,
            std,
        )

    def translated(
        self, state: dict[str, Any], net: Any, values: Mapping[str, Any]
    ) -> dict[str, Any]:
        """A file's tensors without outputs from within, with embeddings of places interpolated."""
        name = str(values["name"])
        if name in ("googlenet", "inception_v3"):
            return {key: value for key, value in state.items() if not key.startswith(LEFT_OUT)}
        if name.startswith("densenet"):
            return {OLD_NAME.sub(r"\1\2", key): value for key, value in state.items()}
        if name.startswith("vit_") and "encoder.pos_embedding" in state:
            from torchvision.models.vision_transformer import interpolate_embeddings

            return dict(
                interpolate_embeddings(net.image_size, net.patch_size, state, reset_heads=False)
            )
        return state


def file_of_address(address: str, folder: Path) -> OfferedFile:
    """A file that torch's cache keeps under the last word of its address."""
    file = folder / os.path.basename(urlsplit(address).path)
    match = HASH.search(file.name)
    digest = match[1] if match else ""

    def download() -> Path:
        from torch.hub import download_url_to_file

        try:
            folder.mkdir(parents=True, exist_ok=True)
            download_url_to_file(address, str(file), digest or None, progress=False)
        except (URLError, OSError, RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise DataError(
                f"cannot download {address} to {file} ({OTHERWISE}): {reason}"
            ) from error
        return file

    return OfferedFile(file, digest, address, download)


def refuse_size(name: str, height: int, width: int, error: BaseException) -> Refused:
    """The refusal of a net that cannot take such images, with the way out."""
    reason = " ".join(str(error).split())[:150] or type(error).__name__
    return Refused(
        "name",
        f"{name} cannot take images of {height} x {width} pixels ({reason}); model.size=224 "
        "resizes them within the net, data.size=224 as they are read from files",
    )


def _weights(values: Mapping[str, Any]) -> Any:
    from torchvision.models import get_model_weights  # takes seconds to import

    return get_model_weights(str(values["name"]))


def _nearest(name: str, names: list[str]) -> str:
    """The nearest of a thousand names; how to list them, where none is near."""
    suggestion = nearest(name, names)
    if suggestion.startswith("did you mean"):
        return suggestion
    listing = "torchvision.models.list_models(module=torchvision.models)"
    return f"there are {len(names)}: {listing}"
