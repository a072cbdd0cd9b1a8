"""How statements stand to each other: which exclude each other, what decides over them, which leave a loop."""

import ast

import pytest

from dldoctor.facts.source.blocks import conditions, exclusive, innermost_loop, leaves, passes, stands_in
from dldoctor.facts.source.syntax import Syntax


def marked(text: str) -> tuple[Syntax, dict[str, ast.Call]]:
    """The calls `a()`, `b()`, ... of a text, by their names."""
    syntax = Syntax(ast.parse(text))
    return syntax, {n.func.id: n for n in syntax.of(ast.Call) if isinstance(n.func, ast.Name)}


@pytest.mark.parametrize(
    ("text", "apart"),
    [
        ("if x:\n    a()\nelse:\n    b()", True),
        ("if x:\n    a()\nb()", False),
        ("try:\n    a()\nexcept E:\n    b()", True),
        ("match x:\n    case 1:\n        a()\n    case 2:\n        b()", True),
        ("a() if x else b()", True),
        ("with x:\n    a()\n    b()", False),
        ("for i in x:\n    if i:\n        a()\n    b()", False),
    ],
)
def test_arms_of_one_condition_exclude_each_other(text: str, apart: bool) -> None:
    syntax, calls = marked(text)
    assert exclusive(syntax, calls["a"], calls["b"]) is apart
    assert passes(syntax, calls["a"], calls["b"]) is not apart


def test_no_way_goes_on_behind_a_continue() -> None:
    syntax, calls = marked("for i in x:\n    if i:\n        a()\n        continue\n    b()")
    assert not passes(syntax, calls["a"], calls["b"])


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("for i in x:\n    a()", []),
        ("for i in x:\n    if i:\n        a()", [ast.If]),
        ("for i in x:\n    if i:\n        continue\n    a()", [ast.If]),
        ("for i in x:\n    with y:\n        for j in i:\n            a()", [ast.For]),
        ("for i in x:\n    try:\n        f\n    except E:\n        a()", [ast.ExceptHandler]),
        ("for i in x:\n    i and a()", [ast.BoolOp]),
        ("for i in x:\n    if a():\n        f", []),
    ],
)
def test_conditions_decide_over_what_is_reached_in_a_round(text: str, kinds: list[type]) -> None:
    syntax, calls = marked(text)
    loop = next(n for n in ast.walk(syntax.tree or ast.Pass()) if isinstance(n, ast.For))
    assert [type(each) for each in conditions(syntax, calls["a"], loop)] == kinds


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("for i in x:\n    if i:\n        a()\n        break", True),
        ("for i in x:\n    if i:\n        a()\n    break", True),
        ("for i in x:\n    a()\n    if i:\n        break", False),
        ("for i in x:\n    a()\n    continue", False),
        ("for i in x:\n    for j in i:\n        a()\n        break", False),
    ],
)
def test_a_loop_is_left_where_nothing_holds_the_flow_back(text: str, left: bool) -> None:
    syntax, calls = marked(text)
    loop = next(n for n in ast.walk(syntax.tree or ast.Pass()) if isinstance(n, ast.For))
    statement = syntax.statement(calls["a"])
    assert statement is not None
    assert leaves(syntax, statement, loop) is left


def test_a_nested_function_is_another_place() -> None:
    syntax, calls = marked("for i in x:\n    a()\n    def f():\n        b()")
    loop = innermost_loop(syntax, calls["a"])
    assert loop is not None
    assert stands_in(syntax, calls["a"], loop)
    assert innermost_loop(syntax, calls["b"]) is None
    assert not stands_in(syntax, calls["b"], loop)
