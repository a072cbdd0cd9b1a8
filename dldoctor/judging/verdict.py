"""What a check said of one part, and its file form: the wire between processes and the memory of earlier runs."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from dldoctor import finding as forms
from dldoctor.fileform import to_plain
from dldoctor.finding import Finding, Place, Severity

#: exhibits and fixes by the name of their type
_KINDS: dict[str, type] = {kind.__name__: kind for kind in typing.get_args(forms.Exhibit | forms.Fix)}


@dataclass(frozen=True)
class Verdict:
    """The findings of one check about one part; `error` where it failed."""

    code: str
    findings: tuple[Finding, ...] = ()
    error: str | None = None

    def plain(self) -> dict[str, Any]:
        """JSON values."""
        return {"code": self.code, "findings": [_plain(each) for each in self.findings], "error": self.error}

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> Verdict:
        """What `plain` wrote. A tuple in the evidence is a list now, wherever the check ran."""
        return cls(plain["code"], tuple(_finding(each) for each in plain["findings"]), plain["error"])


def _plain(finding: Finding) -> dict[str, Any]:
    return {
        "at": to_plain(finding.at),
        "template": finding.template,
        "evidence": to_plain(finding.evidence),
        "show": [_named(each) for each in finding.show],
        "fix": None if finding.fix is None else _named(finding.fix),
        "severity": None if finding.severity is None else finding.severity.value,
    }


def _finding(plain: Mapping[str, Any]) -> Finding:
    return Finding(
        msgspec.convert(plain["at"], Place),
        plain["template"],
        show=[_of_name(each) for each in plain["show"]],
        fix=None if plain["fix"] is None else _of_name(plain["fix"]),
        severity=None if plain["severity"] is None else Severity(plain["severity"]),
        **plain["evidence"],
    )


def _named(value: Any) -> list[Any]:
    return [type(value).__name__, to_plain(value)]


def _of_name(pair: list[Any]) -> Any:
    return msgspec.convert(pair[1], _KINDS[pair[0]])
