"""The README says what is: its commands, its losses, its links."""

import re
from pathlib import Path

import pytest
from conftest import ROOT
from omegaconf import OmegaConf

from xent_bench.configure import checked, configured
from xent_bench.links import link_of
from xent_bench.schema import CONF
from xent_bench.targets import target_kind

README = (ROOT / "README.md").read_text()
LOSSES = sorted(file.stem for file in (CONF / "loss").glob("*.yaml"))


def rows() -> dict[str, list[str]]:
    """Loss -> target, formula, link."""
    found = re.findall(r"^\| `(\w+)` \| (.*) \|$", README, flags=re.MULTILINE)
    return {name: rest.split(" | ") for name, rest in found}


def test_the_table_of_losses_is_the_folder():
    assert sorted(rows()) == LOSSES


@pytest.mark.parametrize("name", sorted(rows()))
def test_a_row_says_what_the_function_says(name):
    node = OmegaConf.load(CONF / "loss" / f"{name}.yaml")
    loss = configured(OmegaConf.create({"loss": node}), "loss")
    target, formula, link = rows()[name]

    assert target == target_kind(loss.func)
    assert link == link_of(loss).func.__name__
    defaults = dict(re.findall(r"(\w+)=([\d.]+)", formula.partition("`")[2]))
    assert {key: float(value) for key, value in defaults.items()} == loss.keywords


def test_every_command_composes(composed):
    commands = re.findall(r"^xent-train (.*?)\s*(?:#.*)?$", README, flags=re.MULTILINE)
    assert len(commands) >= 3

    for command in commands:
        overrides = [word for word in command.split() if word != "-m"]
        one_each = [re.sub(r"=([^,]+),.*", r"=\1", override) for override in overrides]
        checked(composed(*one_each))


def test_every_link_and_script_exists():
    linked = re.findall(r"\]\(([^)#]+)\)", README)
    scripts = re.findall(r"scripts/\w+", README)

    for path in [*linked, *scripts]:
        assert Path(ROOT, path).exists(), path


def test_the_example_of_a_loss_works(tmp_path, monkeypatch, rng):
    import torch

    code = re.search(r"poly1.py`:\n\n```python\n(.*?)```", README, flags=re.DOTALL)[1]
    node = re.search(r"poly1.yaml`:\n\n```yaml\n(.*?)```", README, flags=re.DOTALL)[1]
    (tmp_path / "readme_poly1.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    moved = node.replace("xent_bench.losses.poly1.", "readme_poly1.")

    loss = configured(OmegaConf.create({"loss": OmegaConf.create(moved)}), "loss")
    value = loss(torch.randn(4, 3, generator=rng), torch.tensor([0, 1, 2, 0]))
    assert value.shape == (4,)
    assert (value > 0).all()
