"""The same from Python: a Report that can be walked, printed and asked for its exit status."""

from pathlib import Path

import pytest

import dldoctor
from dldoctor import BadInput


def test_public_names_are_sorted_and_all_there() -> None:
    assert sorted(dldoctor.__all__) == dldoctor.__all__
    for name in dldoctor.__all__:
        assert getattr(dldoctor, name) is not None


def test_a_report_is_walked_printed_and_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    report = dldoctor.examine_machine(workers=4000, batch_bytes="1TB", select=["ENV001"])
    assert [(entry.check.name, entry.finding.evidence["workers"]) for entry in report] == [
        ("small-shared-memory", 4000)
    ]
    assert report.exit_status == 1
    assert "error[ENV001] small-shared-memory" in str(report)
    assert report._repr_html_().startswith("<pre>")


def test_source_is_examined_and_nothing_of_the_caller_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.py").write_text("raise SystemExit('never run')\n")
    assert len(dldoctor.examine_code("a.py")) == 0


def test_an_option_that_does_not_fit_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match="no option 'clases'; did you mean 'classes'"):
        dldoctor.scan(tmp_path, clases=3)
    with pytest.raises(BadInput, match="no such folder"):
        dldoctor.scan("nowhere")


def test_preflight_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[tool.dldoctor]\nselect = ["SRC"]\n[tool.dldoctor.code]\npaths = ["t.py"]\n'
    )
    (tmp_path / "t.py").write_text("x = 1\n")
    report = dldoctor.preflight(tmp_path)
    assert report.outcome.kind == "project"
    assert report.exit_status == 0
