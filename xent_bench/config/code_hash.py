"""Hashes of the code behind a part of a run, by which a change of the code is noticed.

The module that holds the target is hashed and, in turn, every module that it imports by a
statement: the user's own and this package's, but neither Python's nor installed ones, whose
versions are kept elsewhere. Comments, docstrings and formatting do not count. The import statements
decide, not what is loaded, so that the hash does not depend on what the process did before.
"""

import ast
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from functools import cache
from hashlib import sha256
from importlib.machinery import PathFinder
from importlib.util import find_spec, resolve_name
from pathlib import Path
from types import ModuleType

OURS = Path(__file__).resolve().parents[1]
STANDARD = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")}
INSTALLED = {"site-packages", "dist-packages"}

DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def code_of(target: str) -> dict[str, str]:
    """SHA-256 of each module behind a target, `module.name`, by the name of the module.

    A module that was not imported is read from its source. StopIteration where there is none.
    """
    hashes: dict[str, str] = {}
    waiting = [_module_of(target)]
    while waiting:
        name = waiting.pop()
        file = file_of(name)
        if name in hashes or file is None or (hashes and not _counts(file)):
            continue  # the target's own module counts wherever it lies
        digest, statements = _read(file, file.stat().st_mtime_ns, file.stat().st_size)
        hashes[name] = digest
        if _counts(file):
            waiting += [
                module for statement in statements for module in _imported(statement, name, file)
            ]
    return dict(sorted(hashes.items()))


def digest_of(hashes: Mapping[str, str]) -> str:
    """Combine the hashes of several modules into one."""
    return sha256(repr(sorted(hashes.items())).encode()).hexdigest()


def changed_module(before: Mapping[str, str], now: Mapping[str, str]) -> str | None:
    """Name of a module whose code differs, or which only one of them has; None if all agree."""
    names = sorted(before.keys() | now.keys())
    return next((name for name in names if before.get(name) != now.get(name)), None)


def file_of(module: str) -> Path | None:
    """The source file of a module; None if it has none, or is not there."""
    try:
        loaded = sys.modules.get(module)
        origin = loaded.__file__ if loaded is not None else _origin(module)
    except (ImportError, AttributeError, ValueError):
        return None
    file = Path(origin) if origin else None
    return file if file is not None and file.is_file() else None


def _origin(module: str) -> str | None:
    """The file that a module would be imported from, found without importing any package."""
    top, *below = module.split(".")
    spec, name = find_spec(top), top
    for part in below:
        if spec is None or spec.submodule_search_locations is None:
            return None
        name = f"{name}.{part}"
        spec = PathFinder.find_spec(name, spec.submodule_search_locations)
    return spec.origin if spec is not None and spec.has_location else None


def _module_of(target: str) -> str:
    """The module part of a target such as `package.module.Class.method`."""
    parts = target.split(".")
    names = (".".join(parts[:n]) for n in range(len(parts) - 1, 0, -1))
    return next(
        name
        for name in names
        if isinstance(sys.modules.get(name), ModuleType) or file_of(name) is not None
    )


@cache
def _counts(file: Path) -> bool:
    return is_ours(str(file)) or not is_library(str(file))


@cache
def _read(file: Path, changed: int, size: int) -> tuple[str, tuple[ast.stmt, ...]]:
    """Hash of a file as it is now, and its import statements, those within functions too."""
    del changed, size  # keys of the cache: an edited file is read again
    content = file.read_bytes()
    if file.suffix != ".py":
        return sha256(content).hexdigest(), ()
    tree = ast.parse(content)
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return sha256(ast.unparse(tree).encode()).hexdigest(), tuple(_import_statements(tree))


def _import_statements(tree: ast.AST) -> Iterator[ast.stmt]:
    """The import statements below a node, without those that only a type checker reads."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            for statement in node.orelse:
                yield from _import_statements(ast.Module([statement], []))
        else:
            yield from _import_statements(node)


def _imported(statement: ast.stmt, module: str, file: Path) -> Iterator[str]:
    """Names of the modules whose code an import statement in a module may use.

    Of `from package import module` it is the module alone.
    """
    if isinstance(statement, ast.Import):
        yield from (alias.name for alias in statement.names)
    elif isinstance(statement, ast.ImportFrom):
        package = module if file.name == "__init__.py" else module.rpartition(".")[0]
        try:
            above = resolve_name("." * statement.level + (statement.module or ""), package)
        except ImportError:  # above the top package: such a statement cannot have been reached
            return
        names = [f"{above}.{alias.name}" for alias in statement.names]
        if any(file_of(name) is None for name in names):
            yield above
        yield from names


def is_library(file: str) -> bool:
    """Whether a file belongs to Python or to an installed package; frozen code does too."""
    if file.startswith("<"):
        return True
    path = Path(file).resolve()
    return bool(INSTALLED & {*path.parts}) or bool(STANDARD & {*path.parents})


def is_ours(file: str) -> bool:
    """Whether a file belongs to xent_bench, in a checkout or installed."""
    return OURS in Path(file).resolve().parents
