"""GitHub annotations: one workflow command per finding, which the runner shows at the line of the change."""

from __future__ import annotations

from dldoctor.finding import Severity
from dldoctor.outcome import Entry
from dldoctor.report import Look, Report

ENDING = ".github"
_LEVEL = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}


def render(report: Report, look: Look) -> str:
    lines = [_annotation(entry) for entry in report]
    lines += [
        f"::error title=dldoctor could not do its work::{_data(f'{crash.what}: {crash.error}')}"
        for crash in report.outcome.crashes
    ]
    return "".join(f"{line}\n" for line in lines)


def _annotation(entry: Entry) -> str:
    at = entry.finding.at
    fields = {"file": at.path, "line": at.line, "col": at.column, "title": f"{entry.check.code} {entry.check.name}"}
    # a folder can't carry an annotation
    if at.path in (None, ".") or (at.line is None and "." not in at.path.rpartition("/")[2]):
        fields["file"] = None
    text = entry.finding.message
    if at.cell is not None:  # a notebook's lines are those of its JSON there
        fields["line"] = fields["col"] = None
        text = f"cell {at.cell}, line {at.line}: {text}"
    if at.path and fields["file"] is None and at.path != ".":
        text = f"{at.path}: {text}"
    if entry.finding.fix:
        text += f"\nhelp: {entry.finding.fix.summary}"
    where = ",".join(f"{key}={_property(str(value))}" for key, value in fields.items() if value is not None)
    level = _LEVEL[entry.severity if entry.fails else Severity.INFO]
    return f"::{level} {where}::{_data(text)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
