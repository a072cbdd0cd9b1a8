"""What names mean, file by file, and what stands around a node."""

import ast

import pytest

from dldoctor.facts.source.syntax import argument
from dldoctor.facts.source.text import SourceFile


def called(text: str) -> list[str]:
    syntax = SourceFile("t.py", text).syntax
    return [syntax.name(call.func) for call in syntax.of(ast.Call)]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("import torch\ntorch.load(p)", "torch.load"),
        ("import torch as T\nT.load(p)", "torch.load"),
        ("from torch import load as lade\nlade(p)", "torch.load"),
        ("import torch.nn as nn\nnn.Linear(1, 2)", "torch.nn.Linear"),
        ("import torch.nn.functional\ntorch.nn.functional.relu(x)", "torch.nn.functional.relu"),
        ("from torch.nn.modules.conv import Conv2d\nConv2d(1, 2, 3)", "torch.nn.Conv2d"),
        ("from torch.utils.data.dataloader import DataLoader as DL\nDL(x)", "torch.utils.data.DataLoader"),
        ("import torch\nF = torch.nn.functional\nF.relu(x)", "torch.nn.functional.relu"),
        ("import torch\ndef f():\n    lade = torch.load\n    return lade(p)", "torch.load"),
        ("try:\n    import torch\nexcept ImportError:\n    torch = None\ntorch.load(p)", "torch.load"),
        ("from torch.nn import *\nLinear(1, 2)", "torch.nn.Linear"),
        ("print(1)", "builtins.print"),
        ("from .torch import load\nload(p)", ""),
        ("import torch\ndef f(torch):\n    torch.load(p)", ""),
        ("import torch\ntorch = other\ntorch.load(p)", ""),
        ("import torch\ndef f():\n    global torch\n    torch = x\ntorch.load(p)", ""),
        ("from torch import load\nclass A:\n    load = 3\n    def f(self):\n        load(p)", "torch.load"),
        ("from torch import load\n[load(p) for load in loads]", ""),
        ("from torch import load\nif (n := 3):\n    load(p)", "torch.load"),
    ],
)
def test_a_name_means_what_its_scope_bound(text: str, name: str) -> None:
    assert called(text) == [name]


def test_two_imports_in_try_and_except_are_both_meant() -> None:
    old = "try:\n    from torch.amp import autocast\nexcept ImportError:\n    from torch.cuda.amp import autocast\n"
    syntax = SourceFile("t.py", f"{old}autocast()").syntax
    assert syntax.names(syntax.of(ast.Call)[0].func) == ("torch.amp.autocast", "torch.cuda.amp.autocast")
    assert not syntax.name(syntax.of(ast.Call)[0].func)
    assert len(list(syntax.calls("torch.cuda.amp.autocast"))) == 1


def test_a_decorator_and_a_default_stand_outside_of_their_function() -> None:
    syntax = SourceFile("t.py", "@mark(1)\ndef f(x=make(2)):\n    inside(3)\n").syntax
    functions = {ast.unparse(call.func): syntax.function(call) for call in syntax.of(ast.Call)}
    assert functions["mark"] is None
    assert functions["make"] is None
    assert functions["inside"] is syntax.of(ast.FunctionDef)[0]


def test_nodes_come_in_the_order_of_the_text_however_deep_they_nest() -> None:
    deep = "x = " + "(" * 60 + "a" + ".b()" * 500 + ")" * 60
    assert len(SourceFile("t.py", deep).syntax.of(ast.Call)) == 500
    syntax = SourceFile("t.py", "a(b(c()), d())\ne()").syntax
    assert [ast.unparse(call.func) for call in syntax.of(ast.Call)] == ["a", "b", "c", "d", "e"]


def test_an_argument_is_found_by_place_and_by_name_unless_stars_hide_it() -> None:
    calls = SourceFile("t.py", "f(1, b=2)\nf(*x, 5)\n").syntax.of(ast.Call)
    assert ast.unparse(argument(calls[0], 0, "a") or ast.Name("-")) == "1"
    assert ast.unparse(argument(calls[0], 1, "b") or ast.Name("-")) == "2"
    assert argument(calls[1], 1, "b") is None


def test_a_file_that_does_not_parse_has_no_nodes() -> None:
    assert SourceFile("t.py", "def f(:\n").syntax.of(ast.Call) == []
