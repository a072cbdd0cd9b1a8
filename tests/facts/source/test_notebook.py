"""Notebooks: cells joined to one source, magics tolerated, findings and ignores by cell and line."""

import json
from pathlib import Path
from typing import Any

import pytest

from dldoctor import examine_code
from dldoctor.facts.source.notebook import read_notebook


def book(*cells: str, language: str = "python", **more: Any) -> str:
    made = [{"cell_type": "code", "metadata": {}, "outputs": [], "source": cell.splitlines(True)} for cell in cells]
    text = {"cell_type": "markdown", "metadata": {}, "source": ["# Title"]}
    return json.dumps({"cells": [text, *made], "metadata": {"language_info": {"name": language}}, **more})


def text(*cells: str) -> str:
    return read_notebook(book(*cells)).text


@pytest.mark.parametrize(
    ("cell", "kept"),
    [
        ("x = 1", "x = 1\n"),
        ("%matplotlib inline\nx = 1", "pass  # magic\nx = 1\n"),
        ("if a:\n    !pip install \\\n        torch\nx = 1", "if a:\n    pass  # magic\n#         torch\nx = 1\n"),
        ("files = !ls\nx = 1", "pass  # magic\nx = 1\n"),
        ("net?\nx = 1", "pass  # magic\nx = 1\n"),
        ("%time train(x)", "if 1: train(x)\n"),
        ("%timeit  train(x)", "if 1111: train(x)\n"),
        ("%%time\nx = 1", "# %%time\nx = 1\n"),
        ("%%bash\nls *", "# %%bash\n# ls *\n"),
        ("s = '''\n%not a magic\n'''", "s = '''\n%not a magic\n'''\n"),
        ("x = a \\\n  % b", "x = a \\\n  % b\n"),
    ],
)
def test_magics_are_made_harmless_line_by_line(cell: str, kept: str) -> None:
    assert text(cell) == kept


def test_a_cell_that_does_not_parse_leaves_the_others_readable() -> None:
    made = read_notebook(book("x = 1", "for x in", "y = 2"))
    assert [bool(cell.trouble) for cell in made.cells] == [False, True, False]
    assert "y = 2" in made.text


def test_other_languages_have_no_code_here() -> None:
    assert read_notebook(book("x <- 1", language="R")).cells == ()


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"cells": 3, "metadata": {}}', "[" * 100_000])
def test_what_is_no_notebook_is_said_in_one_sentence(content: str) -> None:
    with pytest.raises(ValueError, match="is no notebook"):
        read_notebook(content)


TRAINING = """total = 0
for x, y in loader:
    optimizer.zero_grad()
    loss = loss_fn(net(x), y)
    loss.backward()
    optimizer.step()
    total += loss{ignored}
"""
SETUP = """import torch
net = torch.nn.Linear(2, 2)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
loss_fn = torch.nn.CrossEntropyLoss()
loader = torch.utils.data.DataLoader([])"""


def examined(folder: Path, *cells: str) -> list[tuple[int | None, int | None, str]]:
    (folder / "train.ipynb").write_text(book(*cells))
    report = examine_code(folder / "train.ipynb", select=["SRC001", "SRC081"])
    return [(e.finding.at.cell, e.finding.at.line, e.check.code) for e in report]


def test_a_finding_has_its_cell_and_line_and_a_frame_that_says_so(tmp_path: Path) -> None:
    assert examined(tmp_path, "%matplotlib inline", SETUP, TRAINING.format(ignored="")) == [(3, 7, "SRC001")]
    shown = examine_code(tmp_path / "train.ipynb", select=["SRC001"]).render("terminal")
    assert "train.ipynb cell 3:7" in shown


def test_an_ignore_in_a_cell_holds_for_its_line(tmp_path: Path) -> None:
    ignored = TRAINING.format(ignored="  # dldoctor: ignore[SRC001] meant")
    assert examined(tmp_path, SETUP, ignored) == []


def test_a_broken_cell_is_told_as_information(tmp_path: Path) -> None:
    (tmp_path / "a.ipynb").write_text(book("x = 1", "for x in"))
    (entry,) = examine_code(tmp_path / "a.ipynb")
    assert (entry.check.code, entry.severity.value, entry.finding.at.cell) == ("SRC081", "info", 2)


def test_a_file_that_is_no_notebook_does_not_end_the_run(tmp_path: Path) -> None:
    (tmp_path / "a.ipynb").write_text("no json")
    (tmp_path / "b.py").write_text("x = 1\n")
    (entry,) = examine_code(tmp_path)
    assert entry.finding.at.path is not None
    assert entry.finding.at.path.endswith("a.ipynb")
    assert "no notebook" in entry.finding.message
