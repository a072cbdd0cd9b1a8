"""The checks that judge the parts of a divided fact, in this process or another."""

from __future__ import annotations

import functools
import inspect
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dldoctor.fact import DividedFact
from dldoctor.judging.limits import CHECK_LIMIT, describe, time_limit, validate
from dldoctor.judging.verdict import Verdict
from dldoctor.plugins import load_registry
from dldoctor.registry import Check

#: the code of a verdict on the part itself: it could not be made ready
UNREADY = ""


@dataclass(frozen=True)
class Panel:
    """Some checks with their settings. `plugins` are the local files that checks may come from."""

    kind: type[DividedFact]
    checks: Sequence[Check]
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    plugins: Sequence[Path] = ()

    def judge(self, part: DividedFact) -> list[Verdict]:
        """What every check that has something to say says of one part. Never raises for a check's sake."""
        found: list[Verdict] = []
        waiting = list(reversed(self.checks))
        while waiting:
            try:
                with time_limit(CHECK_LIMIT):  # for all at once: a clock for each would take longer than most checks
                    self._judge(part, waiting, found)
            except Exception as error:
                found.append(Verdict(waiting.pop().code, error=describe(error)))
        return found

    def _judge(self, part: DividedFact, waiting: list[Check], found: list[Verdict]) -> None:
        """Run the checks from the last to the first; the one that raises stays the last."""
        while waiting:
            check = waiting[-1]
            findings = tuple(check.function(part, **self.settings.get(check.code, {})))
            for finding in findings:
                validate(check, finding)
            if findings:
                found.append(Verdict(check.code, findings))
            waiting.pop()

    @functools.cached_property
    def key(self) -> str:
        """Differs when the checks, their settings, the code behind them and the facts, or Python's own grammar do."""
        import xxhash

        digest = xxhash.xxh3_128(json.dumps(self._asked(), sort_keys=True, default=str).encode())
        digest.update(sys.version.encode())
        package = Path(__file__).resolve().parents[1]
        own = {*package.glob("*.py"), *package.glob("judging/*.py"), *_beside(inspect.getfile(self.kind))}
        for check in self.checks:
            own |= _beside(inspect.getfile(check.function))
        for module in sorted({*own, *self.plugins}):
            digest.update(module.read_bytes())
        return digest.hexdigest()

    def _asked(self) -> dict[str, Any]:
        codes = [check.code for check in self.checks]
        return {
            "kind": f"{self.kind.__module__}:{self.kind.__qualname__}",
            "codes": codes,
            "settings": {code: dict(self.settings[code]) for code in codes if code in self.settings},
            "plugins": [str(path) for path in self.plugins],
        }

    def written(self) -> str:
        """The panel as text, for another process."""
        return json.dumps(self._asked())

    @classmethod
    def read(cls, text: str) -> Panel:
        """What `written` wrote."""
        asked = json.loads(text)
        plugins = tuple(Path(path) for path in asked["plugins"])
        registry = load_registry(plugins)
        kind = registry.facts[asked["kind"].rpartition(":")[2]]
        assert issubclass(kind, DividedFact)  # it was one where this was written
        return cls(kind, [registry.checks[code] for code in asked["codes"]], asked["settings"], plugins)


def _beside(module: str) -> set[Path]:
    """The modules of a module's folder and those below, which it may import."""
    return set(Path(module).resolve().parent.rglob("*.py"))
