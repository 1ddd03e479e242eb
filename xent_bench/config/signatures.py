"""A function's parameters, read from the source of its module, which is not imported.

A mistake in a hyper-parameter is thereby refused before PyTorch is imported. An annotation is
understood if it is a name imported from `xent_bench.ranges`, a plain builtin, a Literal, or one of
these `| None`. Any other is Any: its values are checked once the module has been imported.
"""

import __future__

import ast
from functools import cache
from importlib.machinery import PathFinder
from inspect import Parameter, signature
from typing import Any, Literal

from xent_bench import ranges

PLAIN: dict[str, Any] = {"bool": bool, "float": float, "int": int, "str": str}
TRANSPARENT = {"links.use", "offers"}  # decorators that return the function that they are given


def read_parameters(target: str) -> tuple[Parameter, ...] | None:
    """The parameters of the function with a dotted name, in order.

    A default that is no literal, such as 2.0 or "mean", is an ellipsis. None where the source does
    not show one plain function of that name.
    """
    module, _, name = target.rpartition(".")
    nodes = list(ast.walk(_parsed(module)))
    hints = dict(PLAIN)
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module == "xent_bench.ranges":
            hints |= {a.asname or a.name: getattr(ranges, a.name, Any) for a in node.names}
    match [node for node in nodes if name in _bound(node)]:
        case [ast.FunctionDef() as function]:
            decorators = {ast.unparse(node).partition("(")[0] for node in function.decorator_list}
            if decorators <= TRANSPARENT:
                parameters = _signature(function).parameters.values()
                return tuple(p.replace(annotation=_hint(p.annotation, hints)) for p in parameters)
    return None


@cache
def parameter_names(target: str) -> frozenset[str]:
    """The names of the parameters that a module's source gives to a function, or to a class.

    Empty where the source shows no function or class of that name.
    """
    module, _, name = target.rpartition(".")
    try:
        definitions = [node for node in _parsed(module).body if name in _bound(node)]
    except Exception:  # no source can be a reason to end here: the import says what is wrong
        return frozenset()
    functions = [
        node
        for definition in definitions
        for node in (
            [definition, *definition.body] if isinstance(definition, ast.ClassDef) else [definition]
        )
        if isinstance(node, ast.FunctionDef) and node.name in (name, "__init__")
    ]
    arguments = [function.args for function in functions]
    return frozenset(
        argument.arg for a in arguments for argument in (*a.posonlyargs, *a.args, *a.kwonlyargs)
    )


def _parsed(module: str) -> ast.Module:
    """The syntax tree of a module; empty where its source cannot be read or is no Python."""
    try:
        return ast.parse(source_of(module))
    except (MemoryError, RecursionError, SyntaxError, ValueError):
        return ast.parse("")


def source_of(module: str) -> str:
    """The source of a module, found without executing the packages above it.

    Empty where there is none to read: the import then says in full what is wrong.
    """
    path, spec, parts = None, None, module.split(".")
    try:
        for end in range(1, len(parts) + 1):
            spec = PathFinder.find_spec(".".join(parts[:end]), path)
            path = spec.submodule_search_locations or [] if spec else []
        return getattr(spec and spec.loader, "get_source", lambda _: None)(module) or ""
    except (ImportError, LookupError, OSError, SyntaxError, ValueError):
        return ""


def _bound(node: ast.AST) -> list[str]:
    """The names that a node gives a meaning to."""
    if isinstance(node, ast.Name):
        return [] if isinstance(node.ctx, ast.Load) else [node.id]
    name = getattr(node, "asname", None) or getattr(node, "name", None)
    return [str(name)] if name else []


def _signature(function: ast.FunctionDef) -> Any:
    """The signature of a function without its body, whose defaults are literals or ellipses."""
    arguments = function.args
    arguments.defaults = [_literal(value) for value in arguments.defaults]
    arguments.kw_defaults = [value and _literal(value) for value in arguments.kw_defaults]
    function.body, function.decorator_list, function.returns = [ast.Pass()], [], None
    flags = __future__.annotations.compiler_flag  # annotations stay text
    stub: dict[str, Any] = {}
    module = ast.fix_missing_locations(ast.Module([function], []))
    exec(compile(module, "<signature>", "exec", flags), stub)
    return signature(stub[function.name])


def _literal(default: ast.expr) -> ast.expr:
    try:
        ast.literal_eval(default)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return ast.Constant(...)
    return default


def _hint(annotation: Any, hints: dict[str, Any]) -> Any:
    name, optional, _ = str(annotation).partition(" | None")
    hint = hints.get(name, Any)
    if name.startswith("Literal["):
        hint = Literal[ast.literal_eval(name.removeprefix("Literal[").removesuffix("]"))]
    return hint | None if optional and hint is not Any else hint
