"""The lines of Python that use an exported net, for its model card; tests execute them."""

from typing import Any

ONNX = """\
import json
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("model.onnx")
images = {zeros}  # yours in its place
probabilities = session.run(None, {{"images": images}})[0]

classes = json.loads(session.get_modelmeta().custom_metadata_map["classes"])
print(classes[probabilities[0].argmax()], probabilities[0].max())
"""
PT2 = """\
import json
import numpy as np
import torch

files = {{"model.json": ""}}
net = torch.export.load("model.pt2", extra_files=files).module()
images = {zeros}  # yours in its place
probabilities = net(torch.from_numpy(images)).numpy()

classes = json.loads(files["model.json"])["classes"]
print(classes[probabilities[0].argmax()], probabilities[0].max())
"""
SAFETENSORS = """\
import numpy as np
import torch
from xent_bench.export.safetensors_file import load

net = load("model.safetensors", device="cpu")
images = {zeros}  # yours in its place
probabilities = net(torch.from_numpy(images)).numpy()

classes = net.record.classes
print(classes[probabilities[0].argmax()], probabilities[0].max())
"""
LINES = {"onnx": ONNX, "pt2": PT2, "safetensors": SAFETENSORS}
NEEDS = {
    "onnx": "`pip install onnxruntime` is all it needs, no PyTorch:",
    "pt2": "`pip install torch` is all it needs. `torch.export.load` may run code that is in a "
    "file, so load only files that you trust:",
    "safetensors": "The weights are data; `pip install xent-bench` has the code of the net:",
}
PICTURE = """\
from PIL import Image, ImageOps

picture = Image.open("photo.jpg")
{draft}picture = ImageOps.exif_transpose(picture).convert("{mode}")
images = np.asarray(picture){axes}
"""
DRAFT = """\
picture.draft(None, ({side}, {side}))  # a large JPEG is decoded smaller, as for training
"""
# from height, width and channels to a batch of one image with its channels first
MODES = {1: ("L", "[None, None]"), 3: ("RGB", ".transpose(2, 0, 1)[None]")}


def use_lines(form: str, input_form: dict[str, Any]) -> str:
    """The lines for a form of exported nets; `input_form` describes the input."""
    sizes = {"n": 1, "height": 300, "width": 400}  # of the example, where they may vary
    shape = tuple(sizes.get(side, side) for side in input_form["shape"])
    return LINES[form].format(zeros=f"np.zeros({shape}, np.{input_form['dtype']})")


def picture_lines(input_form: dict[str, Any]) -> str:
    """The lines that make an input of an image file; empty where Pillow has no such image."""
    channels = input_form["shape"][1]
    if input_form["dtype"] != "uint8" or channels not in MODES:
        return ""
    mode, axes = MODES[channels]
    side = input_form.get("decoded_to")
    draft = DRAFT.format(side=side) if side else ""
    return PICTURE.format(mode=mode, axes=axes, draft=draft)
