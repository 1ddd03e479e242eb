"""The provenance of a run's numbers: commit, versions and hardware."""

import platform
import subprocess
import tomllib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

CODE = ("conf", "xent_bench")  # an edited file elsewhere changes no number
ROOT = Path(__file__).resolve().parents[2]  # of a checkout
PACKAGES = ("xent-bench", "torch", "torchvision", "pytorch-lightning", "mlflow", "numpy")


def provenance(
    device: torch.device, devices: int, code: dict[str, str] | None = None
) -> dict[str, str]:
    """Tags of a run; `code` is what `code_tags` has said of it, if it was asked before."""
    tags = versions() | {"python": platform.python_version()}
    tags |= {"hardware": _hardware(device, devices)}
    return tags | (code_tags() if code is None else code)


def code_tags() -> dict[str, str]:
    """The commit and `dirty` as they are now; empty unless the code runs from a checkout."""
    commit = _git("rev-parse", "HEAD")
    if not commit:
        return {}
    is_dirty = bool(_git("status", "--porcelain", "--", *CODE))
    return {"commit": commit, "dirty": str(is_dirty).lower()}


@cache
def versions() -> dict[str, str]:
    """The versions of the packages when the process first asked, as which it has imported them."""
    return {package: version_of(package) for package in PACKAGES}


def version_of(package: str) -> str:
    """The version of an installed package; our own may be a checkout that is not installed.

    A copy without either, such as a folder on the PYTHONPATH, is "unknown".
    """
    try:
        return version(package)
    except PackageNotFoundError:
        project = ROOT / "pyproject.toml"
        content = tomllib.loads(project.read_text()).get("project", {}) if project.exists() else {}
        return str(content["version"]) if content.get("name") == package else "unknown"


def _hardware(device: torch.device, devices: int) -> str:
    together = f", {devices} processes" if devices > 1 else ""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device) + together
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    model = models[0] if models else platform.processor() or platform.machine()
    threads = torch.get_num_threads()
    return f"{model}, {threads} thread{'s' * (threads > 1)}{together}"


def _git(*arguments: str) -> str:
    """Output of git in the checkout of this package; empty if it is installed otherwise."""
    if not (ROOT / ".git").exists():
        return ""
    done = subprocess.run(
        ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False
    )
    return done.stdout.strip()
