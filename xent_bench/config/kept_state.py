"""Whether code of a user's own keeps state where the runs of one process would share it.

A counter or a running mean of a module outlives a run, and the calls of one run are seen by the
next. The source tells, and is not imported: assignments, and calls of methods that change what they
are called on.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from importlib.util import resolve_name
from pathlib import Path
from typing import NamedTuple

from xent_bench.config.code_hash import file_of, is_library, is_ours

CHANGING = {
    *("add", "append", "appendleft", "clear", "discard", "extend", "insert", "pop", "popitem"),
    *("popleft", "remove", "reverse", "send", "setdefault", "sort", "update", "write"),
}  # methods of containers, generators and files
BUILDING = re.compile("init|reset|build")  # in names of methods that are called before training
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
SELF = "self"


class _Module(NamedTuple):
    """The names at the top level of a module, and what they are bound to."""

    name: str
    values: dict[str, ast.expr]  # by assignment
    definitions: dict[str, ast.stmt]  # functions and classes
    imported: dict[str, str]  # the dotted name of what is imported


def keeps_state(target: str, *, in_instances: bool = False) -> bool:
    """Whether a function or class with this dotted name keeps state from one call to the next.

    Counted is what outlives the function: variables of its module, attributes of functions and
    classes, defaults that can be changed, names of an outer function; with `in_instances` also what
    a method writes into its object. Functions and classes of the user's that it uses count too.
    False for this package and for installed ones, and where no source is found.
    """
    if target.startswith("xent_bench."):  # of most runs: nothing is looked for on the disk
        return False
    parts = _parts(target, set(), is_shared=in_instances)
    return any(
        _function_writes(function, module, of_self=is_shared)
        for module, node, is_shared in parts
        for function in ast.walk(node)
        if isinstance(function, FUNCTIONS)
    )


def _parts(
    target: str, seen: set[tuple[str, bool]], *, is_shared: bool
) -> Iterator[tuple[_Module, ast.AST, bool]]:
    """The definitions behind a target, each with its module, and whether its objects are shared."""
    module, name = _module_of(target)
    if module is None or (target, is_shared) in seen:
        return
    seen.add((target, is_shared))
    node: ast.AST | None = module.values.get(name) or module.definitions.get(name)
    if node is None:
        if name in module.imported:
            yield from _parts(module.imported[name], seen, is_shared=is_shared)
        return
    is_shared |= name in module.values  # one object for all who use the module
    yield module, node, is_shared
    for used in ast.walk(node):
        first, dot, rest = _dotted(used).partition(".")
        if first in module.imported:
            behind = f"{module.imported[first]}{dot}{rest}"
            yield from _parts(behind, seen, is_shared=is_shared)
        elif first in module.definitions or first in module.values:
            yield from _parts(f"{module.name}.{first}", seen, is_shared=is_shared)


def _function_writes(
    function: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda, module: _Module, *, of_self: bool
) -> bool:
    """Whether a function of a module changes what outlives its calls, and its `self` if told."""
    arguments = function.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    by_default = [*arguments.defaults, *(value for value in arguments.kw_defaults if value)]
    if any(isinstance(value, ast.List | ast.Dict | ast.Set) for value in by_default):
        return True
    stored = {
        node.id
        for node in ast.walk(function)
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)
    }
    local = stored | {argument.arg for argument in every}
    held = {*module.values, *module.definitions} - local
    assigned = held | (module.imported.keys() - local)
    if of_self and not BUILDING.search(getattr(function, "name", "")):
        held, assigned = held | {SELF}, assigned | {SELF}
    return any(_changes(node, held, assigned) for node in ast.walk(function))


def _changes(node: ast.AST, held: set[str], assigned: set[str]) -> bool:
    """Whether a node assigns to a part of one of the names `assigned`, or changes one of `held`."""
    if isinstance(node, ast.Global | ast.Nonlocal):
        return True
    if isinstance(node, ast.Attribute | ast.Subscript) and not isinstance(node.ctx, ast.Load):
        return _root(node) in assigned
    if not isinstance(node, ast.Call):
        return False
    if isinstance(node.func, ast.Name) and node.func.id == "next":
        return any(_root(argument) in held for argument in node.args)
    if not isinstance(node.func, ast.Attribute):
        return False
    name, root = node.func.attr, _root(node.func.value)
    # as torch calls methods that change a tensor; those of a net are buffers, which are copied
    in_place = name.endswith("_") and not name.startswith("_") and root != SELF
    is_method = root == SELF and isinstance(node.func.value, ast.Name)
    return root in held and (in_place or (name in CHANGING and not is_method))


def _root(node: ast.AST) -> str:
    """The name from which an expression such as a.b[0].c begins; empty without one."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _dotted(node: ast.AST) -> str:
    """The text of a name or of an attribute of names; empty for another node."""
    if isinstance(node, ast.Attribute):
        before = _dotted(node.value)
        return f"{before}.{node.attr}" if before else ""
    return node.id if isinstance(node, ast.Name) else ""


def _module_of(target: str) -> tuple[_Module | None, str]:
    """The module of a user's own that a dotted name leads into, and the name in it."""
    parts = target.split(".")
    for n in range(len(parts) - 1, 0, -1):
        name = ".".join(parts[:n])
        file = file_of(name)
        if file is not None:
            if file.suffix != ".py" or is_ours(str(file)) or is_library(str(file)):
                return None, ""
            status = file.stat()
            return _read(name, file, status.st_mtime_ns, status.st_size), parts[n]
    return None, ""


@cache
def _read(name: str, file: Path, changed: int, size: int) -> _Module | None:
    """The module as its file is now; None if it is no Python."""
    del changed, size  # keys of the cache: an edited file is read again
    try:
        body = ast.parse(file.read_bytes()).body
    except (OSError, RecursionError, SyntaxError, ValueError):
        return None
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    module = _Module(name, {}, {}, {})
    for statement in body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            module.definitions[statement.name] = statement
        elif isinstance(statement, ast.Import | ast.ImportFrom):
            module.imported.update(_imported(statement, package))
        elif isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            names = (node for target in targets for node in ast.walk(target))
            bound = (node.id for node in names if isinstance(node, ast.Name))
            module.values.update(dict.fromkeys(bound, statement.value))
    return module


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
