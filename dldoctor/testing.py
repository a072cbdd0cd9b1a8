"""For authors of checks: fixtures, run as pytest runs them.

A fixture is a folder `CODE-name` with a sick and a healthy half:

* `sick/` and `healthy/`: folders that are really gathered (a dataset, a project with `net.py`); a `make.py` beside
  them with `sick(folder)` and `healthy(folder)` may write derived files into the temporary copy;
* `sick.py` and `healthy.py`: source, with `# expect: SRC001` at the end of each line that must be found;
* `sick.json` and `healthy.json`: facts, as --save-facts writes them, for what no folder can hold.

A top-level `measured = true` in `fixture.toml` says that the sick half's decimals differ from run to run (losses,
times): `expected.txt` is then compared without them.

`fixture.toml` says how a folder is examined: a table per command (`[scan]`, `[model]`, ...) with the fields of its
request; `[sick.scan]` and `[healthy.scan]` override it for one half. `expected.txt` is the terminal text of the sick
half; the healthy half must be silent for every check of its subject.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dldoctor.examine import from_table, replay, run_all
from dldoctor.plugins import load_registry
from dldoctor.report import Look, Report
from dldoctor.requests import CodeRequest, Request, request_types
from dldoctor.resources import Resources
from dldoctor.settings import Settings

Half = Literal["sick", "healthy"]
HALVES: tuple[Half, Half] = ("sick", "healthy")
_MARK = re.compile(r"#\s*expect:\s*(?P<codes>[A-Z]{3}\d{3}(?:\s*,\s*[A-Z]{3}\d{3})*)")


@dataclass(frozen=True)
class Fixture:
    """One `CODE-name` folder."""

    folder: Path

    @property
    def code(self) -> str:
        return self.folder.name.partition("-")[0]

    @property
    def name(self) -> str:
        return self.folder.name.partition("-")[2]

    @property
    def expected(self) -> Path:
        return self.folder / "expected.txt"

    def source(self, half: Half) -> Path | None:
        """The marked source file of a half, if the fixture is one."""
        file = self.folder / f"{half}.py"
        return file if file.is_file() else None

    def has(self, half: Half) -> bool:
        made = self.folder / "make.py"
        return any((self.folder / f"{half}{ending}").exists() for ending in ("", ".py", ".json")) or (
            made.is_file() and f"def {half}(" in made.read_text(encoding="utf-8")
        )

    def report(self, half: Half, plugins: Sequence[Path] = ()) -> Report:
        """Examine one half with every check of its subject; folders are copied, so nothing is written into them."""
        settings = Settings(load_registry(plugins), self.folder)
        resources = Resources(workers=1)
        facts = self.folder / f"{half}.json"
        if facts.is_file():
            return replay(facts, settings, resources)
        with self._copy(half) as folder:
            return run_all(self._requests(half), settings, resources, folder, half)

    def matches(self, text: str) -> bool:
        """Whether a text is the expected one, up to the decimals of a fixture that is `measured`."""
        expected = self.expected.read_text(encoding="utf-8") if self.expected.is_file() else ""
        if self._tables().get("measured"):
            return _without_decimals(text) == _without_decimals(expected)
        return text == expected

    def text(self, report: Report) -> str:
        """The report as `expected.txt` holds it: 80 columns, no colour, no times, no counts of checks."""
        return report.render("terminal", Look(timed=False, summary=False))

    @contextmanager
    def _copy(self, half: Half) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="dldoctor-") as parent:
            target = Path(parent, half)
            target.mkdir()
            source = self.source(half)
            if source is not None:
                shutil.copy(source, target / source.name)
            elif (self.folder / half).is_dir():
                shutil.copytree(
                    self.folder / half, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
                )
            make = getattr(_module(self.folder / "make.py"), half, None)
            if make is not None:
                make(target)
            yield target

    def _tables(self) -> dict[str, Any]:
        file = self.folder / "fixture.toml"
        return tomllib.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}

    def _requests(self, half: Half) -> list[Request]:
        source = self.source(half)
        tables = self._tables()
        own = tables.get(half, {})
        kinds = request_types()
        commands = [command for command in kinds if command in tables or command in own]
        if not commands:
            if source is not None:
                return [CodeRequest(paths=[source.name])]
            commands = ["scan"]
        requests = []
        for command in commands:
            table = {**tables.get(command, {}), **own.get(command, {})}
            if command == "scan":
                table.setdefault("path", ".")
            if command == "code":
                table.setdefault("paths", [source.name if source else "."])
            requests.append(from_table(kinds[command], table, f"{self.folder.name}: [{command}]"))
        return requests


def _without_decimals(text: str) -> str:
    """The words of a text; numbers with a decimal point or an exponent are left out, line breaks are blanks."""
    return " ".join(re.sub(r"\d+(?:\.\d+)(?:e[-+]?\d+)?|\d+e[-+]?\d+", "#", text).split())


def _module(path: Path) -> Any:
    if not path.is_file():
        return None
    spec = importlib.util.spec_from_file_location(f"make_{path.parent.name.replace('-', '_')}", path)
    assert spec is not None
    assert spec.loader is not None  # a .py file has one
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def fixtures(folder: Path) -> list[Fixture]:
    """All fixtures below `folder`, by name."""
    return [Fixture(path) for path in sorted(folder.iterdir()) if path.is_dir() and "-" in path.name]


def marks(source: str) -> set[tuple[int, str]]:
    """The (line, code) pairs that `# expect: CODE[, CODE]` comments ask for."""
    return {
        (number, code.strip())
        for number, line in enumerate(source.splitlines(), 1)
        if (match := _MARK.search(line))
        for code in match["codes"].split(",")
    }


def found(report: Report) -> set[tuple[int, str]]:
    """The (line, code) pairs of a report on one source file."""
    return {(entry.finding.at.line or 0, entry.check.code) for entry in report}


def problems(fixture: Fixture, half: Half, report: Report) -> list[str]:
    """What is wrong with a half's report, as sentences; empty when all is well (`expected.txt` is compared apart)."""
    wrong = [f"crashed: {crash.what}: {crash.error}" for crash in report.outcome.crashes]
    source = fixture.source(half)
    if source is not None:
        wanted = marks(source.read_text(encoding="utf-8"))
        wrong += [f"line {line}: {code} expected, not found" for line, code in sorted(wanted - found(report))]
        wrong += [f"line {line}: {code} found, not expected" for line, code in sorted(found(report) - wanted)]
    if half == "healthy":
        wrong += [f"not silent: {entry.check.code} {entry.finding.at}: {entry.finding.message}" for entry in report]
    elif fixture.code not in {entry.check.code for entry in report}:
        wrong.append(f"{fixture.code} does not speak")
    if fixture.code not in report.outcome.checks_run:
        wrong.append(f"{fixture.code} was not run on the {half} half")
    return wrong
