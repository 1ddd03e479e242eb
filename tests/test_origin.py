"""Nothing changes under a run: what it goes on from is what it was begun with, or it is refused."""

import importlib
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from omegaconf import DictConfig
from PIL import Image

from xent_bench.config.code_hash import code_of
from xent_bench.config.explain import exit_code
from xent_bench.config.identity import run_folder
from xent_bench.config.schema import CONF
from xent_bench.failures import DataError
from xent_bench.runs.begun import load_unfinished
from xent_bench.training.checkpoint_files import LastingCheckpointIO, last_checkpoint
from xent_bench.training.run import run

FOLDER = ("data=image_folder", "data.size=8", "data.flip=false", "model=linear", "loss=ce")
SHORT = ("epochs=3", "batch_size=16", "machine.workers=0")

LOSS = """
from helper import scale  # the temperature
from torch.nn import functional as F
from xent_bench.types import Index, Logits, PerExample

def mine(logits: Logits, target: Index) -> PerExample:
    '''Cross-entropy of scaled logits.'''
    return F.cross_entropy(scale(logits), target, reduction="none")
"""
HELPER = """
def scale(logits):
    return {factor} * logits
"""
PARTS = """
from torch import nn, optim

def net(shape, classes, *, width=16, depth=2) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], classes))

def adam(net, *, lr=0.1, beta1=0.9, beta2=0.9, weight_decay=0.0) -> optim.Optimizer:
    return optim.Adam(net.parameters(), lr=lr)

def falling(step, steps, *, warmup=0.1) -> float:
    return 1 - step / steps
"""


class PowerCut(BaseException):
    """Ends a run where it stands."""


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch) -> Callable[[DictConfig], None]:
    """Train a run until the power is cut after its first checkpoint."""
    save = LastingCheckpointIO.save_checkpoint
    monkeypatch.setattr("xent_bench.training.saving.MAX_SHARE", float("inf"))  # after every epoch

    def save_and_cut(*arguments: object, **options: object) -> None:
        save(*arguments, **options)
        raise PowerCut

    def train(config: DictConfig) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(LastingCheckpointIO, "save_checkpoint", save_and_cut)
            with pytest.raises(PowerCut):
                run(config)

    return train


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Sixty images of two classes."""
    draw = np.random.default_rng(0)
    for number, name in enumerate(("cat", "dog")):
        folder = tmp_path / "images" / "train" / name
        folder.mkdir(parents=True)
        for i in range(30):
            pixels = draw.integers(0, 128, (8, 8, 3), np.uint8) + np.uint8(100 * number)
            Image.fromarray(pixels).save(folder / f"{name}{i:02}.png")
    return tmp_path / "images"


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with modules of the user's."""
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "mine.py").write_text(LOSS)
    (folder / "helper.py").write_text(HELPER.format(factor=2))
    (folder / "parts.py").write_text(PARTS)
    monkeypatch.syspath_prepend(folder)
    forget()
    yield folder
    forget()


def forget() -> None:
    """Import the user's modules anew, as another process does."""
    importlib.invalidate_caches()
    for name in ("mine", "helper", "parts"):
        sys.modules.pop(name, None)


OWN = (
    *("loss._target_=mine.mine", "model._target_=parts.net"),
    *("optimizer._target_=parts.adam", "schedule._target_=parts.falling"),
)


def test_images_that_moved_to_another_class_are_refused_and_go_on_when_put_back(
    config, cut, images
):
    wanted = config(*FOLDER, *SHORT, f"data.root={images}", base=())
    cut(wanted)
    moved = sorted((images / "train" / "cat").iterdir())[:10]
    for file in moved:
        file.rename(images / "train" / "dog" / file.name)
    with pytest.raises(DataError) as refused:
        run(wanted)
    (left,) = load_unfinished(run_folder(wanted).parent)
    for file in moved:
        (images / "train" / "dog" / file.name).rename(file)

    said = str(refused.value)
    assert said.startswith("the images or labels have changed since this run began (data_sha256 ")
    assert said.endswith(f"delete {run_folder(wanted)} to train anew")
    assert exit_code(refused.value) == 3
    assert left.reason == f"DataError: {said}"
    straight = config(*FOLDER, *SHORT, f"data.root={images}", base=(), folder="straight")
    assert run(wanted)["metrics"] == run(straight)["metrics"]


