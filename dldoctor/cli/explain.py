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
    from dldoctor.symptoms import Match

#: bytes kept of the beginning and of the end of what is pasted
_KEPT = 4 << 20
#: candidates named beside the likeliest one
_MOST = 5


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
        _diagnose(_stdin(), config)
        return
    try:
        settings = load_settings(Path.cwd(), Overrides(config=config, select=words))
    except BadInput as error:
        if not str(error).startswith("--select"):
            raise
        if found := _matches(" ".join(words), config):
            typer.echo(diagnosis(found, _width()))
            return
        raise BadInput(
            str(error).replace("--select", "explain", 1) + " (dldoctor checks lists them; - reads a traceback)"
        ) from None
    chosen = [check for word in settings.select for check in settings.registry.matching(word)]
    typer.echo("\n\n".join(text(check, _width()) for check in dict.fromkeys(chosen)))


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
        parts.append("Seen as:\n" + "\n".join(flow(f"- {readable(symptom)}", "  ") for symptom in check.symptoms))
    if check.settings:
        rows = [f"  {setting.name} = {setting.default!r}" for setting in check.settings]
        parts.append(f"Settings ([tool.dldoctor.{check.code}], or --set {check.code}.NAME=VALUE):\n" + "\n".join(rows))
    shown = example(check.code)
    if shown:
        parts.append("What it looks like:\n" + "\n".join(f"  {line}".rstrip() for line in shown.splitlines()))
    return "\n\n".join(parts)


def readable(symptom: str) -> str:
    """A symptom with its conditions in words."""
    message, *conditions = symptom.split(" & ")
    beside = [part for part in conditions if not part.startswith("!")]
    without = [part[1:] for part in conditions if part.startswith("!")]
    parts = [message, *(["beside " + " and ".join(beside)] if beside else []),
             *(["without " + " or ".join(without)] if without else [])]  # fmt: skip
    return ", ".join(parts)


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
    if not pasted.strip():
        raise BadInput(
            "explain -: nothing came in on stdin; paste a traceback: python train.py 2>&1 | dldoctor explain -"
        )
    matches = _matches(pasted, config)
    if not matches:
        typer.echo("No known pitfall says this. dldoctor checks lists what is known.")
        return
    typer.echo(diagnosis(matches, _width()))


def _matches(pasted: str, config: Path | None) -> list[Match]:
    from dldoctor.settings import Overrides, load_settings
    from dldoctor.symptoms import diagnose

    return diagnose(pasted, load_settings(Path.cwd(), Overrides(config=config)).registry.checks.values())


def _width() -> int:
    return max(40, min(shutil.get_terminal_size((80, 24)).columns, 100))


def diagnosis(matches: list[Match], width: int) -> str:
    """The likeliest pitfall in full, the other candidates with what they mean, and the commands that tell."""

    def flow(words: str, indent: str = "  ") -> str:
        return textwrap.fill(" ".join(words.split()), width, initial_indent=indent, subsequent_indent="  ",
                             break_long_words=False, break_on_hyphens=False)  # fmt: skip

    first, others = matches[0], matches[1 : _MOST + 1]
    check = first.check
    blocks = [
        "\n".join(
            flow(text, "" if number == 0 else "  ")
            for number, text in enumerate(
                (
                    f"{check.code} {check.name}: {check.title}.",
                    f"The text: {shorten(first.words)}",
                    check.why,
                    f"Here: {first.answer}." if first.answer else "",
                    f"Fix: {check.fix}",
                )
            )
            if text.strip()
        )
    ]
    for heading, group in (
        ("The same message also comes from:", [match for match in others if match.message == first.message]),
        ("Also in the text:", [match for match in others if match.message != first.message]),
    ):
        if group:
            rows = [flow(f"{match.check.code} {match.check.name}: {match.check.title}.") for match in group]
            blocks.append("\n".join([heading, *rows]))
    commands = tell_apart([match.check for match in (first, *others)])
    if commands:
        blocks.append("\n".join(["To be sure:" if len(matches) == 1 else "To tell them apart:",
                                 *(f"  {command}" for command in commands)]))  # fmt: skip
    blocks.append(f"More: dldoctor explain {check.code}")
    return "\n\n".join(blocks)


def shorten(words: str, most: int = 300) -> str:
    return words if len(words) <= most else words[:most].rsplit(" ", 1)[0] + " ..."


def tell_apart(checks: list[Check]) -> list[str]:
    """One command line per subject that the checks examine, for the codes that it decides."""
    from dataclasses import fields

    from dldoctor.diagnosis import belongs
    from dldoctor.requests import request_types

    lines: dict[str, list[str]] = {}
    for check in checks:
        for name, request in request_types().items():
            if belongs(check, request.primary, given=()):
                words = [field.metadata["metavar"] for field in fields(request) if field.metadata.get("argument")]
                lines.setdefault(" ".join(["dldoctor", name, *words]), []).append(check.code)
                break
    return [f"{line} --select {','.join(codes)}" for line, codes in lines.items()]


def _stdin() -> str:
    """The text on stdin; of an endless log its beginning and its end.

    Raises:
        BadInput: it is no text.
    """
    stream = sys.stdin.buffer
    start = stream.read(_KEPT)
    end = b""
    while block := stream.read(_KEPT):
        end = (end + block)[-_KEPT:]
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):  # what PowerShell's > writes
        return (start + end).decode("utf-16", "replace")
    sample = start[:65536].decode("utf-8", "replace")
    if sample.count("\0") > len(sample) // 100 or sample.count("\ufffd") > len(sample) // 10:
        raise BadInput("explain -: what came in on stdin is no text; paste a traceback or pipe a log into it")
    return start.decode("utf-8", "replace") + ("\n" + end.decode("utf-8", "replace") if end else "")
