"""`--fix`, `--unsafe-fixes`, `--diff`: show and apply what findings carry as data."""

from __future__ import annotations

import typer

from dldoctor.finding import Edits
from dldoctor.fixing import apply_edits, planned_edits, planned_moves, quarantine
from dldoctor.report import Report


def apply_fixes(report: Report, unsafe: bool, diff_only: bool) -> None:
    """Show the diff of the fixes and, unless `diff_only`, apply them. Words go to stderr, so that a report on stdout
    stays whole."""
    outcome = report.outcome
    changes = planned_edits(report, outcome.root, unsafe)
    moves = planned_moves(report)
    for change in changes:
        typer.echo(change.diff, nl=False, err=True)
    for path, code in moves:
        typer.echo(f"{'would move' if diff_only else 'move'} {path} ({code})", err=True)
    if not diff_only:
        apply_edits(changes, outcome.root)
        if changes:
            typer.echo(f"{len(changes)} file{'s' * (len(changes) != 1)} changed", err=True)
        if moves:
            manifest = quarantine(moves, outcome.root)
            typer.echo(f"{len(moves)} moved; undo: dldoctor restore {manifest}", err=True)
    left = sum(isinstance(e.finding.fix, Edits) and not e.finding.fix.safe for e in report)
    if left and not unsafe:
        typer.echo(f"{left} more with --unsafe-fixes: they may change what the code does", err=True)
    if not (changes or moves or left):
        typer.echo("nothing here can be fixed by itself", err=True)