@pytest.mark.parametrize(
    ("name", "before", "after", "what"),
    [
        ("mine", "scale(logits)", "scale(logits) / 3", "the code of the loss"),
        ("helper", "2 * logits", "5 * logits", "the code of the loss"),
        ("parts", "classes))", "classes), nn.Identity())", "the code of the net"),
        ("parts", "1 - step", "2 - step", "the code of the schedule"),
    ],
)
def test_code_that_was_edited_is_refused_by_its_file(config, cut, code, name, before, after, what):
    wanted = config(*OWN)
    cut(wanted)
    file = code / f"{name}.py"
    file.write_text(file.read_text().replace(before, after))
    forget()
    with pytest.raises(DataError) as refused:
        run(wanted)

    assert f"{what} ({file}) has changed since this run began" in str(refused.value)
    assert f"delete {run_folder(wanted)} to train anew" in str(refused.value)


def test_comments_and_formatting_are_no_change(config, cut, code):
    wanted = config(*OWN)
    cut(wanted)
    text = (code / "mine.py").read_text().replace("  # the temperature", "").replace('"', "'")
    text = text.replace("Cross-entropy of", "Another word for")
    (code / "mine.py").write_text(f"# new\n{text}")
    forget()

    assert run(wanted)["metrics"]["test/top1"] > 0


def test_a_checkpoint_of_another_run_is_refused(config, cut):
    wanted, other = config("seed=1"), config("seed=0")
    cut(wanted)
    cut(other)
    mine, theirs = (last_checkpoint(run_folder(each))[0] for each in (wanted, other))
    mine.unlink()
    shutil.copy(theirs, mine.parent)
    with pytest.raises(DataError, match="is the checkpoint of another run") as refused:
        run(wanted)

    assert f"{mine.parent / theirs.name} is" in str(refused.value)
    assert "; delete it to train anew" in str(refused.value)


def test_a_checkpoint_that_names_no_run_is_refused(config, cut, monkeypatch):
    wanted = config()
    with monkeypatch.context() as patch:
        patch.setattr("xent_bench.training.saving.ORIGIN", "nobody_reads_this")
        cut(wanted)
    checkpoint, _ = last_checkpoint(run_folder(wanted))
    with pytest.raises(DataError, match="does not say which run it is of") as refused:
        run(wanted)

    assert str(refused.value).startswith(f"{checkpoint} ")
    checkpoint.unlink()
    assert run(wanted)["metrics"] == run(config(folder="straight"))["metrics"]


@pytest.mark.usefixtures("code")
def test_the_hashes_are_tags_of_the_run(config):
    wanted = config(*OWN)
    tags = run(wanted)["tags"]
    begun = json.loads((run_folder(wanted) / "begun.json").read_text())["tags"]

    parts = ("data", "split", "loss", "model", "optimizer", "schedule")
    for tag in [f"{part}_sha256" for part in parts]:
        assert len(tags[tag]) == 64
        assert begun[tag] == tags[tag]


@pytest.mark.usefixtures("code")
def test_the_code_behind_a_target_is_what_its_module_imports_but_no_library():
    for name in ("mine", "xent_bench.models.resnet", "torchvision.models.resnet"):
        importlib.import_module(name)

    assert list(code_of("mine.mine")) == ["helper", "mine", "xent_bench.types"]
    assert list(code_of("xent_bench.models.resnet.resnet18")) == ["xent_bench.models.resnet"]
    assert list(code_of("torchvision.models.resnet.resnet18")) == ["torchvision.models.resnet"]


@pytest.mark.parametrize("name", sorted(file.stem for file in (CONF / "loss").glob("*.yaml")))
def test_the_code_behind_a_loss_is_that_of_losses_and_of_nothing_that_reads_results(name):
    importlib.import_module(f"xent_bench.losses.{name}")
    modules = {module.split(".")[1] for module in code_of(f"xent_bench.losses.{name}.{name}")}

    assert modules <= {"losses", "types", "ranges", "links", "arrays", "offer", "true_scores"}


def test_a_module_of_a_package_counts_by_itself_and_a_name_in_it_with_the_package(
    tmp_path, monkeypatch
):
    package = tmp_path / "pieces"
    package.mkdir()
    (package / "__init__.py").write_text("from pieces import other\nscale = 2\n")
    (package / "helper.py").write_text("")
    (package / "other.py").write_text("")
    (tmp_path / "by_module.py").write_text(
        "from typing import TYPE_CHECKING\n"
        "from pieces import helper\n"
        "if TYPE_CHECKING:\n    import pieces.other\n"
        "def one(): ...\n"
    )
    (tmp_path / "by_name.py").write_text("from pieces import helper, scale\ndef one(): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("by_module", "by_name"):
        importlib.import_module(name)
    alone, named = (set(code_of(f"{name}.one")) for name in ("by_module", "by_name"))

    assert alone == {"by_module", "pieces.helper"}
    assert named == {"by_name", "pieces", "pieces.helper", "pieces.other"}
