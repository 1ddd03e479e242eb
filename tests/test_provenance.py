"""The versions among a run's tags, however the package came to be imported."""

import tomllib
from importlib.metadata import PackageNotFoundError, version

import pytest
from conftest import ROOT

from xent_bench.process import provenance


@pytest.fixture
def not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that pip has installed is called xent-bench: a checkout on the PYTHONPATH."""

    def lacking(package: str) -> str:
        if package == "xent-bench":
            raise PackageNotFoundError(package)
        return version(package)

    monkeypatch.setattr(provenance, "version", lacking)


@pytest.mark.usefixtures("not_installed")
def test_a_checkout_that_is_not_installed_has_the_version_of_its_source():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert provenance.version_of("xent-bench") == project["version"]
    assert provenance.version_of("torch") == version("torch")


@pytest.mark.usefixtures("not_installed")
def test_a_copy_without_a_project_is_of_an_unknown_version(monkeypatch, tmp_path):
    monkeypatch.setattr(provenance, "ROOT", tmp_path)

    assert provenance.version_of("xent-bench") == "unknown"
