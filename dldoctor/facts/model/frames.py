"""Measured lines as exhibits."""

from __future__ import annotations

from dldoctor.facts.model.records.forward import Argument, Place
from dldoctor.finding import CodeFrame


def line_frame(place: Place | None, label: str = "") -> list[CodeFrame]:
    """The line with carets under what is meant, or under all of it; nothing where no line is known."""
    if place is None or not place.text:
        return []
    if place.column:
        return [CodeFrame(place.path, place.line, place.text, place.column, place.end_column, label)]
    return [CodeFrame.of_line(place.path, place.line, place.text, label)]


def argument_frame(argument: Argument, label: str = "") -> CodeFrame:
    """The line with carets under one argument."""
    at = argument.place
    return CodeFrame(at.path, at.line, at.text, argument.column, argument.end_column, label)
