"""Reports: an outcome with its threshold, and one module per format in `formats`."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from dldoctor.finding import Severity
from dldoctor.outcome import Entry, Outcome


@dataclass(frozen=True)
class Look:
    """How a report is to be drawn."""

    width: int = 80
    color: bool = False
    ascii: bool = False
    verbose: bool = False
    quiet: bool = False
    #: seconds are left out where a text must not change from run to run
    timed: bool = True
    #: the last line with its counts, which change with every check that is added
    summary: bool = True


@dataclass(frozen=True)
class Report:
    """The findings about one subject, or from preflight about a project: iterable, printable, with an exit status."""

    outcome: Outcome
    #: the least severity that fails; None for never
    threshold: Severity | None = Severity.ERROR

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.outcome.entries)

    def __len__(self) -> int:
        return len(self.outcome.entries)

    @property
    def exit_status(self) -> int:
        """0: nothing at or above the threshold. 1: findings. 2: something could not be done. 130: interrupted."""
        if self.outcome.interrupted:
            return 130
        if self.outcome.crashes:
            return 2
        if self.threshold is None:
            return 0
        return int(any(entry.fails and entry.severity >= self.threshold for entry in self))

    def render(self, form: str, look: Look | None = None) -> str:
        """The report as text in one of `load_formats()`.

        Raises:
            KeyError: no such format.
        """
        text: str = load_formats()[form].render(self, look or Look())
        return text

    def to_json(self) -> str:
        return self.render("json")

    def __str__(self) -> str:
        return self.render("terminal")

    def _repr_html_(self) -> str:
        import html

        return f"<pre>{html.escape(str(self))}</pre>"


def load_formats() -> dict[str, ModuleType]:
    """The formats by name: the modules of `dldoctor.report.formats`, each with `render(report, look)` and `ENDING`."""
    package: Any = importlib.import_module("dldoctor.report.formats")
    return {
        info.name: importlib.import_module(f"{package.__name__}.{info.name}")
        for info in pkgutil.iter_modules(package.__path__)
    }


def format_names() -> list[str]:
    """The names of the formats, without importing any."""
    import pathlib

    folder = str(pathlib.Path(__file__).with_name("formats"))
    return sorted(info.name for info in pkgutil.iter_modules([folder]))
