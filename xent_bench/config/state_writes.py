"""The places where a function of a user's own writes into what outlives it, by its source.

Names are followed through assignments: in `m = MEANS["a"]; m.mul_(0.9)` the table is written into.
"""

import ast
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

from xent_bench.config.own_modules import OwnModule, is_own_module, is_own_value

SELF, CLASS = "self", "cls"
HANDED = {"globals", "type"}  # functions whose result is one object for all
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
CHANGING = {
    *("add", "append", "appendleft", "clear", "discard", "extend", "insert", "pop", "popitem"),
    *("popleft", "remove", "reverse", "send", "setdefault", "sort", "update", "write"),
}  # methods of containers, generators and files
BY_ARGUMENT = {"next", "setattr", "delattr", "heappush", "heappop", "shuffle", "at", "copyto"}
PASSING = {"iter", "enumerate", "zip", "reversed", "list", "tuple", "sorted"}
NEW = {"clone", "copy", "item", "tolist"}  # methods whose result is apart from the object


class Scope(NamedTuple):
    """A function, and what outlives its calls beside the names of its module."""

    module: OwnModule
    function: Function
    outer: frozenset[str]  # names of the functions around it
    of_self: bool  # its `self` too
    registered: frozenset[str]  # attributes of self that are written into without harm


class _Names(NamedTuple):
    """The names in a function, and the values that they stand for."""

    module: OwnModule
    held: set[str]  # values that outlive the function
    modules: set[str]  # of the user's own, whose attributes are such values
    imported: set[str]  # from elsewhere: assignments to their attributes outlive it too
    registered: frozenset[str]
    aliases: dict[str, str]  # the name behind a local one


def bound_names(function: Function) -> frozenset[str]:
    """The names that a function binds: arguments, variables, and functions inside it."""
    arguments = function.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    every += [extra for extra in (arguments.vararg, arguments.kwarg) if extra is not None]
    names = {argument.arg for argument in every}
    for node in _own_nodes(function):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            names.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
    return frozenset(names)


def writes(scope: Scope) -> bool:
    """Whether a function changes what outlives its calls, or may do so.

    Functions inside it are not looked at: each is a scope of its own.
    """
    module, local = scope.module, bound_names(scope.function)
    imported = module.imported.keys() - local
    values = {name for name in imported if is_own_value(module.imported[name])}
    held = {*module.values, *module.definitions, *HANDED, *scope.outer, *values} - local
    names = _Names(
        module,
        held | ({CLASS, SELF} if scope.of_self else {CLASS}),
        {name for name in imported if is_own_module(module.imported[name])},
        set(imported),
        scope.registered,
        {},
    )
    _follow(scope.function, names)
    return any(_changes(node, names) for node in _own_nodes(scope.function))


