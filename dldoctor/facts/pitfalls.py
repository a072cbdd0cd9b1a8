"""What the installed checks say errors look like, for checks that name the pitfall behind an exception."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dldoctor.fact import Fact
from dldoctor.symptoms import Text, find, symptom


@dataclass(frozen=True)
class KnownPitfalls(Fact):
    """(code, name, symptom) of every check; given with each examination."""

    saved: ClassVar[bool] = False

    symptoms: tuple[tuple[str, str, str], ...]

    def behind(self, message: str) -> list[tuple[str, str]]:
        """Codes and names of the checks whose symptom says most of an error message; several where they say the same.

        A message alone is less than a traceback: what a symptom wants beside it does not stand here.
        """
        text = Text.of(message)
        found: dict[tuple[str, str], int] = {}
        for code, name, template in self.symptoms:
            compiled = symptom(template)
            if compiled and not compiled.wraps and find(template, text):
                found[code, name] = max(compiled.weight, found.get((code, name), 0))
        most = max(found.values(), default=0)
        return sorted(check for check, weight in found.items() if weight == most)
