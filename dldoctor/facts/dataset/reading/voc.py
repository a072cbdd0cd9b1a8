"""Pascal VOC's xml, by expat alone: one pass, places for free, and entities are refused before they can grow."""

from __future__ import annotations

from dataclasses import dataclass, field
from xml.parsers import expat

from dldoctor.facts.dataset.annotated import Fault
from dldoctor.facts.dataset.reading.places import foreign

_CORNERS = ("xmin", "ymin", "xmax", "ymax")
#: no picture has a longer side
_LARGEST = 2.0**31
#: other shapes that an object may have in place of a box
_SHAPES = frozenset({"polygon", "robndbox", "mask", "keypoints", "point", "points"})


@dataclass
class VocObject:
    """One object: its name, the line it begins in, and its corners."""

    line: int
    name: str | None = None
    corners: dict[str, float] = field(default_factory=dict)
    boxed: bool = False
    shaped: bool = False


@dataclass
class VocFile:
    """What one file holds."""

    filename: str = ""
    filename_line: int | None = None
    width: int | None = None
    height: int | None = None
    objects: list[VocObject] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


class _Refused(Exception):
    pass


class _Reader:
    def __init__(self, shown: str) -> None:
        self.shown = shown
        self.found = VocFile()
        self.path: list[str] = []
        self.text = ""
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self.start
        self.parser.EndElementHandler = self.end
        self.parser.CharacterDataHandler = self.characters
        self.parser.EntityDeclHandler = self.entity

    def entity(self, name: str, *_: object) -> None:
        raise _Refused(f"declares the entity {name}, which no annotation needs and which can grow without end")

    def start(self, tag: str, _: dict[str, str]) -> None:
        self.path.append(tag)
        self.text = ""
        if self.path == ["annotation", "object"]:
            self.found.objects.append(VocObject(self.parser.CurrentLineNumber))
        elif len(self.path) == 3 and self.path[1] == "object":
            self.found.objects[-1].boxed |= tag == "bndbox"
            self.found.objects[-1].shaped |= tag in _SHAPES

    def characters(self, data: str) -> None:
        self.text += data

    def end(self, tag: str) -> None:
        text = self.text.strip()
        if self.path[:1] == ["annotation"]:
            self.leaf(self.path[1:], text)
        self.path.pop()
        self.text = ""

    def leaf(self, path: list[str], text: str) -> None:
        match path:
            case ["filename"]:
                self.found.filename, self.found.filename_line = text, self.parser.CurrentLineNumber
            case ["size", "width"]:
                self.found.width = _whole(text)
            case ["size", "height"]:
                self.found.height = _whole(text)
            case ["object", "name"]:
                self.found.objects[-1].name = text
            case ["object", "bndbox", corner] if corner in _CORNERS:
                try:
                    self.found.objects[-1].corners[corner] = float(text)
                except ValueError:
                    self.fault(f"has {text[:40]!r} where {corner} wants a number", corner)

    def fault(self, what: str, marked: str = "") -> None:
        line, column = self.parser.CurrentLineNumber, self.parser.CurrentColumnNumber + 1
        self.found.faults.append(Fault(self.shown, what, line, column, marked and f"<{marked}>"))


def read_voc(data: bytes, shown: str) -> VocFile:
    """One file, with what is wrong with it."""
    what = foreign(data)
    if what is not None:
        return VocFile(faults=[Fault(shown, what)])
    reader = _Reader(shown)
    try:
        reader.parser.Parse(data, True)
    except _Refused as refused:
        reader.found.faults.append(Fault(shown, str(refused), reader.parser.CurrentLineNumber))
        return reader.found
    except (expat.ExpatError, LookupError, ValueError) as error:  # also an encoding that Python does not know
        line = getattr(error, "lineno", None)
        column = getattr(error, "offset", None)
        said = expat.ErrorString(error.code) if isinstance(error, expat.ExpatError) else str(error)
        text = data.splitlines()[line - 1 : line] if line else []
        cut = said in ("no element found", "unclosed token")
        reader.found.faults.append(
            Fault(
                shown,
                "ends in the middle: the file is cut" if cut else f"does not parse: {said}",
                line,
                None if column is None else column + 1,
                text[0].decode("utf-8", "replace").strip()[:160] if text else "",
            )
        )
        return reader.found
    wrong = {fault.line for fault in reader.found.faults}
    for found in reader.found.objects:
        if not found.name:
            reader.found.faults.append(Fault(shown, "has an object without a name", found.line))
        elif not found.boxed and not found.shaped:
            reader.found.faults.append(Fault(shown, f"has an object {found.name!r} without a bndbox", found.line))
        elif found.boxed and len(found.corners) < 4 and not wrong:
            lacking = ", ".join(corner for corner in _CORNERS if corner not in found.corners)
            reader.found.faults.append(Fault(shown, f"has a bndbox without {lacking}", found.line))
    return reader.found


def is_voc(data: bytes) -> bool:
    """Whether a file holds, by its words, an annotation of Pascal VOC; whole or not."""
    return b"<annotation" in data and any(word in data for word in (b"<object", b"<size", b"<filename", b"<!ENTITY"))


def _whole(text: str) -> int | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return int(number) if abs(number) < _LARGEST else None
