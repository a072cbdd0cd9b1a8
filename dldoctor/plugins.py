"""Where checks come from: entry points of one group and local files; found, loaded, classified; sorted by code."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import pkgutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from dldoctor.fact import BadInput, Fact, gatherer_needs
from dldoctor.registry import Check, check_of

GROUP = "dldoctor.checks"


@dataclass(frozen=True)
class Source:
    """A place checks are loaded from: an installed package's entry point, or a local file."""

    label: str
    version: str
    module: str = ""
    file: Path | None = None


@dataclass(frozen=True)
class Registry:
    """All checks by code, and all fact types that they reach by name."""

    checks: Mapping[str, Check]
    facts: Mapping[str, type[Fact]]
    sources: tuple[Source, ...]

    def matching(self, word: str) -> list[Check]:
        """The checks that a code, a family or a name means."""
        return [c for c in self.checks.values() if word in (c.code, c.family, c.name)]

    @property
    def words(self) -> list[str]:
        """Everything that --select and --ignore understand."""
        return sorted({word for c in self.checks.values() for word in (c.code, c.family, c.name)})


def load_registry(local_files: Sequence[Path] = ()) -> Registry:
    """Find, load and classify all checks.

    Raises:
        BadInput: a plugin that can't be imported, a code given twice, a fact that can't be gathered, or no checks
            at all; the message names the package or file.
    """
    checks: dict[str, Check] = {}
    owners: dict[str, str] = {}
    sources = (*installed(), *(Source(str(path), "", file=path) for path in local_files))
    for source in sources:
        for module in _load(source):
            for check in _classify(module):
                if check.code in checks and checks[check.code].function is not check.function:
                    raise BadInput(
                        f"the code {check.code} is defined twice: {checks[check.code].origin} ({owners[check.code]}) "
                        f"and {check.origin} ({source.label}); rename one of them"
                    )
                checks[check.code] = check
                owners[check.code] = source.label
    if not checks:
        raise BadInput(f"no checks are installed: the entry-point group {GROUP!r} is empty; reinstall dldoctor")
    return Registry(dict(sorted(checks.items())), _reach(checks, owners), sources)


def installed() -> list[Source]:
    """The packages that bring checks, in a fixed order."""
    found = importlib.metadata.entry_points(group=GROUP)
    unique = {(e.value, e.dist.name if e.dist else "?"): e for e in found}  # an editable install can be listed twice
    return sorted(
        (
            Source(e.dist.name if e.dist else e.name, e.dist.version if e.dist else "", module=e.value)
            for e in unique.values()
        ),
        key=lambda source: (source.label, source.module),
    )


def _load(source: Source) -> Iterator[ModuleType]:
    # A plugin that prints must not spoil a report on stdout.
    with redirect_stdout(sys.stderr):
        try:
            if source.file is not None:
                yield _load_file(source.file)
                return
            package = importlib.import_module(source.module)
            yield package
            for info in pkgutil.walk_packages(getattr(package, "__path__", []), f"{package.__name__}."):
                yield importlib.import_module(info.name)
        except BadInput:
            raise
        except (Exception, SystemExit) as error:
            raise BadInput(f"the checks of {source.label} can't be loaded: {type(error).__name__}: {error}") from error


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise BadInput(f"{path}: no such plugin file (named in [tool.dldoctor] plugins)")
    name = f"dldoctor_plugin_{path.stem}_{abs(hash(path.resolve())):x}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise BadInput(f"{path}: is no Python file; plugins are .py files")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _classify(module: ModuleType) -> Iterator[Check]:
    for value in vars(module).values():
        check = check_of(value)
        # imported checks belong to the module that defines them
        if check is not None and check.function.__module__ == module.__name__:
            yield check


def _reach(checks: Mapping[str, Check], owners: Mapping[str, str]) -> dict[str, type[Fact]]:
    facts: dict[str, type[Fact]] = {}
    waiting = [
        (need.fact, f"{check.code} of {owners[check.code]}") for check in checks.values() for need in check.needs
    ]
    while waiting:
        fact, owner = waiting.pop()
        if facts.get(fact.__name__) is fact:
            continue
        if fact.__name__ in facts:
            raise BadInput(
                f"two fact types are called {fact.__name__}: {facts[fact.__name__].__module__} and "
                f"{fact.__module__} (asked for by {owner}); rename one of them"
            )
        facts[fact.__name__] = fact
        try:
            needs = gatherer_needs(fact) or ()
        except TypeError as error:
            raise BadInput(f"{owner}: {error}") from error
        waiting += [(need.fact, owner) for need in needs]
    return facts
