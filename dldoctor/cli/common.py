"""What every examining command shares: the common options, the screen, and what is done with a report."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dldoctor.fact import BadInput

if TYPE_CHECKING:
    from dldoctor.report import Look, Report
    from dldoctor.resources import Progress, Resources
    from dldoctor.settings import Settings

_REPORT, _CHECKS, _RUN = "Report", "Checks", "Run"


@dataclass(frozen=True)
class Common:
    """The common options. Field types are typer's; `add_common` puts them on a command."""

    format: Annotated[str, typer.Option(help="terminal, json, github, ...", rich_help_panel=_REPORT)] = "terminal"
    output: Annotated[
        list[Path] | None,
        typer.Option(help="Also write the report here, in the format of the ending; repeatable.", metavar="FILE"),
    ] = None
    select: Annotated[list[str] | None, typer.Option(help="Run these codes, families or names alone.")] = None
    ignore: Annotated[list[str] | None, typer.Option(help="Silence these codes, families or names.")] = None
    set: Annotated[list[str] | None, typer.Option(help="A check's setting, like LBL005.ratio=20.")] = None
    fail_on: Annotated[str | None, typer.Option(help="error (default), warning, info or never.")] = None
    baseline: Annotated[Path | None, typer.Option(help="Silence what this file holds.", metavar="FILE")] = None
    write_baseline: Annotated[Path | None, typer.Option(help="Write today's findings there.", metavar="FILE")] = None
    config: Annotated[Path | None, typer.Option(help="Settings, in place of ./pyproject.toml.", metavar="FILE")] = None
    facts: Annotated[Path | None, typer.Option(help="Check saved facts; measure nothing.", metavar="FILE")] = None
    save_facts: Annotated[Path | None, typer.Option(help="Write what was measured.", metavar="FILE")] = None
    fix: Annotated[bool, typer.Option("--fix", help="Apply the safe fixes.")] = False
    unsafe_fixes: Annotated[bool, typer.Option("--unsafe-fixes", help="Apply the unsafe fixes too.")] = False
    diff: Annotated[bool, typer.Option("--diff", help="Show what --fix would change; change nothing.")] = False
    quarantine: Annotated[
        Path | None, typer.Option(help="Where --fix moves bad files; beside the dataset else.", metavar="FOLDER")
    ] = None
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Findings and the summary alone.")] = False
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Everything seen, also when well.")] = False
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Neither read nor write the cache.")] = False


@dataclass(frozen=True)
class Isolated:
    """Options of the commands that run user code, in a child process."""

    python: Annotated[str | None, typer.Option(help="Interpreter for your code (the one that has torch).")] = None
    time_limit: Annotated[float, typer.Option(help="Seconds that your code may take.")] = 300.0
    memory_limit: Annotated[str, typer.Option(help="Memory that your code may take.")] = "8GiB"


def settings_of(common: Common, folder: Path) -> Settings:
    """The settings of `folder` under the command line's options."""
    from dldoctor.settings import Overrides, load_settings

    return load_settings(
        folder,
        Overrides(
            config=common.config,
            select=common.select or (),
            ignore=common.ignore or (),
            fail_on=common.fail_on,
            baseline=common.baseline,
            set=common.set or (),
        ),
    )


def resources_of(common: Common, isolated: Isolated | None, workers: int | None) -> Resources:
    """Workers, cache, limits and a progress bar where there is a terminal to show it."""
    from dldoctor.options import at_least, parse_bytes
    from dldoctor.resources import Resources, cache_folder, usable_cores

    isolated = isolated or Isolated()
    if isolated.time_limit <= 0:
        raise BadInput(f"--time-limit {isolated.time_limit:g}: must be above 0")
    return Resources(
        workers=usable_cores() if workers is None else at_least(workers, 1, "--workers"),
        cache=None if common.no_cache else cache_folder(),
        progress=_progress(common),
        python=isolated.python,
        time_limit=isolated.time_limit,
        memory_limit=parse_bytes(isolated.memory_limit, "--memory-limit"),
    )


def _progress(common: Common) -> Progress:
    from dldoctor.resources import Quiet

    if common.quiet or not sys.stderr.isatty():
        return Quiet()
    from dldoctor.cli.progress import Bars

    return Bars()


def look_of(common: Common) -> Look:
    """The screen as it is: its width, whether it has colours and more than ASCII."""
    import shutil

    from dldoctor.report import Look

    terminal = sys.stdout.isatty()
    color = terminal and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    encoding = (sys.stdout.encoding or "ascii").lower()
    return Look(
        width=max(40, min(shutil.get_terminal_size((80, 24)).columns, 120)),
        color=color or bool(os.environ.get("FORCE_COLOR")),
        ascii=not encoding.startswith("utf"),
        verbose=common.verbose,
        quiet=common.quiet,
    )


def examine_and_end(common: Common, run: Callable[[], Report]) -> None:
    """Check the options before the work, run, write everything that was asked for, and leave with the exit status."""
    forms = _forms(common)
    report = run()
    if common.save_facts:
        from dldoctor.examine import save_facts

        save_facts(report, common.save_facts)
    if common.write_baseline:
        from dldoctor.silence import write_baseline

        count = write_baseline(report.outcome, common.write_baseline)
        typer.echo(f"{common.write_baseline}: {count} findings written as the baseline", err=True)
    if common.fix or common.unsafe_fixes or common.diff:
        from dldoctor.cli.fix import apply_fixes

        apply_fixes(report, unsafe=common.unsafe_fixes, diff_only=common.diff, parent=common.quarantine)
    look = look_of(common)
    _emit(report.render(common.format, look), look)
    for path, form in forms.items():
        _write(path, report.render(form, type(look)(width=100, verbose=common.verbose)))
    raise typer.Exit(0 if common.write_baseline and report.exit_status == 1 else report.exit_status)


def _emit(text: str, look: Look) -> None:
    """Bytes that the screen can't show become escapes rather than an exception."""
    encoding = sys.stdout.encoding or "ascii"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))


def _forms(common: Common) -> dict[Path, str]:
    import difflib

    from dldoctor.report import format_names, load_formats

    known = format_names()
    if common.format not in known:
        close = difflib.get_close_matches(common.format, known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"it is one of {', '.join(known)}"
        raise BadInput(f"--format {common.format}: no such format; {hint}")
    chosen = {}
    endings = {module.ENDING: name for name, module in load_formats().items()} if common.output else {}
    for path in common.output or ():
        if path.suffix not in endings:
            raise BadInput(f"--output {path}: no format has this ending; it is one of {', '.join(sorted(endings))}")
        if not path.absolute().parent.is_dir():
            raise BadInput(f"--output {path}: the folder {path.parent} is not there")
        chosen[path] = endings[path.suffix]
    return chosen


def _write(path: Path, text: str) -> None:
    from dldoctor.fileform import write_atomically

    try:
        write_atomically(path, text.encode())
    except OSError as error:
        raise BadInput(f"--output {path}: can't be written ({error.strerror})") from None


def parameters(kind: type[Any]) -> list[tuple[str, Any, Any]]:
    """The fields of an options dataclass as (name, annotation, default), for a command's signature."""
    import dataclasses
    import typing

    hints = typing.get_type_hints(kind, include_extras=True)
    return [(field.name, hints[field.name], field.default) for field in dataclasses.fields(kind)]
