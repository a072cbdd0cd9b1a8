"""Judging part by part: the same answers in one process, in several, and from memory."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dldoctor import Outcome, examine_code
from dldoctor.facts.source.tree import SourceTree
from dldoctor.finding import CodeFrame, Edit, Edits, Finding, Place, Severity
from dldoctor.judging import memory, parts
from dldoctor.judging.panel import Panel
from dldoctor.judging.verdict import Verdict
from dldoctor.resources import Resources

from ..engine import records

HELPER = "import torch\n\n\ndef running(total, loss):\n    return total + loss\n"
TRAINING = """import torch
from helper import running
net = torch.nn.Linear(2, 2)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
loss_fn = torch.nn.CrossEntropyLoss()
for epoch in range(3):
    for x, y in torch.utils.data.DataLoader([]):
        loss = loss_fn(net(x), y)
        loss.backward()
        optimizer.step()
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "helper.py").write_text(HELPER)
    for number in range(6):
        (tmp_path / f"train{number}.py").write_text(TRAINING + "#" * 100 + "\n")
    return tmp_path


def found(outcome: Outcome) -> list[str]:
    return [f"{e.check.code} {e.finding.at} {e.finding.message} {e.finding.fix}" for e in outcome.entries]


def test_several_processes_say_what_one_says(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = examine_code(".", resources=Resources(workers=1)).outcome
    assert [e.check.code for e in alone.entries] == ["SRC008"] * 6
    asked = []
    real = parts.ask_all
    monkeypatch.setattr(parts, "ask_all", lambda *given: asked.append(given[2]) or real(*given))
    monkeypatch.setattr(parts, "_WORTH", 100)
    beside = examine_code(".", resources=Resources(workers=2)).outcome
    assert asked == [2]
    assert found(beside) == found(alone)
    assert beside.crashes == ()


def judged_anew(resources: Resources, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], list[str]]:
    names: list[str] = []
    real = parts.judged

    def spy(panel: Panel, whole: SourceTree, name: str) -> parts.Judgement:
        names.append(name)
        return real(panel, whole, name)

    with monkeypatch.context() as patch:
        patch.setattr(parts, "judged", spy)
        return names, found(examine_code(".", resources=resources).outcome)


def test_what_has_not_changed_is_remembered(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Resources(workers=1, cache=project / ".cache")
    names, first = judged_anew(store, monkeypatch)
    assert len(names) == 7
    assert judged_anew(store, monkeypatch) == ([], first)
    (project / "train3.py").write_text(TRAINING.replace("backward()", "backward(); optimizer.zero_grad()"))
    names, second = judged_anew(store, monkeypatch)
    assert names == ["train3.py"]
    assert second == [line for line in first if "train3" not in line]


def test_a_change_of_what_a_file_imports_judges_it_anew(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(6):
        file = project / f"train{number}.py"
        file.write_text(file.read_text() + "running(0, loss)\n")
    store = Resources(workers=1, cache=project / ".cache")
    judged_anew(store, monkeypatch)
    (project / "helper.py").write_text(HELPER.replace("total + loss", "loss"))
    assert len(judged_anew(store, monkeypatch)[0]) == 7
    (project / "torch.py").write_text("")  # now `import torch` means another file
    assert len(judged_anew(store, monkeypatch)[0]) == 8


def test_a_damaged_memory_costs_nothing(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Resources(workers=1, cache=project / ".cache")
    _, first = judged_anew(store, monkeypatch)
    (kept,) = (project / ".cache" / "verdicts").glob("*.json")
    kept.write_bytes(kept.read_bytes()[:-40])
    names, again = judged_anew(store, monkeypatch)
    assert (len(names), again) == (7, first)


def test_a_memory_that_cannot_be_written_costs_the_memory_alone(project: Path) -> None:
    (project / ".cache").write_text("a file")
    assert examine_code(".", resources=Resources(workers=1, cache=project / ".cache")).outcome.crashes == ()


def test_a_file_is_judged_alike_whatever_is_examined_beside_it(project: Path) -> None:
    alone = examine_code("train2.py", resources=Resources(workers=1)).outcome
    among = examine_code(".", resources=Resources(workers=1)).outcome
    assert found(alone) == [line for line in found(among) if "train2" in line]


def test_a_check_that_fails_has_its_error_for_a_verdict(project: Path) -> None:
    (check,) = records("AAA001")

    def broken(source: SourceTree) -> Iterator[Finding]:
        raise RuntimeError("no")
        yield

    panel = Panel(SourceTree, [type(check)(**{**check.__dict__, "function": broken})])
    tree = SourceTree.opened(f'["{project}", "."]')
    judgement = parts.judged(panel, tree, "helper.py")
    (verdict,) = judgement.verdicts
    assert verdict.error is not None
    assert verdict.error.startswith("RuntimeError: no (test_parts.py:")


def test_a_verdict_reads_as_it_was_written() -> None:
    frame = CodeFrame("a.py", 3, "x = 1", 1, 2, "here", 4)
    fix = Edits("write y", (Edit("a.py", 0, 1, "y"),), safe=False)
    finding = Finding(
        Place("a.py", 3, cell=4), "{n} of {of}", n=1, of=[2, None], show=frame, fix=fix, severity=Severity.INFO
    )
    verdict = Verdict("AAA001", (finding,))
    assert Verdict.read(verdict.plain()) == verdict


def test_old_memories_are_dropped(project: Path) -> None:
    import os

    folder = project / ".cache" / "verdicts"
    folder.mkdir(parents=True)
    (folder / "old.json").write_text("{}")
    os.utime(folder / "old.json", (0, 0))
    examine_code(".", resources=Resources(workers=1, cache=project / ".cache"))
    assert not (folder / "old.json").exists()
    assert memory._DAYS > 1
