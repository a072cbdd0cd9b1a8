"""Requests -> report: the one way that the command line, preflight, the Python API and the fixtures all take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dldoctor.diagnosis import Examination, FactPool, examine
from dldoctor.fact import BadInput, Subject
from dldoctor.facts.pitfalls import KnownPitfalls
from dldoctor.fileform import load, save
from dldoctor.outcome import Crash, Outcome, merge
from dldoctor.renaming import write_asked
from dldoctor.report import Report
from dldoctor.requests import (
    CodeRequest,
    EnvRequest,
    LoaderRequest,
    ModelRequest,
    Request,
    ScanRequest,
    SmokeRequest,
    request_types,
)
from dldoctor.resources import Resources
from dldoctor.settings import Overrides, Settings, load_settings, with_select
from dldoctor.silence import silence


def run(request: Request, settings: Settings, resources: Resources, base: Path) -> Report:
    """Examine one subject.

    Raises:
        BadInput: the request can't be carried out at all.
    """
    outcome = write_asked(examine(_examination(request, settings, base), FactPool(resources)), resources)
    if not outcome.checks_run and any(crash.bad_input for crash in outcome.crashes):
        raise BadInput(next(crash.error for crash in outcome.crashes if crash.bad_input))
    return Report(silence(outcome, settings), settings.threshold)


def run_all(requests: Sequence[Request], settings: Settings, resources: Resources, base: Path, title: str) -> Report:
    """Examine several subjects with shared facts, in the order given, as one report. What can't be examined is named
    in the report and the others go on."""
    pool = FactPool(resources)
    parts: list[Outcome] = []
    for request in requests:
        if resources.stop.is_set():
            break
        try:
            parts.append(examine(_examination(request, settings, base), pool))
        except BadInput as error:
            parts.append(
                Outcome(
                    request.primary.kind,
                    request.command,
                    base,
                    crashes=(Crash(request.command, str(error), bad_input=True),),
                )
            )
    return Report(silence(merge(parts, "project", title, base), settings), settings.threshold)


def replay(file: Path, settings: Settings, resources: Resources) -> Report:
    """Run the checks on facts read from `file`; nothing is gathered."""
    about, facts = load(file, settings.registry.facts)
    subject = next((fact for fact in facts if isinstance(fact, Subject)), None)
    checks, unreported = settings.chosen()
    present = {type(fact) for fact in facts}
    applicable = [c for c in checks if any(need.fact in present for need in c.needs)]
    primary = type(subject) if subject else Subject
    outcome = examine(
        Examination(facts, primary, applicable, settings.checks, unreported, replayed=True), FactPool(resources)
    )
    outcome = replace(outcome, kind=str(about.get("kind", outcome.kind)), title=str(about.get("title", outcome.title)))
    return Report(silence(outcome, settings), settings.threshold)


def save_facts(report: Report, target: Path) -> None:
    """Write the facts behind a report, for a bug report or a fixture.

    Raises:
        BadInput: the folder can't be written.
    """
    outcome = report.outcome
    try:
        save([fact for fact in outcome.facts if fact.saved], target, {"kind": outcome.kind, "title": outcome.title})
    except OSError as error:
        raise BadInput(f"{target}: the facts can't be written ({error.strerror or error})") from None


def _examination(request: Request, settings: Settings, base: Path) -> Examination:
    checks, unreported = settings.chosen()
    known = KnownPitfalls(
        tuple((c.code, c.name, text) for c in settings.registry.checks.values() for text in c.symptoms)
    )
    seeds = [*request.seeds(base), known]
    plugins = [source.file for source in settings.registry.sources if source.file is not None]
    return Examination(
        seeds, request.primary, checks, settings.checks, unreported, plugins=plugins, shown=request.shown()
    )


# --- the Python API -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Asked:
    settings: Settings
    resources: Resources


def _asked(select: Sequence[str], config: str | Path | None, resources: Resources | None) -> _Asked:
    settings = load_settings(Path.cwd(), Overrides(config=Path(config) if config else None))
    return _Asked(with_select(settings, select) if select else settings, resources or Resources())


def scan(
    path: str | Path,
    *,
    select: Sequence[str] = (),
    config: str | Path | None = None,
    resources: Resources | None = None,
    **options: Any,
) -> Report:
    """Examine a dataset folder; `options` are those of `dldoctor scan` (classes=5, layout="imagefolder", ...).

    Raises:
        BadInput: no such folder, or an option that does not fit.
    """
    return _run(ScanRequest, {"path": str(path), **options}, _asked(select, config, resources))


def examine_model(
    target: str,
    *,
    select: Sequence[str] = (),
    config: str | Path | None = None,
    resources: Resources | None = None,
    **options: Any,
) -> Report:
    """Examine `net.py:Net`; `options` are those of `dldoctor model` (input="3x224x224", loss="cross_entropy", ...)."""
    return _run(ModelRequest, {"target": target, **options}, _asked(select, config, resources))


def examine_loader(
    target: str,
    *,
    select: Sequence[str] = (),
    config: str | Path | None = None,
    resources: Resources | None = None,
    **options: Any,
) -> Report:
    """Examine `data.py:train_set`, a Dataset or DataLoader."""
    return _run(LoaderRequest, {"target": target, **options}, _asked(select, config, resources))


def examine_code(
    *paths: str | Path, select: Sequence[str] = (), config: str | Path | None = None, resources: Resources | None = None
) -> Report:
    """Examine Python source files and folders; nothing is run."""
    return _run(CodeRequest, {"paths": [str(path) for path in paths]}, _asked(select, config, resources))


def examine_machine(
    *, select: Sequence[str] = (), config: str | Path | None = None, resources: Resources | None = None, **options: Any
) -> Report:
    """Examine this machine; `options` are those of `dldoctor env` (workers=8, batch_bytes="154MB", ...)."""
    return _run(EnvRequest, options, _asked(select, config, resources))


def smoke(
    target: str,
    data: str,
    *,
    select: Sequence[str] = (),
    config: str | Path | None = None,
    resources: Resources | None = None,
    **options: Any,
) -> Report:
    """Train for a few real steps and watch; `options` are those of `dldoctor smoke` (steps=30, batch=16, ...)."""
    return _run(SmokeRequest, {"target": target, "data": data, **options}, _asked(select, config, resources))


def preflight(
    folder: str | Path = ".", *, config: str | Path | None = None, resources: Resources | None = None
) -> Report:
    """Examine all that [tool.dldoctor] of a project declares."""
    folder = Path(folder).resolve()
    settings = load_settings(folder, Overrides(config=Path(config) if config else None))
    return run_all(declared(settings), settings, resources or Resources(), settings.folder, folder.name)


def declared(settings: Settings) -> list[Request]:
    """The requests that [tool.dldoctor.COMMAND] tables declare, cheapest first.

    Raises:
        BadInput: a table does not fit its request; the message names the key.
    """
    cheapest_first = ("env", "code", "scan", "loader", "model", "smoke")
    kinds = request_types()
    return [
        from_table(kinds[command], table, f"[tool.dldoctor.{command}]")
        for command in sorted(settings.parts, key=cheapest_first.index)
        for table in settings.parts[command]
    ]


def from_table(kind: type[Request], table: Any, where: str) -> Request:
    """A request from a table of options; hyphens and underscores are the same.

    Raises:
        BadInput: an unknown option (the nearest is named), a missing one, or one of the wrong type.
    """
    import dataclasses
    import difflib

    import msgspec

    fields = {f.name for f in dataclasses.fields(kind)}
    values = {str(key).replace("-", "_"): value for key, value in table.items()}
    for key in values:
        if key not in fields:
            close = difflib.get_close_matches(key, fields, n=1)
            raise BadInput(f"{where}: no option {key!r}" + (f"; did you mean {close[0]!r}?" if close else ""))
    try:
        return msgspec.convert(values, kind, strict=True)
    except msgspec.ValidationError as error:
        raise BadInput(f"{where}: {error}") from None


def _run(kind: type[Request], options: dict[str, Any], asked: _Asked) -> Report:
    request = from_table(kind, options, f"dldoctor.{kind.command}")
    return run(request, asked.settings, asked.resources, Path.cwd())
