"""Files that can't be examined at all."""

from __future__ import annotations

from collections.abc import Iterator

from dldoctor import CodeFrame, Finding, Place, Severity, SourceTree, check
from dldoctor.facts.source.text import ParseError, SourceFile


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
                severity=Severity.INFO if file.generated else Severity.ERROR,
                fix=None
                if file.generated or file.path.endswith(".ipynb")
                else "save it as UTF-8, or say its encoding in the first line: # -*- coding: latin-1 -*-",
            )
        elif isinstance(error := file.tree, ParseError):
            yield from _told(file.path, file.line(error.line), error)
        yield from _cells(file)


def _cells(file: SourceFile) -> Iterator[Finding]:
    """The cells of a notebook that do not parse; drafts that nobody runs are common, so it is no more than told."""
    for cell in file.notebook.cells if file.notebook is not None else ():
        if cell.trouble:
            text = file.line(cell.start + cell.line - 1).removeprefix("# ")
            yield Finding(
                Place(file.path, line=cell.line, column=cell.column, cell=cell.number),
                "the cell does not parse: {said}",
                said=cell.trouble,
                severity=Severity.INFO,
                show=CodeFrame(file.path, cell.line, text, cell.column, cell.column + 1, cell=cell.number),
                fix="correct the line, or delete the cell",
            )


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
