"""What a name may hold where it is read."""

from __future__ import annotations

import ast
import textwrap

import pytest

from dldoctor.facts.source.reaching import held, last_held, read_later
from dldoctor.facts.source.syntax import Syntax


def at_mark(text: str) -> tuple[Syntax, ast.expr]:
    """The syntax of a text, and the argument of its call of `mark`."""
    syntax = Syntax(ast.parse(textwrap.dedent(text)))
    call = next(each for each in syntax.of(ast.Call) if isinstance(each.func, ast.Name) and each.func.id == "mark")
    return syntax, call.args[0]


def shown(text: str) -> set[str]:
    syntax, node = at_mark(text)
    return {ast.unparse(each) for each in held(syntax, node)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = 1\nx = 2\nmark(x)", {"2"}),
        ("x = 1\nif c:\n    x = 2\nmark(x)", {"1", "2"}),
        ("if c:\n    x = 1\nelse:\n    x = 2\nmark(x)", {"1", "2"}),
        ("x = 1\nif c:\n    x = 2\nelse:\n    mark(x)", {"1"}),
        ("x = 1\nif c:\n    x = 2\n    raise E\nmark(x)", {"1"}),
        ("x = 1\nwith c:\n    x = 2\nmark(x)", {"2"}),
        ("x = 1\nfor i in c:\n    mark(x)\n    x = 2", {"1", "2"}),
        ("x = 1\nfor i in c:\n    x = 3\n    mark(x)\n    x = 2", {"3"}),
        ("x = 1\nx = mark(x)", {"1"}),
        ("a, x = 1, 2\nmark(x)", {"2"}),
        ("x = 1\nx /= 255\nmark(x)", {"x /= 255"}),
        ("def f(x):\n    x = 4\n    mark(x)", {"4"}),
        ("x = 1\ndef f():\n    mark(x)", {"1"}),
        ("x = 1\nmark([x for _ in c][0])", set()),
        ("x = 7\n[mark(x) for _ in c]", {"7"}),
    ],
)
def test_the_assignments_that_may_reach_a_read_are_held(text: str, expected: set[str]) -> None:
    assert shown(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "def f(x):\n    mark(x)",
        "x = 1\nfor x in c:\n    mark(x)",
        "a, x = c()\nmark(x)",
        "x = 1\nx = 2\ndef f():\n    mark(x)",
        "import x\nmark(x)",
        "mark(x)",
        "with c as x:\n    mark(x)",
    ],
)
def test_nothing_is_held_where_the_value_is_not_in_sight(text: str) -> None:
    assert shown(text) == set()


def test_an_attribute_holds_what_its_class_assigns() -> None:
    text = """
    class A:
        def __init__(self):
            self.x = 1

    class B:
        def __init__(self):
            self.x = 2

        def use(self):
            mark(self.x)
    """
    assert shown(text) == {"2"}


def test_plain_names_are_followed_to_what_they_stand_for() -> None:
    syntax, node = at_mark("a = f()\nb = a\nmark(b)")
    assert ast.unparse(last_held(syntax, node)) == "f()"


def test_the_later_reads_of_a_binding_are_those_that_it_may_reach() -> None:
    syntax = Syntax(ast.parse("x = 1\nf(x)\nx = 2\ng(x)\nh(x)"))
    second = [node for node in syntax.of(ast.Name) if node.id == "x" and isinstance(node.ctx, ast.Store)][1]
    assert [node.lineno for node in read_later(syntax, second)] == [4, 5]
