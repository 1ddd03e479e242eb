"""A function's parameters, read from the source of its module, which is not imported.

A mistake in a hyper-parameter is thereby refused before PyTorch is imported. An annotation is
understood if it is a name imported from `xent_bench.ranges`, a plain builtin, a Literal, or one of
these `| None`. Any other is Any: its values are checked once the module has been imported.
"""

import ast
from collections import Counter
from importlib import import_module
from importlib.machinery import PathFinder
from inspect import Parameter
from itertools import zip_longest
from typing import Any, Literal

PLAIN = ("bool", "float", "int", "str")


def read_parameters(target: str) -> tuple[Parameter, ...] | None:
    """The parameters of the function with a dotted name, in order; a default is an ellipsis.

    None where the source does not show one plain function of that name.
    """
    module, _, name = target.rpartition(".")
    tree = _parsed(module)
    bound = Counter(_bound(tree))
    origins = {word: f"builtins.{word}" for word in PLAIN if not bound[word]}
    for statement in tree.body:
        if isinstance(statement, ast.ImportFrom):
            names = {alias.asname or alias.name: alias.name for alias in statement.names}
            once = [word for word in names if bound[word] == 1]
            origins |= {word: f"{statement.module}.{names[word]}" for word in once}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            decorators = {ast.unparse(call).partition("(")[0] for call in node.decorator_list}
            is_plain = not decorators or (
                # returns the function that it is given
                decorators == {"links.use"} and origins.get("links") == "xent_bench.links"
            )
            if is_plain and bound[name] == 1 and not bound["*"]:
                return tuple(_parameters(node.args, origins))
    return None


def _parsed(module: str) -> ast.Module:
    """The syntax tree of a module, found without executing the packages above it.

    Empty where there is no source to read: the import then says in full what is wrong.
    """
    path, spec = None, None
    parts = module.split(".")
    try:
        for end in range(1, len(parts) + 1):
            spec = PathFinder.find_spec(".".join(parts[:end]), path)
            path = spec.submodule_search_locations or [] if spec else []
        source = getattr(spec and spec.loader, "get_source", lambda _: None)(module)
        return ast.parse(source or "")
    except (ImportError, LookupError, SyntaxError, ValueError):
        return ast.parse("")


def _bound(tree: ast.Module) -> list[str]:
    """Every name as often as it is bound anywhere in a module: twice, and it may have changed."""
    nodes = [node for node in ast.walk(tree) if not isinstance(getattr(node, "ctx", 0), ast.Load)]
    fields = [vars(node) for node in nodes]
    return [str(node.get("asname") or node.get("name") or node.get("id")) for node in fields]


def _parameters(arguments: ast.arguments, origins: dict[str, str]) -> list[Parameter]:
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults: list[Any] = [None] * (len(positional) - len(arguments.defaults))
    groups = [
        (Parameter.POSITIONAL_OR_KEYWORD, positional, [*defaults, *arguments.defaults]),
        (Parameter.VAR_POSITIONAL, filter(None, [arguments.vararg]), []),
        (Parameter.KEYWORD_ONLY, arguments.kwonlyargs, arguments.kw_defaults),
        (Parameter.VAR_KEYWORD, filter(None, [arguments.kwarg]), []),
    ]
    return [
        Parameter(
            argument.arg,
            kind,
            default=Parameter.empty if default is None else ...,
            annotation=_hint(argument.annotation, origins),
        )
        for kind, group, values in groups
        for argument, default in zip_longest(group, values)
    ]


def _hint(expression: ast.expr | None, origins: dict[str, str]) -> Any:
    match expression:
        case ast.Name(id=name):
            module, _, word = origins.get(name, "").rpartition(".")
            if module in ("builtins", "xent_bench.ranges"):
                return getattr(import_module(module), word, Any)
        case ast.Subscript(value=ast.Name(id=name), slice=ast.Constant() | ast.Tuple() as choices):
            if origins.get(name) == "typing.Literal":
                return Literal[ast.literal_eval(choices)]
        case ast.BinOp(left=left, op=ast.BitOr(), right=ast.Constant(value=None)):
            hint = _hint(left, origins)
            return hint if hint is Any else hint | None
    return Any
