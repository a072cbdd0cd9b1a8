"""Findings: templates over evidence, equality, severities in order."""

import pytest

from dldoctor import Advice, Finding, Place, Severity


def test_message_is_the_template_over_the_evidence() -> None:
    finding = Finding("a.jpg", "ends after {rows} of {height:,} rows", rows=3, height=1000)
    assert finding.message == "ends after 3 of 1,000 rows"


def test_findings_with_equal_parts_are_equal() -> None:
    assert Finding("a", "{n} rows", n=1, fix="mend it") == Finding(Place("a"), "{n} rows", n=1, fix=Advice("mend it"))
    assert Finding("a", "{n} rows", n=1) != Finding("a", "{n} rows", n=2)


def test_a_template_that_names_missing_evidence_is_refused() -> None:
    with pytest.raises(ValueError, match="names evidence that was not given: rows"):
        Finding("a", "{rows} rows")


def test_severities_are_ordered_by_gravity() -> None:
    assert Severity.ERROR > Severity.WARNING > Severity.INFO
    assert max(Severity) is Severity.ERROR


@pytest.mark.parametrize(
    ("place", "text"),
    [
        (Place("a.py", 3), "a.py:3"),
        (Place("a.py", 3, index=7), "a.py:3 item 7"),
        (Place(index=7), "item 7"),
        (Place(layer="fc1"), "fc1"),
        (Place(), ""),
    ],
)
def test_a_place_reads_as_people_write_it(place: Place, text: str) -> None:
    assert str(place) == text
