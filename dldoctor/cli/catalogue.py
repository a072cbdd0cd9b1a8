"""`dldoctor checks`: the catalogue, from the registry."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dldoctor.fact import BadInput


def register(app: typer.Typer) -> None:
    app.command("checks")(checks)


def checks(
    words: Annotated[list[str] | None, typer.Argument(help="Codes, families or names.", metavar="[CODE]...")] = None,
    format: Annotated[str, typer.Option(help="terminal, markdown or json.")] = "terminal",  # noqa: A002  # the flag
    config: Annotated[Path | None, typer.Option(help="Settings, in place of ./pyproject.toml.")] = None,
) -> None:
    """List the checks that are installed, those of plugins included."""
    from dldoctor.registry import Check
    from dldoctor.settings import Overrides, load_settings

    settings = load_settings(Path.cwd(), Overrides(config=config, select=words or ()))
    chosen = [
        check
        for check in settings.registry.checks.values()
        if not settings.select or {check.code, check.family, check.name} & set(settings.select)
    ]

    def severities(check: Check) -> str:
        return "/".join(severity.value for severity in check.severities)

    def row(check: Check) -> dict[str, str]:
        return {"code": check.code, "name": check.name, "severity": severities(check), "status": check.status,
                "title": check.title, "since": check.since}  # fmt: skip

    if format == "json":
        import json

        typer.echo(json.dumps([row(check) for check in chosen], indent=1, ensure_ascii=False))
    elif format == "markdown":
        typer.echo(markdown(chosen), nl=False)
    elif format == "terminal":
        for check in chosen:
            preview = " (preview)" if check.status == "preview" else ""
            typer.echo(f"{check.code}  {severities(check):<13}  {check.name:<30}  {check.title}{preview}")
        typer.echo(f"\n{len(chosen)} checks. More: dldoctor explain CODE")
    else:
        raise BadInput(f"--format {format}: no such format; it is one of terminal, markdown, json")


def markdown(chosen: list) -> str:  # type: ignore[type-arg]  # Check is imported late, for the start-up time
    """The table that the README carries."""
    lines = ["| code | name | severity | what it finds |", "|---|---|---|---|"]
    for check in chosen:
        severity = "/".join(item.value for item in check.severities)
        preview = " (preview)" if check.status == "preview" else ""
        title = check.title.replace("|", "\\|")
        lines.append(f"| {check.code} | {check.name} | {severity}{preview} | {title} |")
    return "\n".join(lines) + "\n"


def version_text() -> str:
    """The version of dldoctor, and each package that brings checks."""
    from dldoctor import __version__
    from dldoctor.plugins import installed

    others = [f"  {source.label} {source.version}" for source in installed() if source.label != "dldoctor"]
    return "\n".join([f"dldoctor {__version__}", *others])
