"""The mechanical half of the prose: first words of docstrings, and names of variables."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT

# A preposition, pronoun or conjunction needs a sentence before it: such a docstring is a fragment,
# which nobody understands with the file closed. An imperative verb or a noun phrase is wanted; an
# article, a number, "How", "Whether", "No" and "Each" begin these, and are not listed.
FRAGMENT = re.compile(
    r"""["'(]*
    (?: of | by | with | from | for | to | in | on | at | as | into | between | before | after
      | behind | beside | within | without | under | over | until | like | than
      | it | its | they | them | their | this | these | those | that | none | some | such
      | the \s same | all \s (?: of | that) | same | what | which | who | whose | whom
      | where | when | why | if | because | so | though | although | also | else | not
      | and | or | but | nor | then
    ) \b (?!-)""",
    re.IGNORECASE | re.VERBOSE,
)
# They name nothing: the reader has to go back to see what was found.
EMPTY_NAMES = frozenset({"found", "own", "said", "told", "each"})

PAGES = sorted([*(ROOT / "xent_bench").rglob("*.py"), *(ROOT / "scripts").rglob("*.py")])
DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def docstrings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and text of each docstring of a module, a class or a function."""
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and (text := ast.get_docstring(node)):
            yield node.body[0].lineno, text


def is_fragment(docstring: str) -> bool:
    """Whether it begins with words that refer to a sentence before it."""
    return FRAGMENT.match(docstring) is not None


def assigned_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and name of each variable, attribute and argument, wherever a name can be bound."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
            yield node.lineno, node.name
        elif isinstance(node, ast.MatchMapping) and node.rest:
            yield node.lineno, node.rest


def fragments(file: Path) -> list[str]:
    """Where a docstring is a fragment, and how it begins."""
    return [
        f"{file.relative_to(ROOT)}:{line}: {text.splitlines()[0][:60]!r}"
        for line, text in sorted(docstrings(ast.parse(file.read_text())))
        if is_fragment(text)
    ]


def empty_names(file: Path) -> list[str]:
    """Where a variable has a name that names nothing, and which."""
    return [
        f"{file.relative_to(ROOT)}:{line}: {name}"
        for line, name in sorted(assigned_names(ast.parse(file.read_text())))
        if name in EMPTY_NAMES
    ]


def test_no_docstring_begins_as_a_fragment():
    offences = [line for file in PAGES for line in fragments(file)]

    assert not offences, "\n".join([f"{len(offences)} docstrings are fragments:", *offences])


def test_no_variable_has_a_name_that_names_nothing():
    offences = [line for file in PAGES for line in empty_names(file)]

    assert not offences, "\n".join([f"{len(offences)} names name nothing:", *offences])


@pytest.mark.parametrize(
    ("docstring", "expected"),
    [
        ("Their middle.", True),
        ("The same, or that it is still running.", True),
        ("All of it.", True),
        ("It runs again.", True),
        ("(Of the net.)", True),
        ("As\nit is.", True),
        ("Decode the images numbered `order`.", False),
        ("The sum of losses.", False),
        ("All losses by name.", False),
        ("In-place softmax.", False),
        ("Order of the images.", False),
        ("Whether the run is finished.", False),
        ("-log p_y, in nats.", False),
        ("`of` names the split.", False),
    ],
)
def test_a_fragment_is_known_by_its_first_word(docstring, expected):
    assert is_fragment(docstring) == expected


def test_a_name_is_seen_wherever_python_binds_one():
    source = """
a = [b for b in c]
def f(d, *e, g=0, **h): (i := 1)
with j as k: pass
for l, m in n: pass
try: pass
except O as p: pass
q: int = lambda r: 0
self.s = 1
"""

    assert {name for _, name in assigned_names(ast.parse(source))} == set("abdeghiklmpqrs")
