"""Folders that change under the scan or hold hostile names: one clear sentence, nothing written, nothing missed."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dldoctor.examine import scan
from dldoctor.facts.dataset import pool
from dldoctor.resources import Resources

from ...checks.dataset_folder import encoded, findings, photo, put


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    put(folder, {f"{label}/{n}.jpg": photo(n + 20 * (label == "dog")) for n in range(12) for label in ("cat", "dog")})
    return folder


def before_decoding(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    real = pool.measure_all

    def late(*given: Any, **options: Any) -> None:
        happens()
        real(*given, **options)

    monkeypatch.setattr(pool, "measure_all", late)


def test_a_dataset_that_vanishes_is_one_sentence(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before_decoding(monkeypatch, lambda: shutil.rmtree(data))
    report = scan(data, resources=Resources(workers=1))
    assert {crash.error for crash in report.outcome.crashes} == {f"{data}: is gone; it was there when the scan began"}
    assert report.exit_status == 2


def test_a_folder_that_vanishes_is_told_file_by_file(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before_decoding(monkeypatch, lambda: shutil.rmtree(data / "cat"))
    gone = [entry for entry in findings(data) if entry.check.code == "IMG002"]
    assert len(gone) == 12
    assert {entry.finding.message for entry in gone} == {"was there when the scan began and is gone now"}


def test_names_that_would_move_the_cursor_are_written_out(data: Path) -> None:
    put(data, {"cat/\x1b[31mred\nline\u202e.jpg": encoded(photo(50))[:-300]})
    report = scan(data, resources=Resources(workers=1))
    shown = str(report)
    assert r"cat/\x1b[31mred\nline\u202e.jpg" in shown
    assert "\x1b" not in shown
    (finding,) = [entry.finding for entry in report if entry.check.code == "IMG001"]
    assert finding.at.path == "cat/\x1b[31mred\nline\u202e.jpg"  # the path itself stays what the system says
