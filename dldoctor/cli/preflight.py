"""`dldoctor preflight`: all that [tool.dldoctor] declares, cheapest first, as one report with one exit status."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dldoctor.cli.common import Common, Isolated, examine_and_end, parameters, resources_of, settings_of
from dldoctor.fact import BadInput

if TYPE_CHECKING:
    from dldoctor.requests import Request


@dataclasses.dataclass(frozen=True)
class _Own:
    folder: Annotated[Path, typer.Argument(help="The project's folder.", metavar="[FOLDER]")] = Path()
    only: Annotated[list[str] | None, typer.Option(help="These commands alone: scan, model, ...; repeatable.")] = None
    skip: Annotated[list[str] | None, typer.Option(help="Not these commands; repeatable.")] = None
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be examined.")] = False
    workers: Annotated[int | None, typer.Option(help="Processes that measure.", metavar="N")] = None


def register(app: typer.Typer, asked: str) -> None:
    import inspect

    if asked != "preflight":
        app.command("preflight")(_unasked)
        return

    signature = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=hint, default=default)
        for kind in (_Own, Common, Isolated)
        for name, hint, default in parameters(kind)
    ]

    def command(**values: Any) -> None:
        own, common, isolated = (
            {field.name: values[field.name] for field in dataclasses.fields(kind)} for kind in (_Own, Common, Isolated)
        )
        _run(_Own(**own), Common(**common), Isolated(**isolated))

    command.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]  # typer reads it
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in signature}
    app.command("preflight", help=inspect.getdoc(_unasked))(command)


def _unasked() -> None:
    """Examine all that [tool.dldoctor] of the project's pyproject.toml declares; the CI step."""


def _run(own: _Own, common: Common, isolated: Isolated) -> None:
    from dldoctor.examine import declared, run_all

    folder = own.folder.absolute()
    if not folder.is_dir():
        raise BadInput(f"{own.folder}: no such folder")
    settings = settings_of(common, folder)
    requests = _chosen(declared(settings), own)
    if not requests:
        file = common.config or own.folder / "pyproject.toml"
        raise BadInput(f"{file}: declares nothing to examine; dldoctor init {own.folder} writes the table")
    if own.dry_run:
        for request in requests:
            typer.echo(f"dldoctor {request.command} {words(request)}".rstrip())
        raise typer.Exit
    resources = resources_of(common, isolated, own.workers)
    base = settings.folder
    examine_and_end(common, lambda: run_all(requests, settings, resources, base, base.resolve().name))


def _chosen(requests: list[Request], own: _Own) -> list[Request]:
    from dldoctor.requests import request_types

    known = request_types()
    for option, names in (("--only", own.only), ("--skip", own.skip)):
        for name in names or ():
            if name not in known:
                raise BadInput(f"{option} {name}: no such command; it is one of {', '.join(known)}")
    return [r for r in requests if (not own.only or r.command in own.only) and r.command not in (own.skip or ())]


def words(request: Request) -> str:
    """A request as one would type it."""
    parts: list[str] = []
    for field in dataclasses.fields(request):
        value = getattr(request, field.name)
        if value in (None, [], False) or value == field.default:
            continue
        items = [str(item) for item in (value if isinstance(value, list) else [value])]
        if field.metadata.get("argument"):
            parts += items
            continue
        flag = field.metadata.get("flag") or f"--{field.name.replace('_', '-')}"
        for item in items:
            parts += [flag] if value is True else [flag, item]
    return shlex.join(parts)
