"""Whether code of a user's own keeps state where the runs of one process would share it.

A counter or a running mean of a module outlives a run, and the calls of one run are seen by the
next. The source tells, and is not imported: assignments, and calls of methods that change what they
are called on. Where the source leaves a doubt the answer is yes, which costs time; a no that is
wrong would cost numbers.
"""

import ast
import re
from collections.abc import Iterator
from typing import Literal, TypeAlias

from xent_bench.config.own_modules import OwnModule, dotted, module_of
from xent_bench.config.state_writes import FUNCTIONS, SELF, Scope, bound_names, writes

BUILDING = re.compile("(^|_)(init|reset|build|make)")  # names of methods called before training
# calls whose results change by being used: generators of random numbers, and iterators
ADVANCING = {"default_rng", "RandomState", "Generator", "Random", "iter", "count", "cycle"}
REGISTERED = ("register_buffer", "register_parameter")
CHANGEABLE = {"dict", "list", "set", "defaultdict", "deque", "Counter", "OrderedDict"}

# whose object a method's `self` is: of one call; of one run, as a net; of all runs of a process
Owner: TypeAlias = Literal["call", "run", "process"]


def keeps_state(target: str, *, in_instances: bool = False) -> bool:
    """Whether a function or class with this dotted name keeps state from one call to the next.

    State is what outlives the call: variables of its module, attributes of functions and classes,
    defaults that can be changed, names of an outer function, and objects that all calls share; with
    `in_instances` also what a method writes into its object. Functions and classes of the user's
    that it uses count too. False for this package and for installed ones, whose source is not read,
    and where no source is found.
    """
    if target.startswith("xent_bench."):  # of most runs: nothing is looked for on the disk
        return False
    owner: Owner = "run" if in_instances else "call"
    return any(
        (owner != "call" and any(map(_advances, _held_values(node))))
        or any(
            _function_writes(function, outer, module, owner, _registered(node))
            for function, outer in _functions(node, frozenset())
        )
        for module, node, owner in _parts(target, set(), owner)
    )


def _parts(
    target: str, seen: set[tuple[str, Owner]], owner: Owner
) -> Iterator[tuple[OwnModule, ast.AST, Owner]]:
    """The definitions behind a target, each with its module, and whose objects it makes."""
    module, name = module_of(target)
    if module is None or (target, owner) in seen:
        return
    seen.add((target, owner))
    node: ast.AST | None = module.values.get(name) or module.definitions.get(name)
    if node is None:
        if name in module.imported:
            yield from _parts(module.imported[name], seen, owner)
        return
    # one object for all who use the module; a decorator may cache what its function makes
    if name in module.values or (isinstance(node, ast.FunctionDef) and node.decorator_list):
        owner = "process"
    yield module, node, owner
    for used in ast.walk(node):
        first, dot, rest = dotted(used).partition(".")
        if first in module.imported:
            yield from _parts(f"{module.imported[first]}{dot}{rest}", seen, owner)
        elif first in module.definitions or first in module.values:
            yield from _parts(f"{module.name}.{first}", seen, owner)


def _functions(node: ast.AST, outer: frozenset[str]) -> Iterator[tuple[ast.AST, frozenset[str]]]:
    """The functions below a node, each with the names that the functions around it bind."""
    waiting = [(node, outer)]
    while waiting:
        node, outer = waiting.pop()
        if isinstance(node, FUNCTIONS):
            yield node, outer
            outer |= bound_names(node) - {SELF}
        waiting += [(child, outer) for child in ast.iter_child_nodes(node)]


def _function_writes(
    function: ast.AST,
    outer: frozenset[str],
    module: OwnModule,
    owner: Owner,
    registered: frozenset[str],
) -> bool:
    """Whether a function of a module changes what outlives its calls.

    `outer` are names of the functions around it, `registered` those of a net's own tensors.
    """
    assert isinstance(function, FUNCTIONS)
    arguments = function.args
    defaults = [*arguments.defaults, *(value for value in arguments.kw_defaults if value)]
    if any(map(_is_changeable, defaults)):
        return True
    of_self = owner != "call" and not BUILDING.search(getattr(function, "name", ""))
    of_run = registered if owner == "run" else frozenset()
    return writes(Scope(module, function, outer, of_self, of_run))


def _is_changeable(default: ast.expr) -> bool:
    """Whether the default of an argument is a container that calls could change."""
    if isinstance(default, ast.Call):
        return dotted(default.func).rpartition(".")[2] in CHANGEABLE
    return isinstance(default, ast.List | ast.Dict | ast.Set)


def _held_values(node: ast.AST) -> Iterator[ast.AST]:
    """The expressions whose values a variable of a module or an object keeps."""
    if isinstance(node, ast.expr):
        yield node
    elif isinstance(node, ast.ClassDef):
        for part in ast.walk(node):
            if isinstance(part, ast.Assign | ast.AnnAssign) and part.value is not None:
                first = part.targets[0] if isinstance(part, ast.Assign) else part.target
                if isinstance(first, ast.Attribute) or part in node.body:
                    yield part.value


def _advances(value: ast.AST) -> bool:
    """Whether a value has in it what changes by being used, or is a partial with a container."""
    for node in ast.walk(value):
        if isinstance(node, ast.Call):
            name = dotted(node.func).rpartition(".")[2]
            given = [*node.args, *(key.value for key in node.keywords)]
            if name in ADVANCING or (name == "partial" and any(map(_is_changeable, given))):
                return True
    return isinstance(value, ast.GeneratorExp)


def _registered(node: ast.AST) -> frozenset[str]:
    """The attributes of a net's class that hold modules, parameters and buffers: each run's own."""
    names = set()
    for part in ast.walk(node):
        if isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute) and part.args:
            if part.func.attr in REGISTERED and isinstance(part.args[0], ast.Constant):
                names.add(str(part.args[0].value))
        elif isinstance(part, ast.Assign) and isinstance(part.value, ast.Call):
            kind = dotted(part.value.func)
            if kind.startswith(("nn.", "torch.nn.")) or kind == "Parameter":
                names |= {one.attr for one in part.targets if isinstance(one, ast.Attribute)}
    return frozenset(names)
