"""A function's parameters, read from its source: its module is found, parsed and not executed.

A mistake in a hyper-parameter is so refused before PyTorch is imported. What cannot be read is
said to be so, not guessed: whoever calls looks again when the module has been imported.
"""

import ast
import builtins
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from inspect import Parameter
from typing import Any

# Modules an annotation may name, since importing them costs next to nothing.
LIGHT = {"annotated_types", "collections.abc", "pathlib", "typing", "xent_bench.ranges"}
# Decorators that return the function they are given.
TRANSPARENT = {"xent_bench.links.use"}


def read_parameters(target: str) -> tuple[Parameter, ...] | None:
    """The parameters, annotations evaluated, in order; None of what is no plain function.

    An annotation that needs more than LIGHT is Any; a default is an ellipsis.
    """
    module, _, name = target.rpartition(".")
    tree = _parsed(module)
    bindings = _bindings(tree) if tree else {}
    match bindings.get(name) if "*" not in bindings else None:
        case [ast.FunctionDef() as function] if _is_transparent(function, bindings):
            names = _Names(bindings)
            return tuple(each.replace(annotation=names.hint(each)) for each in _written(function))
    return None


def _parsed(module: str) -> ast.Module | None:
    try:
        spec = _spec(module)
        source = getattr(spec and spec.loader, "get_source", lambda _: None)
        text = source(module)
        return ast.parse(text) if text is not None else None
    except (ImportError, LookupError, SyntaxError, ValueError):  # the import says it in full
        return None


def _spec(module: str) -> ModuleSpec | None:
    """As importlib's find_spec, which would execute the packages above."""
    path, spec = None, None
    parts = module.split(".")
    for end in range(1, len(parts) + 1):
        spec = PathFinder.find_spec(".".join(parts[:end]), path)
        if spec is None:
            return None
        path = spec.submodule_search_locations or []
    return spec


def _bindings(tree: ast.Module) -> dict[str, list[ast.stmt]]:
    """The top-level statements that give each name its meaning; several, where it may change."""
    found: dict[str, list[ast.stmt]] = {}
    for statement in tree.body:
        for name in _bound(statement):
            found.setdefault(name, []).append(statement)
    return found


def _bound(statement: ast.stmt) -> list[str]:
    match statement:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            return [each.asname or each.name.partition(".")[0] for each in names]
    within = list(ast.walk(statement))  # an assignment; or an `if`, a `try`, whatever they hold
    stored = [n.id for n in within if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
    inner = [n for n in within if isinstance(n, ast.stmt) and n is not statement]
    return stored + [name for each in inner for name in _bound(each)]


def _is_transparent(function: ast.FunctionDef, bindings: dict[str, list[ast.stmt]]) -> bool:
    """Whether its parameters are those of the name, whatever its decorators do."""
    for decorator in function.decorator_list:
        called = ast.unparse(decorator).partition("(")[0]
        match bindings.get(called.partition(".")[0]):
            case [ast.ImportFrom(module=module)] if f"{module}.{called}" in TRANSPARENT:
                continue
        return False
    return True


def _written(function: ast.FunctionDef) -> list[Parameter]:
    """With annotations as expressions."""
    said = function.args
    ordered = [*said.posonlyargs, *said.args]
    first_optional = len(ordered) - len(said.defaults)
    written = [
        _parameter(each, Parameter.POSITIONAL_OR_KEYWORD, i >= first_optional)
        for i, each in enumerate(ordered)
    ]
    written += [_parameter(each, Parameter.VAR_POSITIONAL) for each in [said.vararg] if each]
    written += [
        _parameter(each, Parameter.KEYWORD_ONLY, default is not None)
        for each, default in zip(said.kwonlyargs, said.kw_defaults, strict=True)
    ]
    return written + [_parameter(each, Parameter.VAR_KEYWORD) for each in [said.kwarg] if each]


def _parameter(written: ast.arg, kind: Any, optional: bool = False) -> Parameter:
    default = ... if optional else Parameter.empty
    return Parameter(written.arg, kind, default=default, annotation=written.annotation)


class _Names(dict[str, Any]):
    """What the names in a module's annotations mean, found when first asked for."""

    def __init__(self, bindings: dict[str, list[ast.stmt]]) -> None:
        self.bindings = bindings

    def hint(self, parameter: Parameter) -> Any:
        """The annotation's value; Any without one, and where it cannot be had."""
        try:
            return self._value(parameter.annotation) if parameter.annotation else Any
        except Exception:  # whatever somebody's expression raises, where its names are missing
            return Any

    def _value(self, expression: ast.expr) -> Any:
        match expression:
            case ast.Constant(value=str(quoted)):
                expression = ast.parse(quoted, mode="eval").body
        code = compile(ast.Expression(expression), "<annotation>", "eval")
        return eval(code, {"__builtins__": {}}, self)

    def __missing__(self, name: str) -> Any:
        match self.bindings.get(name):
            case None if isinstance(getattr(builtins, name, None), type):
                self[name] = getattr(builtins, name)
            case [ast.Import(names=names)]:
                self[name] = next(import_module(a.name) for a in names if _is(a, name))
            case [ast.ImportFrom(module=str(module), names=names, level=0)] if module in LIGHT:
                original = next(each.name for each in names if (each.asname or each.name) == name)
                self[name] = getattr(import_module(module), original)
            case [ast.Assign(targets=[ast.Name()], value=value)]:
                self[name] = self._value(value)
            case [ast.AnnAssign(value=ast.expr() as value)]:
                self[name] = self._value(value)
            case _:
                raise KeyError(name)
        return self[name]


def _is(alias: ast.alias, name: str) -> bool:
    """Whether `import alias` binds the name to a light module, and to nothing above it."""
    return alias.name in LIGHT and (alias.asname or alias.name) == name
