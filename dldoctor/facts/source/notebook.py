"""A Jupyter notebook as one source: its code cells joined, magics made harmless, and the way back to cell and line."""

from __future__ import annotations

import ast
import json
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

#: `%time` and its like before a statement, each as long as the harmless `if` that takes its place
_TIMED = re.compile(r"^(\s*)%(time|timeit|prun|memit)(\s+)(?=[^\s-])")
#: other line magics, shell commands, help; also behind an assignment
_MAGIC = re.compile(r"^\s*(?:[\w, .\[\]'\"]+=\s*)?(?:%{1,2}[A-Za-z_]|!|\?)|\?\s*$")
#: cell magics whose cell is Python all the same
_PYTHON_CELL = {"time", "timeit", "capture", "prun", "memit", "python", "python3", "pypy", "debug"}


@dataclass(frozen=True)
class Cell:
    """A code cell: its number among the code cells from 1, and the line of the joined text that it begins in."""

    number: int
    start: int
    #: what keeps it from being read, and where in its own lines
    trouble: str = ""
    line: int = 1
    column: int = 1


@dataclass(frozen=True)
class Notebook:
    """The joined text of the code cells, which parses, and where each cell begins in it."""

    text: str
    cells: tuple[Cell, ...]

    def cell(self, line: int) -> Cell:
        """The cell that a line of the joined text stands in."""
        return self.cells[max(0, bisect_right([cell.start for cell in self.cells], line) - 1)]


def read_notebook(content: str) -> Notebook:
    """The code of a notebook in format 3 or 4; none where its language is not Python.

    Raises:
        ValueError: it is no notebook; the message completes "it ...".
    """
    try:
        book = json.loads(content)
        sources = list(_sources(book))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ValueError("is no notebook that can be read; open it in Jupyter and save it again") from None
    lines: list[str] = []
    cells: list[Cell] = []
    for number, source in enumerate(sources, 1):
        text, error = _python(source)
        trouble = (error.msg, error.lineno or 1, error.offset or 1) if error is not None else ()
        cells.append(Cell(number, len(lines) + 1, *trouble))
        lines += text.split("\n")
    return Notebook("\n".join(lines) + "\n" if lines else "", tuple(cells))


def _sources(book: Any) -> Iterator[str]:
    language = book["metadata"].get("language_info", {}).get("name") or book["metadata"].get("kernelspec", {}).get(
        "language", "python"
    )
    if not str(language).lower().startswith(("python", "ipython")):
        return
    sheets = [book] if "cells" in book else book["worksheets"]
    for sheet in sheets:
        for cell in sheet["cells"]:
            if cell["cell_type"] == "code":
                source = cell.get("source", cell.get("input", ""))
                text = source if isinstance(source, str) else "".join(source)
                yield text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")


def _python(source: str) -> tuple[str, SyntaxError | None]:
    """A cell with as many lines, all of them Python, and what was wrong with it."""
    if _parses(source) is None:
        return source, None
    lines = source.split("\n")
    first = next((line for line in lines if line.strip()), "")
    if (magic := re.match(r"\s*%%(\w+)", first)) is not None:
        at = lines.index(first)
        if magic[1] not in _PYTHON_CELL:
            return "\n".join(_comment(line) for line in lines), None
        lines[at] = _comment(first)
    text = "\n".join(_without_magics(lines))
    if (error := _parses(text)) is None:
        return text, None
    return "\n".join(_comment(line) for line in source.split("\n")), error


def _parses(text: str) -> SyntaxError | None:
    import warnings

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(text)
    except SyntaxError as error:
        return error
    except (ValueError, RecursionError, MemoryError) as error:
        return SyntaxError(str(error) or "it nests too deeply for the parser", ("", 1, 1, "", 1, 2))
    return None


def _without_magics(lines: list[str]) -> Iterator[str]:
    goes_on = False
    for line in lines:
        timed = _TIMED.match(line)
        indent = line[: len(line) - len(line.lstrip())]
        if goes_on:
            goes_on = line.endswith("\\")
            yield _comment(line)
        elif timed is not None:
            width = timed.end() - timed.end(1)  # `if 1: ` at least: the columns behind it stay where they were
            yield f"{timed[1]}if {'1' * (width - 5)}: {line[timed.end() :]}"
        elif _MAGIC.search(line):
            goes_on = line.endswith("\\")
            yield f"{indent}pass  # magic"
        else:
            yield line


def _comment(line: str) -> str:
    return f"# {line}" if line.strip() else ""
