"""The top levels of a user's own modules: read from their sources, and not imported."""

import ast
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.util import resolve_name
from pathlib import Path
from typing import NamedTuple

from xent_bench.config.code_hash import file_of, is_library, is_ours


class OwnModule(NamedTuple):
    """The names at the top level of a module, and what they are bound to."""

    name: str
    values: dict[str, ast.expr]  # by assignment
    definitions: dict[str, ast.stmt]  # functions and classes
    imported: dict[str, str]  # the dotted name of what is imported, in functions too


def module_of(target: str) -> tuple[OwnModule | None, str]:
    """The module of a user's own that a dotted name leads into, and the name in it.

    None for a name of this package or of an installed one, and where no source is found.
    """
    parts = target.split(".")
    for n in range(len(parts) - 1, 0, -1) if not _is_installed(parts[0]) else ():
        file = file_of(".".join(parts[:n]))
        if file is not None:
            return _own(".".join(parts[:n]), file), parts[n]
    return None, ""


def is_own_module(name: str) -> bool:
    """Whether a dotted name is that of a module of a user's own."""
    file = None if _is_installed(name.partition(".")[0]) else file_of(name)
    return file is not None and _own(name, file) is not None


def is_own_value(target: str, most: int = 8) -> bool:
    """Whether a dotted name is a variable of a user's module, through `most` imports at most."""
    module, name = module_of(target)
    if module is None or not most:
        return False
    behind = module.imported.get(name)
    return name in module.values or (behind is not None and is_own_value(behind, most - 1))


def dotted(node: ast.AST) -> str:
    """The text of a name or of an attribute of names; empty for another node."""
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return f"{before}.{node.attr}" if before else ""
    return node.id if isinstance(node, ast.Name) else ""


@cache
def _is_installed(top: str) -> bool:
    """Whether a top module or package is none of the user's; it is looked for once: 1 ms."""
    file = file_of(top)
    return top in sys.builtin_module_names or (
        file is not None and (is_ours(str(file)) or is_library(str(file)))
    )


def _own(name: str, file: Path) -> OwnModule | None:
    if file.suffix != ".py" or is_ours(str(file)) or is_library(str(file)):
        return None
    status = file.stat()
    return _read(name, file, status.st_mtime_ns, status.st_size)


@cache
def _read(name: str, file: Path, changed: int, size: int) -> OwnModule | None:
    """The module as its file is now; None if it is no Python."""
    del changed, size  # keys of the cache: an edited file is read again
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, RecursionError, SyntaxError, ValueError):
        return None
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    module = OwnModule(name, {}, {}, {})
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module.imported.update(_imported(node, package))
    for statement in _statements(tree.body):
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            module.definitions[statement.name] = statement
        elif isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            names = (node for target in targets for node in ast.walk(target))
            bound = (node.id for node in names if isinstance(node, ast.Name))
            module.values.update(dict.fromkeys(bound, statement.value))
    return module


def _statements(body: Sequence[ast.AST]) -> Iterator[ast.AST]:
    """The statements of a module, with those inside `if`, `try`, `with` and loops."""
    for statement in body:
        yield statement
        for part in ("body", "orelse", "finalbody", "handlers"):
            if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                below = getattr(statement, part, [])
                yield from _statements(below if isinstance(below, list) else [])


def _imported(statement: ast.Import | ast.ImportFrom, package: str) -> dict[str, str]:
    """The dotted names that an import statement in a package's module binds, by their names."""
    if isinstance(statement, ast.Import):
        tops = {alias.name.partition(".")[0] for alias in statement.names if not alias.asname}
        return {top: top for top in tops} | {
            alias.asname: alias.name for alias in statement.names if alias.asname
        }
    try:
        above = resolve_name("." * statement.level + (statement.module or ""), package)
    except ImportError:  # above the top package: such a statement cannot have been reached
        return {}
    return {alias.asname or alias.name: f"{above}.{alias.name}" for alias in statement.names}
