"""Every fixture: the sick half says exactly what `expected.txt` says, the healthy half is silent for all checks."""

import pytest

from dldoctor.testing import HALVES, Fixture, Half, fixtures, problems

from .conftest import ROOT

ALL = fixtures(ROOT / "fixtures")


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("fixture", ALL, ids=lambda fixture: fixture.folder.name)
def test_fixture(fixture: Fixture, half: Half, update: bool) -> None:
    report = fixture.report(half)
    assert problems(fixture, half, report) == []
    if half == "sick":
        text = fixture.text(report)
        if update and not fixture.matches(text):
            fixture.expected.write_text(text, encoding="utf-8")
        assert fixture.matches(text), text
