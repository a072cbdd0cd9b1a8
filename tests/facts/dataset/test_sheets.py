"""Workbooks are read like tables of text: whole numbers as such, sheets for splits together."""

import importlib.util
from pathlib import Path
from typing import Any

from dldoctor.examine import scan
from dldoctor.facts.dataset.labels import LabelTable
from dldoctor.facts.dataset.layout import Layout
from dldoctor.facts.dataset.reading.sheets import read_sheets
from dldoctor.resources import Resources

from ...checks.dataset_folder import put
from ...checks.detection_folders import jpeg
from ...conftest import ROOT


def workbook(path: Path, sheets: dict[str, list[tuple[object, ...]]]) -> None:
    spec = importlib.util.spec_from_file_location("make", ROOT / "fixtures/LBL014-unread-sheets/make.py")
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.workbook(path, sheets)


def test_numbers_are_written_as_a_csv_would(tmp_path: Path) -> None:
    workbook(tmp_path / "a.xlsx", {"one": [("image", "label"), ("1.jpg", 3), ("2.jpg", "n/a")], "empty": []})
    (sheet,) = read_sheets(tmp_path / "a.xlsx")
    assert sheet.name == "one"
    assert sheet.rows == [(1, ["image", "label"]), (2, ["1.jpg", "3"]), (3, ["2.jpg", "n/a"])]


def test_sheets_called_by_splits_are_read_together(tmp_path: Path) -> None:
    put(tmp_path, {f"images/{n}.jpg": jpeg(n) for n in range(24)})
    rows: list[tuple[object, ...]] = [(f"{n}.jpg", n % 2) for n in range(24)]
    workbook(
        tmp_path / "labels.xlsx", {"train": [("file", "class"), *rows[:16]], "val": [("file", "class"), *rows[16:]]}
    )
    report = scan(tmp_path, resources=Resources(workers=1))
    layout = next(fact for fact in report.outcome.facts if isinstance(fact, Layout))
    labels = next(fact for fact in report.outcome.facts if isinstance(fact, LabelTable))
    assert layout.said == "pictures with a label file with train and val, 2 classes, 24 pictures"
    assert labels.frame["form"].unique().to_list() == ["index"]
    assert [entry.check.code for entry in report] == []


def test_a_lock_file_of_an_open_workbook_is_no_table(tmp_path: Path) -> None:
    put(tmp_path, {**{f"{n}.jpg": jpeg(n) for n in range(3)}, "~$labels.xlsx": b"\x05user"})
    report = scan(tmp_path, resources=Resources(workers=1))
    assert list(report) == []
