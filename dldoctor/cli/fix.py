"""`--fix`, `--unsafe-fixes`, `--diff`: show and apply what findings carry as data."""

from __future__ import annotations

from pathlib import Path

import typer

from dldoctor.finding import Edits, Quarantine
from dldoctor.fixing import apply_edits, planned_edits
from dldoctor.moving import Departure, departures, write_cleaned
from dldoctor.quarantine import printed, quarantine
from dldoctor.report import Report


def apply_fixes(report: Report, unsafe: bool, diff_only: bool, parent: Path | None = None) -> None:
    """Show the diff of the fixes and, unless `diff_only`, apply them. Words go to stderr, so that a report on stdout
    stays whole."""
    outcome = report.outcome
    changes = planned_edits(report, outcome.root, unsafe)
    leaving = departures(outcome, unsafe)
    for change in changes:
        typer.echo(change.diff, nl=False, err=True)
    if not diff_only:
        apply_edits(changes, outcome.root)
        if changes:
            _say(f"{len(changes)} file{'s' * (len(changes) != 1)} changed")
    for departure in leaving:
        _move(departure, diff_only, parent)
    left = [e for e in report if isinstance(e.finding.fix, (Edits, Quarantine)) and not e.finding.fix.safe]
    if left and not unsafe:
        moved = sum(isinstance(entry.finding.fix, Quarantine) for entry in left)
        why = "they may change what the code does" if not moved else "which file of several to move is yours to say"
        _say(f"{len(left)} more with --unsafe-fixes: {why}")
    if not (changes or left or any(departure.moves or departure.left for departure in leaving)):
        _say("nothing here can be fixed by itself")


def _move(departure: Departure, diff_only: bool, parent: Path | None) -> None:
    for move in departure.moves:
        because = f"with {printed(move.beside)}" if move.beside else move.code
        _say(f"{'would move' if diff_only else 'move'} {printed(move.path)} ({because})")
    for sentence in departure.left:
        _say(sentence)
    if not departure.moves:
        return
    if diff_only:
        for file in departure.cleaned:
            _say(f"would write a copy of {printed(file.path)} without {_entries(file.entries)}")
        return
    manifest = quarantine(departure.moves, departure.root, parent)
    _say(f"{len(departure.moves)} moved; undo: dldoctor restore {printed(manifest)}")
    for file, target in write_cleaned(departure.cleaned, manifest.parent):
        _say(f"{printed(file.path)} was left alone; a copy without {_entries(file.entries)}: {printed(target)}")


def _entries(count: int) -> str:
    return f"the {count} entr{'ies' if count != 1 else 'y'} of what moves"


def _say(sentence: str) -> None:
    typer.echo(sentence, err=True)
