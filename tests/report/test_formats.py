"""The machine formats: JSON against its schema, GitHub annotations escaped."""

import json
import math
from importlib import resources

import jsonschema
import pytest

from dldoctor import Finding, Outcome, Place, Report
from dldoctor.outcome import Entry
from dldoctor.report import Look, format_names, load_formats

from ..engine import records
from .test_terminal import report


def test_the_json_report_follows_its_schema() -> None:
    schema = json.loads(resources.files("dldoctor.report").joinpath("schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    content = json.loads(report().to_json())
    jsonschema.validate(content, schema)
    assert content["summary"] | {"seconds": 0} == {
        "error": 2, "warning": 2, "info": 0, "checks_run": 3, "checks_skipped": 1, "silenced": 0, "seconds": 0,
    }  # fmt: skip
    assert content["findings"][0]["evidence"] == {"n": 2000, "m": 233280}
    assert content["findings"][0]["fix"]["commands"] == ["sed -i s/2000/233280/ net.py"]


def test_json_is_strict_where_evidence_is_not_finite() -> None:
    (large,) = records("AAA001")
    finding = Finding(None, "{value} came", value=math.inf, more=[math.nan, {"deep": -math.inf}])
    outcome = Outcome("code", "x", report().outcome.root, entries=(Entry(large, finding),))
    text = Report(outcome).to_json()

    def refuse(word: str) -> None:
        raise AssertionError(word)

    assert json.loads(text, parse_constant=refuse)["findings"][0]["evidence"] == {
        "value": "inf", "more": ["nan", {"deep": "-inf"}],
    }  # fmt: skip


def test_annotations_escape_what_the_runner_reads() -> None:
    (large,) = records("AAA001")
    finding = Finding(Place("a,b:c.py", 3, 7), "50 % of\nit: no", fix="mend")
    outcome = Outcome("code", "x", report().outcome.root, entries=(Entry(large, finding),))
    assert Report(outcome).render("github") == (
        "::warning file=a%2Cb%3Ac.py,line=3,col=7,title=AAA001 large-number::50 %25 of%0Ait: no%0Ahelp: mend\n"
    )


def test_preview_findings_are_notices_and_crashes_errors() -> None:
    lines = report().render("github").splitlines()
    assert [line.split(" ", 1)[0] for line in lines] == ["::error", "::warning", "::warning", "::notice", "::error"]


@pytest.mark.parametrize("name", format_names())
def test_every_format_has_an_ending_and_renders(name: str) -> None:
    module = load_formats()[name]
    assert module.ENDING.startswith(".")
    assert module.render(report(), Look()).endswith("\n")
