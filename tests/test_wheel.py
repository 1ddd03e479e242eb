"""The wheel holds its configs and types, declares what it imports, and works elsewhere."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml
from conftest import ROOT
from omegaconf import OmegaConf

# the distribution that holds a module, where it has another name
DISTRIBUTIONS = {
    "PIL": "pillow",
    "hydra": "hydra-core",
    "hydra_plugins": "hydra-submitit-launcher",
    "lightning_fabric": "pytorch-lightning",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}


def test_every_package_that_is_imported_is_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    named = (extras[name] for name in ("slurm", "timm", "huggingface", "onnx", "optuna"))
    written = [*project["dependencies"], *(line for extra in named for line in extra)]
    declared = {re.match(r"[\w-]+", requirement)[0] for requirement in written}
    imported = set()
    for file in (ROOT / "xent_bench").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module.partition(".")[0])
    others = imported - sys.stdlib_module_names - {"xent_bench"}

    assert {DISTRIBUTIONS.get(name, name.replace("_", "-")) for name in others} <= declared


def test_the_workflow_runs_what_can_be_run_here_and_nothing_else():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    (job,) = workflow["jobs"].values()

    assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]
    assert workflow[True] == ["push", "pull_request"]  # YAML 1.1 reads `on` as a boolean


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
    assert (site / "xent_bench" / "py.typed").is_file()
