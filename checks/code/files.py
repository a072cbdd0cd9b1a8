"""Files that can't be examined at all."""

from __future__ import annotations

from collections.abc import Iterator

from dldoctor import CodeFrame, Finding, Place, Severity, SourceTree, check
from dldoctor.facts.source.text import ParseError


@check(
    "SRC081",
    Severity.ERROR,
    Severity.INFO,
    since="0.1",
    symptoms=(
        "SyntaxError: invalid syntax",
        "TabError: inconsistent use of tabs and spaces in indentation",
        "Missing parentheses in call to 'print'",
        "IndentationError: expected an indented block",
        "IndentationError: unindent does not match any outer indentation level",
        "IndentationError: unexpected indent",
    ),
)
def unparsable_source(source: SourceTree) -> Iterator[Finding]:
    """A file does not parse.

    Python can't import it, and no other check has looked at it.

    Fix: correct the line that the parser names; Python 2 sources need a port (`print x` to `print(x)`).
    """
    for file in source.files:
        if file.trouble:
            yield Finding(
                Place(file.path),
                "is not examined: it {trouble}",
                trouble=file.trouble,
                fix="save it as UTF-8, or say its encoding in the first line: # -*- coding: latin-1 -*-",
            )
        elif isinstance(error := file.tree, ParseError):
            yield from _told(file.path, file.line(error.line), error)
    for path in source.too_large:
        yield Finding(Place(path), "is not examined: it is too large to be written by hand", severity=Severity.INFO)


def _told(path: str, text: str, error: ParseError) -> Iterator[Finding]:
    place = Place(path, line=error.line, column=error.column)
    frame = CodeFrame(path, error.line, text, error.column, error.end_column)
    if error.newer or error.too_deep:
        yield Finding(
            place,
            "is not examined: {said}",
            said=error.message,
            show=frame,
            severity=Severity.INFO,
            fix="run dldoctor with the Python that the file is written for" if error.newer else None,
        )
    else:
        yield Finding(
            place,
            "does not parse: {said}",
            said=error.message,
            show=frame,
            fix="correct the line, or leave the file out if it is a template",
        )