def _own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes below a function, without those inside the functions in it."""
    waiting = [*ast.iter_child_nodes(node)]
    while waiting:  # not by recursion: sums of a thousand terms are as deep
        child = waiting.pop()
        yield child
        if not isinstance(child, FUNCTIONS):
            waiting += ast.iter_child_nodes(child)


def _follow(function: Function, names: _Names) -> None:
    """Add the aliases of a function: its local names for what outlives it."""
    for _ in range(2):  # in a loop a name may be passed on above the line that binds it
        for name, value in _bindings(function):
            if root := _root(value, names):
                names.aliases.setdefault(name, root)


def _bindings(function: Function) -> Iterator[tuple[str, ast.expr]]:
    """The local names that are bound to an expression, or to parts of it."""
    for node in _own_nodes(function):
        for target, value in _targets(node):
            for name in ast.walk(target):
                if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store):
                    yield name.id, value


def _targets(node: ast.AST) -> list[tuple[ast.expr, ast.expr]]:
    """The names that a statement binds, each with its expression."""
    if isinstance(node, ast.Assign):
        return [(target, node.value) for target in node.targets]
    if isinstance(node, ast.For | ast.AsyncFor | ast.comprehension):
        return [(node.target, node.iter)]
    if isinstance(node, ast.AnnAssign | ast.NamedExpr) and node.value is not None:
        return [(node.target, node.value)]
    if isinstance(node, ast.withitem) and node.optional_vars is not None:
        return [(node.optional_vars, node.context_expr)]
    return []


def _changes(node: ast.AST, names: _Names) -> bool:
    """Whether a node assigns to a part of what outlives the function, or changes it."""
    if isinstance(node, ast.Global | ast.Nonlocal):
        return True
    if isinstance(node, ast.Attribute | ast.Subscript) and not isinstance(node.ctx, ast.Load):
        root = _root(node, names)
        return root in names.held or root in names.imported
    if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
        behind = names.aliases.get(node.target.id, node.target.id)
        return behind in names.held - {SELF}  # a tensor or list is changed in place
    return isinstance(node, ast.Call) and _call_changes(node, names)


def _call_changes(call: ast.Call, names: _Names) -> bool:
    """Whether a call changes an argument, the `out` of a function, or what its method is of."""
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else _root_name(function)
    in_place = name.endswith("_") and not name.startswith("_")
    given = [key.value for key in call.keywords if key.arg == "out"]
    if name in BY_ARGUMENT or in_place:
        given += call.args[:1]
    if any(_is_written(value, names) for value in given):
        return True
    if isinstance(function, ast.Name):
        return _argument_is_changed(call, function.id, names)
    if not isinstance(function, ast.Attribute):
        return False
    owner = function.value
    if isinstance(owner, ast.Name) and _root(owner, names) in {SELF, CLASS, *names.modules}:
        return False  # a method of its own, which is looked at by itself
    return (in_place or name in CHANGING) and _is_written(owner, names)


def _argument_is_changed(call: ast.Call, name: str, names: _Names) -> bool:
    """Whether a function of the same module is given what outlives its caller, and changes it."""
    function = names.module.definitions.get(name)
    if not isinstance(function, FUNCTIONS):
        return False
    by_place = [*function.args.posonlyargs, *function.args.args]
    given = dict(zip((one.arg for one in by_place), call.args, strict=False))
    given |= {key.arg: key.value for key in call.keywords if key.arg is not None}
    held = {argument for argument, value in given.items() if _is_written(value, names)}
    if not held:
        return False
    inner = names._replace(held=held, modules=set(), imported=set(), aliases={})
    _follow(function, inner)
    return any(
        _changes(node, inner)
        for node in _own_nodes(function)
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name))  # no recursion
    )


def _is_written(value: ast.expr, names: _Names) -> bool:
    """Whether to write into this value is to write into what outlives the function."""
    root = _root(value, names)
    if root == SELF:
        return not any(
            isinstance(node, ast.Attribute) and node.attr in names.registered
            for node in ast.walk(value)
        )
    return root in names.held or root in names.modules


def _root(node: ast.AST, names: _Names) -> str:
    """The name behind an expression such as a.b[0].get("c"); empty where it is new or unknown."""
    if isinstance(node, ast.Name):
        name = names.aliases.get(node.id, node.id)
        return name if name in names.held or name in names.imported else ""
    if isinstance(node, ast.Attribute) and node.attr == "__class__":
        return CLASS
    if isinstance(node, ast.Attribute | ast.Subscript | ast.Starred):
        return _root(node.value, names)
    if isinstance(node, ast.IfExp):
        return _first(names, node.body, node.orelse)
    if isinstance(node, ast.BoolOp):
        return _first(names, *node.values)
    if isinstance(node, ast.Tuple | ast.List):
        return _first(names, *node.elts)
    return _root_of_call(node, names) if isinstance(node, ast.Call) else ""


def _root_of_call(call: ast.Call, names: _Names) -> str:
    """The name behind the result of a call, which may be a part of what it is called on."""
    if isinstance(call.func, ast.Name):
        name = call.func.id
        if name in PASSING:
            return _first(names, *call.args)
        return name if name in names.held and _hands_out(name, names.module) else ""
    if not isinstance(call.func, ast.Attribute) or call.func.attr in NEW:
        return ""
    root = _root(call.func.value, names)
    return root if root in names.held - {SELF} else ""


def _hands_out(name: str, module: OwnModule) -> bool:
    """Whether a function may return the same object again: a cached one, or one of its module."""
    if name in HANDED:
        return True
    function = module.definitions.get(name)
    if not isinstance(function, ast.FunctionDef):
        return False
    returned = (node.value for node in ast.walk(function) if isinstance(node, ast.Return))
    roots = {_root_name(value) for value in returned if value is not None}
    return bool(function.decorator_list) or not roots.isdisjoint(module.values)


def _first(names: _Names, *nodes: ast.AST) -> str:
    """The first name behind any of these expressions; empty if there is none."""
    return next((root for node in nodes if (root := _root(node, names))), "")


def _root_name(node: ast.AST) -> str:
    """The name from which an expression such as a.b[0].c begins; empty without one."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""
