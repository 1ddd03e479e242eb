"""The wheel holds its configs and works away from the checkout."""

import os
import subprocess
import sys
from pathlib import Path

from conftest import ROOT
from omegaconf import OmegaConf


def test_the_wheel_installed_elsewhere_composes_a_config(tmp_path: Path):
    uv = str(Path(sys.executable).with_name("uv"))
    site = tmp_path / "site"

    def call(*command: str) -> str:
        environment = os.environ | {"PYTHONPATH": str(site)}
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        ).stdout

    call(uv, "build", "--quiet", "--wheel", "--out-dir", str(tmp_path / "dist"), str(ROOT))
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    call(uv, "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(wheel))
    probe = "from xent_bench.config.schema import CONF; print(CONF)"
    shown = call(sys.executable, "-c", probe)
    composed = call(sys.executable, str(site / "bin" / "xent-train"), "loss=focal", "--cfg", "job")

    assert Path(shown.strip()) == site / "xent_bench" / "conf"
    assert OmegaConf.create(composed).loss.gamma == 2
    listed = {file.relative_to(ROOT) for file in (ROOT / "conf").rglob("*.yaml")}
    inside = {"conf" / f.relative_to(site / "xent_bench" / "conf") for f in site.rglob("*.yaml")}
    assert inside == listed
