"""The sources of a config's choices: YAML files, and the empty choices for code of the user's own.

A file that is no config is refused by its name.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from hydra._internal.core_plugins import file_config_source, structured_config_source
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult
from omegaconf import DictConfig

from xent_bench.config.choices import MAX_BYTES
from xent_bench.config.configure import ConfigError
from xent_bench.config.schema import GROUPS, OWN

CLAIMS = "claims"  # a folder beside those of the choices
MAX_VALUES = 100_000  # that a file may stand for, with its aliases written out


class FileError(ConfigError):
    """An error in a file of the config, whose path is the key at fault."""


class FileConfigSource(file_config_source.FileConfigSource):
    """A source of YAML files that is registered in the place of Hydra's, and under its name.

    It lists no claims: they are read by xent-claim, and are no choices of a run.
    """

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """List the names of a folder's groups and files, except for that of the claims."""
        names = super().list(config_path, results_filter)
        return [name for name in names if config_path.strip("/") or name != CLAIMS]

    def load_config(self, config_path: str) -> ConfigResult:
        """Load a file as Hydra does. FileError if it cannot be read, is no config, or is huge."""
        file = Path(self.path, self._normalize_file_name(config_path))
        with naming(file):
            result = super().load_config(config_path)
        if not isinstance(result.config, DictConfig):
            raise FileError(_shown(file), "expected lines of key: value, got a list")
        return result


class StructuredConfigSource(structured_config_source.StructuredConfigSource):
    """A source of choices that are no files, registered in the place of Hydra's and under its name.

    It does not list the empty choice: `loss=glob(*)` and --help mean those that can be trained.
    """

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """List the names of a group's choices, except for `own`."""
        names = super().list(config_path, results_filter)
        return [name for name in names if config_path.strip("/") not in GROUPS or name != OWN]


def register_files() -> None:
    """Let Hydra read YAML files, and choices that are no files, by our sources."""
    SourcesRegistry.instance().types["file"] = FileConfigSource
    SourcesRegistry.instance().types["structured"] = StructuredConfigSource


@contextmanager
def naming(file: Path) -> Iterator[None]:
    """A context in which a YAML file is loaded: any error there becomes a FileError naming it."""
    try:
        _check_size(file)
        yield
    except Exception as error:  # the system's, the decoder's, YAML's, OmegaConf's, Python's limits
        raise FileError(_shown(file), _complaint(error)) from error


def _check_size(file: Path) -> None:
    """ValueError for a file, or for aliases in it, that would fill the memory or take minutes."""
    size = os.stat(file).st_size if os.path.isfile(file) else 0  # false of a very long name
    if size > MAX_BYTES:
        raise ValueError(f"expected a config of at most 1 MB, got a file of {size / 1e6:.1f} MB")
    if size and b"*" in (content := file.read_bytes()):
        root = yaml.compose(content.decode(), Loader=yaml.SafeLoader)
        if root is not None and _values(root, {}) > MAX_VALUES:
            raise ValueError(f"its aliases stand for more than {MAX_VALUES:,} values")


def _values(node: Any, counts: dict[int, float]) -> float:
    """The number of values that a YAML node stands for; infinite if it contains itself."""
    if isinstance(node, yaml.ScalarNode):
        return 1
    if id(node) not in counts:
        counts[id(node)] = float("inf")
        pairs = (
            node.value if isinstance(node, yaml.MappingNode) else [(part,) for part in node.value]
        )
        counts[id(node)] = 1 + sum(_values(part, counts) for pair in pairs for part in pair)
    return counts[id(node)]


def _shown(file: Path) -> str:
    """The path as short as it can be typed from here."""
    here = Path.cwd()
    return str(file.relative_to(here) if file.is_relative_to(here) else file)


def _complaint(error: Exception) -> str:
    if isinstance(error, UnicodeError):
        return "cannot read it: its text is not UTF-8; save it as UTF-8"
    if isinstance(error, yaml.YAMLError):
        return f"cannot read YAML: {_yaml_complaint(error)}"
    if isinstance(error, OSError):
        return f"cannot read it: {error.strerror or error}"
    if isinstance(error, RecursionError):
        return "cannot read YAML: it is nested too deeply"
    return str(error) or type(error).__name__


def _yaml_complaint(error: yaml.YAMLError) -> str:
    """The problem and its line number, without the excerpt of several lines that YAML adds."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error)
    return f"{problem}, line {mark.line + 1}" if mark else problem
