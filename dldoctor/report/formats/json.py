"""The JSON report: a versioned promise, described by `dldoctor/report/schema.json`."""

from __future__ import annotations

import json
import math
from typing import Any

from dldoctor import __version__
from dldoctor.finding import Severity
from dldoctor.outcome import Entry, Outcome
from dldoctor.report import Look, Report

ENDING = ".json"
SCHEMA = 1


def render(report: Report, look: Look) -> str:
    return json.dumps(as_dict(report, look), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def as_dict(report: Report, look: Look) -> dict[str, Any]:
    """The report as JSON values; floats that are not finite are strings, since JSON has no word for them."""
    outcome = report.outcome
    return {
        "schema": SCHEMA,
        "tool": {"name": "dldoctor", "version": __version__},
        "subject": {"kind": outcome.kind, "name": outcome.title},
        "summary": {
            **{severity.value: outcome.count(severity) for severity in reversed(Severity)},
            "checks_run": len(outcome.checks_run),
            "checks_skipped": len(outcome.skipped),
            "silenced": len(outcome.silenced),
            "seconds": round(outcome.seconds, 2) if look.timed else 0,
        },
        "findings": [_finding(entry) for entry in outcome.entries],
        "skipped": [{"code": skip.check.code, "reason": skip.reason} for skip in outcome.skipped],
        "crashed": [{"code": crash.code, "what": crash.what, "error": crash.error} for crash in outcome.crashes],
        "silenced": [
            {"code": entry.check.code, "path": entry.finding.at.path, "line": entry.finding.at.line, "reason": why}
            for entry, why in outcome.silenced
        ],
        "notes": list(outcome.notes),
        "measured": _measured(outcome),
    }


def _measured(outcome: Outcome) -> list[dict[str, Any]]:
    """What the facts have to say beside the findings, each with the part of a project that it is about."""
    return [
        {"fact": type(fact).__name__, "part": part.title if outcome.parts else None, "values": _clean(values)}
        for part in outcome.parts or (outcome,)
        for fact in part.facts
        if (values := fact.reported()) is not None
    ]


def _finding(entry: Entry) -> dict[str, Any]:
    finding, at = entry.finding, entry.finding.at
    fix = finding.fix
    return {
        "code": entry.check.code,
        "name": entry.check.name,
        "severity": entry.severity.value,
        "status": entry.check.status,
        "message": finding.message,
        "path": at.path,
        "line": at.line,
        "column": at.column,
        "cell": at.cell,
        "layer": at.layer,
        "index": at.index,
        "evidence": _clean(dict(finding.evidence)),
        "fix": {"summary": fix.summary, "safe": fix.safe, "commands": list(fix.commands)} if fix else None,
        "fingerprint": entry.fingerprint,
        "part": entry.part or None,
    }


def _clean(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {str(key): _clean(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean(item) for item in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
