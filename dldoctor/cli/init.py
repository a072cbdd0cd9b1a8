"""`dldoctor init`: write [tool.dldoctor] for a project, from what its folder shows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dldoctor.fact import BadInput


def register(app: typer.Typer) -> None:
    app.command("init")(init)


def init(
    folder: Annotated[Path, typer.Argument(help="The project's folder.", metavar="[FOLDER]")] = Path(),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the table; write nothing.")] = False,
) -> None:
    """Write a [tool.dldoctor] table for a project: its datasets, networks, loaders and training source."""
    import tomllib

    from dldoctor.fileform import write_atomically
    from dldoctor.survey import survey, table

    if not folder.is_dir():
        raise BadInput(f"{folder}: no such folder")
    text = table(survey(folder))
    if not text:
        raise BadInput(f"{folder}: neither a dataset nor training source is to be seen here")
    if dry_run:
        typer.echo(text, nl=False)
        return
    file = folder / "pyproject.toml"
    try:
        before = file.read_text(encoding="utf-8") if file.exists() else ""
        if "dldoctor" in tomllib.loads(before).get("tool", {}):
            raise BadInput(f"{file}: has a [tool.dldoctor] table already; --dry-run prints what init would write")
        gap = "" if not before else "\n" if before.endswith("\n") else "\n\n"
        write_atomically(file, (before + gap + text).encode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{file}: is no valid TOML: {error}; nothing was written") from None
    except OSError as error:
        raise BadInput(f"{file}: can't be written ({error.strerror})") from None
    typer.echo(f"{file}: written; look it over, then run dldoctor preflight {folder}")
