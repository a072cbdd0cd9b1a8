"""Fixes: edits go in whole and only where the result parses."""

from pathlib import Path

import pytest

from dldoctor import BadInput, Edit, Edits, Finding
from dldoctor.fixing import apply_edits, planned_edits
from dldoctor.outcome import Entry

from .engine import records

(LARGE,) = records("AAA001")


def entries(*fixes: Edits) -> list[Entry]:
    return [Entry(LARGE, Finding("a.py", "no", fix=fix)) for fix in fixes]


def test_edits_are_byte_ranges_and_keep_the_rest(tmp_path: Path) -> None:
    source = "größe = 1  # naïve\r\ntotal += loss\r\n".encode()
    (tmp_path / "a.py").write_bytes(source)
    start = source.index(b"loss") + 4
    (change,) = planned_edits(entries(Edits("x", (Edit("a.py", start, start, ".item()"),))), tmp_path, unsafe=False)
    apply_edits([change], tmp_path)
    assert (tmp_path / "a.py").read_bytes() == "größe = 1  # naïve\r\ntotal += loss.item()\r\n".encode()
    assert "+total += loss.item()" in change.diff


def test_unsafe_edits_wait_to_be_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    fix = Edits("x", (Edit("a.py", 4, 5, "2"),), safe=False)
    assert planned_edits(entries(fix), tmp_path, unsafe=False) == []
    assert planned_edits(entries(fix), tmp_path, unsafe=True)[0].after == b"x = 2\n"


def test_of_overlapping_fixes_the_first_goes_in_whole(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("abcdef = 1\n")
    one = Edits("x", (Edit("a.py", 0, 3, "xyz"),))
    other = Edits("x", (Edit("a.py", 9, 10, "2"), Edit("a.py", 2, 4, "__")))
    (change,) = planned_edits(entries(one, other), tmp_path, unsafe=False)
    assert change.after == b"xyzdef = 1\n"


def test_edits_that_break_the_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    with pytest.raises(BadInput, match="would not parse, nothing was changed"):
        planned_edits(entries(Edits("x", (Edit("a.py", 4, 5, "("),))), tmp_path, unsafe=False)


def test_a_file_that_changed_meanwhile_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    changes = planned_edits(entries(Edits("x", (Edit("a.py", 4, 5, "2"),))), tmp_path, unsafe=False)
    (tmp_path / "a.py").write_text("x = 111\n")
    with pytest.raises(BadInput, match="has changed meanwhile"):
        apply_edits(changes, tmp_path)
    assert (tmp_path / "a.py").read_text() == "x = 111\n"
