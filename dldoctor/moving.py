"""What findings ask to move out of a dataset, with all that belongs to it, and the annotation files that name it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from dldoctor.fact import Fact
from dldoctor.facts.dataset.belongings import Cleaned, cleaned, companions, real_paths
from dldoctor.facts.dataset.files import Listing
from dldoctor.facts.dataset.layout import Inventory
from dldoctor.finding import Quarantine
from dldoctor.outcome import Outcome
from dldoctor.quarantine import Move, movable, printed, without_repeats

F = TypeVar("F", bound=Fact)


@dataclass
class Departure:
    """What is to leave one dataset. `left` says why a file can't; `cleaned` are the annotation files that name it."""

    root: Path
    #: the examination of the dataset; None where its facts are not at hand
    part: Outcome | None
    moves: list[Move] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    cleaned: list[Cleaned] = field(default_factory=list)

    @cached_property
    def inventory(self) -> Inventory | None:
        return _fact(self.part, Inventory) if self.part else None

    @cached_property
    def real_paths(self) -> dict[str, str]:
        """Paths as the system gave them by how a report shows them."""
        return real_paths(self.inventory) if self.inventory else {}

    @cached_property
    def companions(self) -> dict[str, tuple[str, ...]]:
        """What goes where a file goes."""
        return companions(self.inventory) if self.inventory else {}


def departures(outcome: Outcome, unsafe: bool) -> list[Departure]:
    """The moves that findings ask for, by dataset: each file once, companions behind the file they go with."""
    parts = [part for part in outcome.parts or (outcome,) if _fact(part, Inventory)]
    found: dict[Path, Departure] = {}
    asked: set[tuple[Path, str]] = set()
    for entry in outcome.entries:
        fix = entry.finding.fix
        if not isinstance(fix, Quarantine) or not (fix.safe or unsafe):
            continue
        # a fix names files relative to the part of a project that its finding is about
        part = next((part for part in parts if not outcome.parts or part.title == entry.part), None)
        root = part.root if part else outcome.root
        for path in fix.paths:
            if (root, path) not in asked:
                asked.add((root, path))
                _add(found.setdefault(root, Departure(root, part)), path, entry.check.code)
    for departure in found.values():
        # what has a fault of its own comes before what goes with another
        departure.moves = without_repeats(
            sorted(departure.moves, key=lambda move: (move.beside is not None, move.path)), departure.root
        )
        listing = _fact(departure.part, Listing) if departure.part else None
        if departure.inventory and listing and departure.moves:
            gone = {move.path for move in departure.moves}
            departure.cleaned = list(cleaned(departure.inventory, listing, departure.root, gone))
    return list(found.values())


def write_cleaned(files: Iterable[Cleaned], folder: Path) -> list[tuple[Cleaned, Path]]:
    """Write the cleaned annotation files into the quarantine, as NAME.cleaned.csv, and answer where they are."""
    written = []
    for file in files:
        stem, ending = os.path.splitext(file.path)
        target = folder / f"{stem}.cleaned{ending}"
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as out:
            out.write(file.content)
        written.append((file, target))
    return written


def _add(departure: Departure, shown: str, code: str) -> None:
    path = departure.real_paths.get(shown, shown)
    why = movable(departure.root / path, departure.root)
    if why:
        departure.left.append(f"{printed(path)}: {why}")
        return
    departure.moves.append(Move(path, code))
    for other in departure.companions.get(path, ()):
        if not movable(departure.root / other, departure.root):
            departure.moves.append(Move(other, code, beside=path))


def _fact(part: Outcome, kind: type[F]) -> F | None:
    return next((fact for fact in part.facts if isinstance(fact, kind)), None)
