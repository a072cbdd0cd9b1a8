"""Which values surely are inside a graph, and what functions answer that are not read again."""

from dldoctor.facts.source.code import TrainingCode
from dldoctor.facts.source.flow.events import Event, Run
from dldoctor.facts.source.flow.ties import in_graph, tied, way_back
from dldoctor.facts.source.project import Project
from dldoctor.facts.source.text import SourceFile


def last_run(text: str) -> Run:
    file = SourceFile("main.py", f"import torch\n{text}\n# a word that training files have: zero_grad")
    return TrainingCode(file, Project([file])).runs[-1]


def opaque(run: Run) -> Event:
    """The call of a name that nothing in sight binds."""
    return next(e for e in run.of("opaque") if not e.name and len(e.arguments) == 1)


def test_the_only_output_on_the_way_back_is_tied() -> None:
    run = last_run(
        "def f(net, x, y, criterion, show):\n    net.train()\n    out = net(x)\n    criterion(out, y).backward()\n"
        "    show(out)"
    )
    event = [e for e in run.of("opaque") if len(e.arguments) == 1][-1]
    assert in_graph(event.arguments[0], tied(run))
    assert not in_graph(event.arguments[0], {})


def test_of_two_outputs_on_the_way_back_neither_is_sure() -> None:
    run = last_run("def f(one, two, x):\n    one.train()\n    two.train()\n    (one(x) + two(x)).sum().backward()")
    assert tied(run) == {}


def test_a_leaf_is_not_inside_its_graph() -> None:
    run = last_run("x = torch.rand(2)\nx.requires_grad_(True)\nshow(x)\n")
    assert not in_graph(opaque(run).arguments[0], {})


def test_nothing_is_gone_back_through_behind_detach() -> None:
    run = last_run("m = torch.nn.Linear(1, 2)\nout = m(x)\n(out.detach() * 2 + m(y)).sum().backward()")
    (event,) = run.of("backward")
    outputs = [v for v in way_back(event.value) if getattr(v, "made_by", "") == "forward"]
    assert len(outputs) == 1


def test_a_helper_answers_for_the_arguments_of_each_call() -> None:
    run = last_run(
        "m, n = torch.nn.Linear(1, 2), torch.nn.Linear(1, 2)\ndef twice(value):\n    doubled = value * 2\n"
        "    return doubled.sum()\ntwice(m(x)).backward()\ntwice(n(x)).backward()"
    )
    first, second = run.of("backward")
    assert {id(v) for v in way_back(first.value)}.isdisjoint(
        {id(v) for v in way_back(second.value) if getattr(v, "made_by", "") == "forward"}
    )
