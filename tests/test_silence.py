"""Silencing: by word, per path, inline, by baseline; what silences nothing is said."""

from dataclasses import replace
from pathlib import Path

import pytest

from dldoctor import BadInput, Finding, Outcome, Place
from dldoctor.outcome import Entry
from dldoctor.settings import Settings
from dldoctor.silence import silence, write_baseline

from .engine import records, registry

(LARGE,) = records("AAA001")
SETTINGS = Settings(registry([LARGE]), Path())


def outcome(root: Path, *findings: Finding) -> Outcome:
    entries = tuple(Entry(LARGE, finding) for finding in findings)
    return Outcome("code", "x", root, entries=entries, checks_run=("AAA001",))


def test_an_ignore_with_its_reason(tmp_path: Path) -> None:
    done = silence(outcome(tmp_path, Finding("a.py", "no")), replace(SETTINGS, ignore={"large-number": "we like it"}))
    assert done.entries == ()
    assert [why for _, why in done.silenced] == ["we like it"]
    assert done.notes == ()


def test_an_ignore_that_silences_nothing_is_said(tmp_path: Path) -> None:
    done = silence(outcome(tmp_path), replace(SETTINGS, ignore={"AAA001": "old"}))
    assert done.notes == ("ignore AAA001 silences nothing; remove it",)


def test_per_path_ignores_go_by_glob(tmp_path: Path) -> None:
    settings = replace(SETTINGS, per_path_ignores={"old/*": {"AAA": "legacy"}})
    done = silence(outcome(tmp_path, Finding("old/a.py", "no"), Finding("new/a.py", "no")), settings)
    assert [str(entry.finding.at) for entry in done.entries] == ["new/a.py"]


def test_an_inline_ignore_silences_its_line_alone(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1  # dldoctor: ignore[AAA001] known\ny = 2\ns = '# dldoctor: ignore[AAA001]'\n")
    done = silence(outcome(tmp_path, *(Finding(Place("a.py", line), "no") for line in (1, 2, 3))), SETTINGS)
    assert [entry.finding.at.line for entry in done.entries] == [2, 3]
    assert [why for _, why in done.silenced] == ["known"]


def test_a_file_ignore_silences_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("# dldoctor: file-ignore[AAA] generated\nx = 1\n")
    done = silence(outcome(tmp_path, Finding(Place("a.py", 2), "no")), SETTINGS)
    assert done.entries == ()


def test_an_inline_ignore_of_no_check_or_of_nothing_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1  # dldoctor: ignore[ZZZ999]\ny = 2  # dldoctor: ignore[AAA001]\nz = 3\n")
    done = silence(outcome(tmp_path, Finding(Place("a.py", 3), "no")), SETTINGS)
    assert done.notes == (
        "a.py:1: ignore[ZZZ999] names no check",
        "a.py:2: ignore[AAA001] silences nothing; remove it",
    )


def test_a_baseline_silences_as_often_as_it_holds_and_survives_other_numbers(tmp_path: Path) -> None:
    file = tmp_path / "baseline.json"
    assert write_baseline(outcome(tmp_path, Finding("a.py", "{n} rows", n=1)), file) == 1
    later = outcome(tmp_path, Finding("a.py", "{n} rows", n=2), Finding("a.py", "{n} rows", n=3))
    done = silence(later, replace(SETTINGS, baseline=file))
    assert [entry.finding.message for entry in done.entries] == ["3 rows"]


def test_a_baseline_that_is_none(tmp_path: Path) -> None:
    file = tmp_path / "baseline.json"
    with pytest.raises(BadInput, match="no such baseline"):
        silence(outcome(tmp_path), replace(SETTINGS, baseline=file))
    file.write_text("[]")
    with pytest.raises(BadInput, match="is no baseline"):
        silence(outcome(tmp_path), replace(SETTINGS, baseline=file))
