"""`dldoctor restore MANIFEST`: undo a quarantine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    app.command("restore")(restore)


def restore(
    manifest: Annotated[Path, typer.Argument(help="The manifest that --fix named, or its folder.", metavar="MANIFEST")],
) -> None:
    """Put back what --fix moved to a quarantine."""
    from dldoctor.quarantine import restore as put_back

    count, problems = put_back(manifest)
    typer.echo(f"{count} put back")
    for problem in problems:
        typer.echo(f"error: {problem}", err=True)
    raise typer.Exit(2 if problems else 0)
