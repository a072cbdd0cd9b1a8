"""What the installed checks say errors look like, for checks that name the pitfall behind an exception."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dldoctor.fact import Fact
from dldoctor.symptoms import find


@dataclass(frozen=True)
class KnownPitfalls(Fact):
    """(code, name, symptom) of every check; given with each examination."""

    saved: ClassVar[bool] = False

    symptoms: tuple[tuple[str, str, str], ...]

    def behind(self, message: str) -> tuple[str, str] | None:
        """The code and name of the check whose longest symptom stands in an error message."""
        matches = [(len(symptom), code, name) for code, name, symptom in self.symptoms if find(symptom, message)]
        return max(matches)[1:] if matches else None
