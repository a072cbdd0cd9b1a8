"""`dldoctor explain CODE|NAME`: what a check is about. `... | dldoctor explain -`: the diagnosis of a pasted text."""

from __future__ import annotations

import shutil
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dldoctor.fact import BadInput

if TYPE_CHECKING:
    from dldoctor.registry import Check


def register(app: typer.Typer) -> None:
    app.command("explain")(explain)


def explain(
    words: Annotated[
        list[str], typer.Argument(help="A code, a name, or - for text from stdin.", metavar="CODE|NAME|-")
    ],
    config: Annotated[Path | None, typer.Option(help="Settings, in place of ./pyproject.toml.")] = None,
) -> None:
    """Explain a check, or find the pitfall behind a traceback: python train.py 2>&1 | dldoctor explain -"""
    from dldoctor.settings import Overrides, load_settings

    if words == ["-"]:
        _diagnose(sys.stdin.buffer.read(16 << 20).decode("utf-8", "replace"), config)
        return
    settings = load_settings(Path.cwd(), Overrides(config=config, select=words))
    chosen = [check for word in settings.select for check in settings.registry.matching(word)]
    width = max(40, min(shutil.get_terminal_size((80, 24)).columns, 100))
    typer.echo("\n\n".join(text(check, width) for check in dict.fromkeys(chosen)))


def text(check: Check, width: int = 80) -> str:
    """The page of one check in lines of `width`: what, why, fix, symptoms, settings, and what it looks like."""

    def flow(words: str, hang: str = "") -> str:
        paragraphs = (" ".join(paragraph.split()) for paragraph in words.split("\n\n"))
        return "\n\n".join(textwrap.fill(p, width, subsequent_indent=hang, break_long_words=False,
                                         break_on_hyphens=False) for p in paragraphs)  # fmt: skip

    severities = " or ".join(severity.value for severity in check.severities)
    preview = ", preview (shown, never fails a run)" if check.status == "preview" else ""
    parts = [f"{check.code} {check.name}: {severities}{preview}, since {check.since}", flow(f"{check.title}.")]
    if check.why:
        parts.append(flow(check.why))
    parts.append(flow(f"Fix: {check.fix}"))
    if check.symptoms:
        parts.append("Seen as:\n" + "\n".join(flow(f"- {symptom}", "  ") for symptom in check.symptoms))
    if check.settings:
        rows = [f"  {setting.name} = {setting.default!r}" for setting in check.settings]
        parts.append(f"Settings ([tool.dldoctor.{check.code}], or --set {check.code}.NAME=VALUE):\n" + "\n".join(rows))
    shown = example(check.code)
    if shown:
        parts.append("What it looks like:\n" + "\n".join(f"  {line}".rstrip() for line in shown.splitlines()))
    return "\n\n".join(parts)


def example(code: str) -> str:
    """The expected text of the check's sick fixture, from its finding on; empty for a plugin's check."""
    import importlib.util

    spec = importlib.util.find_spec("dldoctor.fixtures")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for file in sorted(Path(folder).glob(f"{code}-*/expected.txt")):
            blocks = file.read_text(encoding="utf-8").split("\n\n")
            return "\n\n".join(block for block in blocks if f"[{code}]" in block.split("\n", 1)[0]).strip()
    return ""


def _diagnose(pasted: str, config: Path | None) -> None:
    from dldoctor.settings import Overrides, load_settings
    from dldoctor.symptoms import diagnose

    if not pasted.strip():
        raise BadInput(
            "explain -: nothing came in on stdin; paste a traceback: python train.py 2>&1 | dldoctor explain -"
        )
    matches = diagnose(pasted, load_settings(Path.cwd(), Overrides(config=config)).registry.checks.values())
    if not matches:
        typer.echo("No known pitfall says this. dldoctor checks lists what is known.")
        return
    for match in matches:
        typer.echo(f"{match.check.code} {match.check.name}: {match.check.title}")
        typer.echo(f'  matched: "{match.words}"')
        if match.check.why:
            typer.echo(f"  {' '.join(match.check.why.split())}")
        typer.echo(f"  Fix: {' '.join(match.check.fix.split())}\n")
    typer.echo(f"More: dldoctor explain {matches[0].check.code}")
