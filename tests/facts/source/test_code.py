"""What the reader says of a source: names, scopes, values, loops, effects, and what it leaves open."""

import pytest

from dldoctor.facts.source.code import TrainingCode
from dldoctor.facts.source.flow.events import Event
from dldoctor.facts.source.flow.roles import blocked, has_graph, is_optimizer, knows_modes, origin, role
from dldoctor.facts.source.flow.values import Either, Object
from dldoctor.facts.source.project import Project
from dldoctor.facts.source.text import SourceFile


def read(text: str, **others: str) -> TrainingCode:
    trains = f"{text}\n# a word that training files have: zero_grad"
    files = [SourceFile("main.py", trains), *(SourceFile(f"{name}.py", other) for name, other in others.items())]
    return TrainingCode(files[0], Project(files))


def only(code: TrainingCode, *kinds: str) -> Event:
    (event,) = code.events(*kinds)
    return event


@pytest.mark.parametrize(
    ("imports", "call"),
    [
        ("import torch", "torch.nn.functional.cross_entropy"),
        ("import torch.nn.functional as F", "F.cross_entropy"),
        ("from torch.nn import functional as lossy", "lossy.cross_entropy"),
        ("from torch.nn.functional import cross_entropy as ce", "ce"),
        ("from torch import nn", "nn.functional.cross_entropy"),
        ("from torch.nn.functional import *", "cross_entropy"),
        ("import torch\nf = torch.nn.functional", "f.cross_entropy"),
    ],
)
def test_a_name_is_the_same_through_every_import(imports: str, call: str) -> None:
    assert only(read(f"{imports}\n{call}(x, y)"), "loss").name == "torch.nn.functional.cross_entropy"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("x = torch.nn.Linear(1, 2).to('cuda')", "module"),
        ("class N(torch.nn.Module): pass\nclass M(N): pass\nx = M()", "module"),
        ("x = torch.compile(torch.nn.Linear(1, 2))", "module"),
        ("x = torch.optim.AdamW([])", "optimizer"),
        ("x = torch.optim.SGD([]) if torch.cuda.is_available() else torch.optim.Adam([])", "optimizer"),
        ("x = torch.optim.lr_scheduler.StepLR(o, 1)", "scheduler"),
        ("x = torch.utils.data.DataLoader([])", "loader"),
        ("x = torch.nn.CrossEntropyLoss().cuda()", "loss"),
        ("x = torch.nn.Parameter(torch.rand(1))", ""),
        ("x = torch.rand(1)", ""),
    ],
)
def test_a_value_has_the_role_of_its_making(text: str, part: str) -> None:
    code = read(f"import torch\n{text}\nopaque(x)")
    event = [e for e in code.events("opaque") if not e.name][-1]
    assert role(event.arguments[0]) == part


def test_a_helper_counts_where_it_is_called() -> None:
    code = read(
        "import torch\nfrom steps import go_back\nm = torch.nn.Linear(1, 2)\nfor x in data:\n    go_back(m(x))",
        steps="import torch\ndef go_back(out):\n    out.sum().backward()",
    )
    event = only(code, "backward")
    assert event.file.path == "steps.py"
    assert event.loop is not None
    assert event.loop.file.path == "main.py"


def test_no_grad_of_the_caller_reaches_the_called() -> None:
    code = read(
        "import torch\nm = torch.nn.Linear(1, 2)\ndef f(x):\n    return m(x)\nwith torch.no_grad():\n    f(1)\nf(2)"
    )
    assert [event.grad for event in code.events("forward")] == [False, True]


@pytest.mark.parametrize(
    ("header", "grad"),
    [
        ("torch.no_grad()", False),
        ("torch.inference_mode()", False),
        ("torch.inference_mode(False)", True),
        ("torch.set_grad_enabled(False)", False),
        ("torch.set_grad_enabled(phase == 'train')", None),
        ("torch.autocast('cuda')", True),
        ("unknown()", None),
    ],
)
def test_contexts_switch_autograd(header: str, grad: bool | None) -> None:
    code = read(f"import torch\nm = torch.nn.Linear(1, 2)\nwith {header}:\n    m(x)")
    assert only(code, "forward").grad is grad


def test_modes_follow_calls_and_branches() -> None:
    code = read(
        "import torch\nm = torch.nn.Linear(1, 2)\nm(1)\nm.eval()\nm(2)\nif flag:\n    m.train()\nm(3)\n"
        "m.train(False)\nm(4)\nelsewhere(m)\nm(5)"
    )
    assert [event.mode for event in code.events("forward")] == ["train", "eval", None, "eval", None]


def test_an_entry_without_caller_leaves_autograd_open_until_it_goes_back() -> None:
    idle = read("import torch\ndef f(model, x):\n    model.eval()\n    model(x)")
    busy = read("import torch\ndef f(model, x):\n    model.eval()\n    model(x).sum().backward()")
    assert [e.recording for code in (idle, busy) for e in code.events("forward")] == [None, True]


def test_branches_join_to_either_value() -> None:
    code = read("import torch\nif a:\n    o = torch.optim.SGD([])\nelse:\n    o = torch.optim.Adam([])\nopaque(o)")
    value = only(code, "opaque").arguments[0]
    assert isinstance(value, Either)
    assert is_optimizer(value)


