"""Bad input for every command: one sentence with what to do, exit status 2, no traceback, nothing changed on disk."""

from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Answer

Run = Callable[..., Answer]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.txt").write_text("no picture")
    (tmp_path / "net.py").write_text("class Net: pass\nvalue = 3\ndef build(width): return None\n")
    (tmp_path / "broken.py").write_text("import nowhere_at_all\n")
    return tmp_path


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["scan"], "DATASET is missing"),
        (["scan", "nowhere"], "nowhere: no such folder"),
        (["scan", "file.txt"], "file.txt: is a file; give the dataset's folder"),
        (["scan", "empty", "--classes", "none"], "--classes none: give a number"),
        (["scan", "empty", "--classes", "cat,dog,cat"], "--classes cat,dog,cat: cat stands there more than once"),
        (["scan", ".", "--split", "=empty"], "--split =empty: write NAME=FOLDER with a folder inside"),
        (["scan", ".", "--split", "val="], "--split val=: write NAME=FOLDER with a folder inside"),
        (["scan", ".", "--split", "a=.", "--split", "b=empty"], "--split b=empty: the folder overlaps ."),
        (["scan", "empty", "--batch", "0"], "--batch 0: must be at least 1"),
        (["scan", "empty", "--workers", "0"], "--workers 0: must be at least 1"),
        (["scan", "empty", "--clases", "3"], "No such option: --clases"),
        (["scan", "empty", "--select", "ENV0"], "--select: no check, family or name 'ENV0'; did you mean"),
        (["scan", "empty", "--set", "ENV012.gb=3"], "ENV012 has no setting 'gb'; did you mean 'gib'?"),
        (["scan", "empty", "--set", "ENV012.gib=nan"], "ENV012.gib takes float, not nan"),
        (["scan", "empty", "--format", "jsn"], "--format jsn: no such format; did you mean json?"),
        (["scan", "empty", "--output", "report.doc"], "--output report.doc: no format has this ending"),
        (["scan", "empty", "--output", "no/report.json"], "the folder no is not there"),
        (["scan", "empty", "--fail-on", "sometimes"], "'sometimes' is none of error, warning, info, never"),
        (["scan", "empty", "--config", "no.toml"], "no.toml: no such file"),
        (["scan", "empty", "--facts", "no.json"], "no.json: can't be read"),
        (["loader", "nope.py:x"], "nope.py: no such file"),
        (["loader", "net.py"], "net.py: write FILE.py:NAME"),
        (["loader", "net.py:Nope"], "net.py: has no 'Nope'"),
        (["loader", "net.py:value"], "is a int, neither a Dataset nor a DataLoader"),
        (["loader", "net.py:build"], "missing a required argument: 'width'; give it with --init"),
        (["loader", "broken.py:x"], "broken.py:1: can't be imported: ModuleNotFoundError"),
        (["loader", "net.py:Net", "--init", "width"], "--init width: write NAME=VALUE"),
        (["loader", "net.py:Net", "--items", "0"], "--items 0: must be at least 1"),
        (["loader", "net.py:Net", "--python", "/no/python"], "/no/python: can't be started"),
        (["loader", "net.py:Net", "--memory-limit", "lots"], "--memory-limit lots: write a number of bytes"),
        (["loader", "net.py:Net", "--time-limit", "0"], "--time-limit 0: must be above 0"),
        (["code", "nowhere.py"], "nowhere.py: no such file or folder"),
        (["model", "net.py:Net", "--input", "3xx"], "--input 3xx: write one sample's sides"),
        (["model", "net.py:Net", "--input", "3x4:flot32"], "no dtype 'flot32'; did you mean float32?"),
        (["model", "net.py:Net", "--gpu-memory", "big"], "--gpu-memory big: write a number of bytes"),
        (["model", "net.py:Net", "--data", "nowhere"], "nowhere: no such folder"),
        (["smoke", "net.py:Net"], "smoke: --data is missing"),
        (["smoke", "net.py:Net", "--data", "nowhere"], "nowhere: no such folder"),
        (["smoke", "net.py:Net", "--data", "net.py:x", "--lr", "-1"], "--lr -1.0: must be above 0"),
        (["smoke", "net.py:Net", "--data", "empty", "--steps", "1"], "--steps 1: must be at least 2"),
        (["env", "--workers", "-1"], "--workers -1: must be at least 0"),
        (["env", "--port", "0"], "--port 0: write a port from 1 to 65535"),
        (["env", "--workers", "2", "--batch-bytes", "big"], "--batch-bytes big: write a number of bytes"),
        (["preflight", "nowhere"], "nowhere: no such folder"),
        (["preflight", "empty"], "declares nothing to examine; dldoctor init empty writes the table"),
        (["init", "empty"], "neither a dataset nor training source"),
        (["init", "nowhere"], "nowhere: no such folder"),
        (["explain", "ENV0001"], "no check, family or name 'ENV0001'; did you mean"),
        (["checks", "--format", "xml"], "--format xml: no such format"),
        (["checks", "NOPE"], "no check, family or name 'NOPE'"),
        (["restore", "nowhere"], "nowhere: can't be read"),
        (["frobnicate"], "No such command 'frobnicate'"),
    ],
)
def test_one_sentence_and_status_2(dldoctor: Run, project: Path, words: list[str], sentence: str) -> None:
    before = tree(project)
    answer = dldoctor(*words)
    assert sentence in " ".join(answer.err.split())
    assert answer.status == 2
    assert "Traceback" not in answer.err + answer.out
    assert tree(project) == before


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('[tool.dldoctor.scan]\npth = "x"', "[tool.dldoctor.scan]: no option 'pth'; did you mean 'path'?"),
        ("[tool.dldoctor.scan]\npath = 3", "[tool.dldoctor.scan]: Expected `str`, got `int` - at `$.path`"),
        ("[tool.dldoctor.loader]\nitems = 3", "missing required field `target`"),
    ],
)
def test_a_declaration_that_does_not_fit_is_named(dldoctor: Run, tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    answer = dldoctor("preflight")
    assert sentence in answer.err
    assert answer.status == 2


def test_a_part_of_preflight_that_can_not_be_examined_does_not_stop_the_others(dldoctor: Run, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[tool.dldoctor.scan]\npath = "gone"\n[tool.dldoctor.env]\nport = 29511\n', encoding="utf-8"
    )
    answer = dldoctor("preflight", "--select", "ENV009")
    assert "gone: no such folder" in answer.out
    assert "ENV009" not in answer.out
    assert "1 check" in answer.out
    assert answer.status == 2