@pytest.mark.parametrize(
    ("expression", "graph"),
    [
        ("loss", True),
        ("loss / 3", True),
        ("2 * loss + 1", True),
        ("loss.item()", False),
        ("loss.detach()", False),
        ("float(loss)", False),
        ("loss.data", False),
        ("(loss > 0).sum()", False),
        ("mystery(3)", None),
    ],
)
def test_a_graph_is_followed_through_expressions(expression: str, graph: bool | None) -> None:
    code = read(f"import torch\nloss = torch.nn.functional.mse_loss(m(x), y)\nloss.backward()\nopaque({expression})")
    value = [e for e in code.events("opaque") if len(e.arguments) == 1][-1].arguments[0]
    assert has_graph(value) is graph


def test_autograd_is_blocked_only_when_every_way_is() -> None:
    start = "import torch\nm, h = torch.nn.Linear(1, 2), torch.nn.Linear(2, 2)\nwith torch.no_grad():\n    f = m(x)\n"
    shut = only(read(f"{start}torch.nn.functional.mse_loss(f, torch.zeros(1)).backward()"), "backward")
    way_out = only(read(f"{start}torch.nn.functional.mse_loss(h(f), torch.zeros(1)).backward()"), "backward")
    assert blocked(shut.value)
    assert blocked(way_out.value) is None


def test_wrappers_stand_for_what_they_wrap() -> None:
    code = read("import torch\nm = torch.nn.Linear(1, 2)\nd = torch.nn.DataParallel(m)\nd(1)\nd.module(2)")
    first, second = code.events("forward")
    assert origin(first.value) is origin(second.value)


def test_attributes_of_an_object_keep_what_init_put_there() -> None:
    code = read(
        "import torch\nclass T:\n    def __init__(self, net):\n        self.net = net\n"
        "    def run(self, x):\n        return self.net(x)\nT(torch.nn.Linear(1, 2)).run(3)"
    )
    assert isinstance(only(code, "forward").value, Object)


@pytest.mark.parametrize(
    ("layer", "differs"),
    [
        ("torch.nn.Linear(1, 2)", False),
        ("torch.nn.BatchNorm1d(2)", True),
        ("unknown_layer()", True),
        ("torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Dropout())", True),
    ],
)
def test_a_network_knows_modes_when_a_layer_does(layer: str, differs: bool) -> None:
    code = read(
        "import torch\nclass N(torch.nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        f"        self.a = {layer}\n    def forward(self, x):\n        return self.a(x)\nN()(1)"
    )
    assert knows_modes(next(iter(code.events("forward"))).value) is differs


@pytest.mark.parametrize(
    "text",
    [
        "import torch\nx = " + "+".join(["1"] * 900),
        "import torch\n" + "".join(f"{' ' * n}if x:\n" for n in range(90)) + " " * 90 + "pass",
        "import torch\ndef f(x):\n    return f(g(x))\ndef g(x):\n    return f(x)\nf(1)",
        "import torch\nclass A:\n    def __init__(self):\n        self.a = self\n        self.b = A()\nA()",
    ],
)
def test_odd_sources_do_not_keep_what_follows_from_being_read(text: str) -> None:
    after = f"{text}\nimport torch\ntorch.load('x')\n"
    assert next(read(after).calls("torch.load")).file.path == "main.py"


@pytest.mark.parametrize("expression", ["-" * 3000 + "1", "+".join(["1"] * 5000)])
def test_what_is_too_deep_for_the_parser_has_no_reading(expression: str) -> None:
    assert read(f"import torch\nx = {expression}\n").runs == []


def test_a_part_has_the_mode_of_the_whole_that_a_caller_may_have_switched() -> None:
    code = read(
        "import torch\nclass N(torch.nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.drop = torch.nn.Dropout()\n    def show(self, loss):\n        return self.drop(loss)"
    )
    assert only(code, "forward").mode is None


def test_a_layer_put_into_a_network_is_an_effect_outside_its_making() -> None:
    code = read(
        "import torch, torchvision\nclass N(torch.nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.fc = torch.nn.Linear(1, 2)\nn = N()\nn.fc = torch.nn.Linear(1, 3)\n"
        "r = torchvision.models.vgg16()\nr.classifier[6] = torch.nn.Linear(1, 3)"
    )
    assert [event.node.lineno for event in code.events("replace")] == [7, 9]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("imports", "seen"),
    [("import paddle", False), ("from mxnet import gluon", False), ("import paddle\nimport torch", True)],
)
def test_the_steps_of_another_framework_are_no_events(imports: str, seen: bool) -> None:
    code = read(f"{imports}\nimport numpy\nfor x in data:\n    loss = net(x)\n    loss.backward()\n    optim.step(1)\n")
    assert bool([*code.events("backward")]) is seen


def test_a_network_that_its_maker_switched_has_no_certain_mode_where_another_entry_begins() -> None:
    code = read(
        "import torch\nclass A:\n    def __init__(self):\n        self.net = torch.nn.Dropout()\n"
        "        self.net.eval()\n    def show(self, x):\n        return self.net(x)"
    )
    assert only(code, "forward").mode is None
