"""The text of one source file, and the way from a node of its tree to a place, a frame and an edit."""

from __future__ import annotations

import ast
import functools
import io
import re
import tokenize
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dldoctor.facts.source.notebook import Notebook, read_notebook
from dldoctor.facts.source.syntax import Syntax, bound_by
from dldoctor.finding import CodeFrame, Edit, Edits, Place

#: bytes above which a file is generated or data; a notebook holds its outputs, too
_LARGEST, _LARGEST_NOTEBOOK = 2 << 20, 200 << 20
_LINE_END = re.compile(r"\r\n|\r|\n")
#: the statement keywords and notations that came after Python 3.11 and that an older parser trips over
_NEWER_SYNTAX = re.compile(
    r"f-string|^\s*type\s+\w+.*=|^\s*(?:async\s+)?(?:def|class)\s+\w+\s*\[|\bt['\"]|^\s*except\s+\w+\s*,"
)


@dataclass(frozen=True)
class ParseError:
    """What the parser said, and where (line and column from 1)."""

    message: str
    line: int
    column: int
    end_column: int
    #: the text looks like syntax of a newer Python than the one that reads it
    newer: bool = False
    too_deep: bool = False


@dataclass(frozen=True)
class SourceFile:
    """One file of Python source. `path` is relative to the subject's root, with forward slashes."""

    path: str
    text: str
    encoding: str = "utf-8"
    #: why there is no text: not readable, not decodable
    trouble: str = ""
    #: nobody writes such a file by hand
    generated: bool = False
    #: of a notebook: the joined text of its cells and where each begins
    notebook: Notebook | None = None

    @functools.cached_property
    def tree(self) -> ast.Module | ParseError:
        """The syntax tree, or what keeps the text from having one."""
        import warnings

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # invalid escapes in the examined text are not ours to print
                return ast.parse(self.text.removeprefix("\ufeff"))
        except SyntaxError as error:
            return self._told(error)
        except (RecursionError, MemoryError):
            return ParseError("it nests too deeply for the parser", 1, 1, 2, too_deep=True)
        except ValueError as error:  # a null character
            return ParseError(str(error), 1, 1, 2)

    @functools.cached_property
    def syntax(self) -> Syntax:
        """What stands in the file, indexed; empty where it doesn't parse."""
        return Syntax(self.tree if isinstance(self.tree, ast.Module) else None)

    @functools.cached_property
    def binders(self) -> dict[str, list[ast.stmt]]:
        """Name -> the statements at the top of the file that bind it, in their order; `*` -> its star imports."""
        found: dict[str, list[ast.stmt]] = {}
        for statement in self.tree.body if isinstance(self.tree, ast.Module) else ():
            for name in dict.fromkeys(bound_by(statement)):
                found.setdefault(name, []).append(statement)
        return found

    def forget(self, *, tree: bool = True) -> None:
        """Let go of the index, and of the tree with it unless it is to stay; both are made again when asked for."""
        for name in ("syntax", "tree", "binders") if tree else ("syntax",):
            self.__dict__.pop(name, None)

    def _told(self, error: SyntaxError) -> ParseError:
        line, column = error.lineno or 1, error.offset or 1
        same_line = error.end_lineno == error.lineno and error.end_offset is not None
        end = error.end_offset if same_line and error.end_offset is not None else column + 1
        line = min(line, len(self.lines) or 1)
        newer = bool(_NEWER_SYNTAX.search(error.msg) or _NEWER_SYNTAX.search(self.line(line)))
        return ParseError(error.msg, line, max(column, 1), max(end, column + 1), newer)

    @functools.cached_property
    def lines(self) -> list[str]:
        """Lines without their ends, as the parser counts them (a form feed ends none)."""
        return _LINE_END.split(self.text.removeprefix("\ufeff"))

    def line(self, number: int) -> str:
        return self.lines[number - 1] if 0 < number <= len(self.lines) else ""

    @functools.cached_property
    def newline(self) -> str:
        """The line end of this file."""
        match = _LINE_END.search(self.text)
        return match[0] if match else "\n"

    @functools.cached_property
    def _line_starts(self) -> list[int]:
        starts, at = [0], 0
        for piece in re.split(r"(\r\n|\r|\n)", self.text):
            at += len(piece.encode("utf-8", "surrogatepass"))
            if piece in ("\r\n", "\r", "\n"):
                starts.append(at)
        if self.text.startswith("\ufeff"):
            starts[0] = 3
        return starts

    # --- from nodes to places ---------------------------------------------------------------------------------

    def column(self, line: int, offset: int) -> int:
        """A column from 1 in characters, from the parser's offset in UTF-8 bytes."""
        return len(self.line(line).encode("utf-8", "surrogatepass")[:offset].decode("utf-8", "replace")) + 1

    def at(self, line: int, column: int | None = None) -> Place:
        """A line of the text, and of its cell where it stands in one."""
        if self.notebook is None or not self.notebook.cells:
            return Place(self.path, line=line, column=column)
        cell = self.notebook.cell(line)
        return Place(self.path, line=line - cell.start + 1, column=column, cell=cell.number)

    def place(self, node: ast.AST) -> Place:
        line, offset = node.lineno, node.col_offset  # type: ignore[attr-defined]  # only placed nodes are asked
        return self.at(line, self.column(line, offset))

    def spot(self, node: ast.AST) -> str:
        """A node's line as words, for a message about another place: `line 12`."""
        place = self.place(node)
        return f"line {place.line}" if place.cell is None else f"cell {place.cell}, line {place.line}"

    def frame(self, node: ast.AST, label: str = "") -> CodeFrame:
        """The node's first line with carets under it."""
        line, offset = node.lineno, node.col_offset  # type: ignore[attr-defined]  # as above
        text = self.line(line)
        last = node.end_lineno == line  # type: ignore[attr-defined]  # as above
        end = len(text.rstrip()) + 1
        if last:
            end = self.column(line, node.end_col_offset)  # type: ignore[attr-defined]  # as above
        start = self.column(line, offset)
        at = self.at(line)
        return CodeFrame(self.path, at.line or line, text, start, max(end, start + 1), label, at.cell)

    def segment(self, node: ast.AST) -> str:
        """The text of a node as written."""
        start, end = self.span(node)
        return self.text.encode("utf-8", "surrogatepass")[start:end].decode("utf-8", "replace")

    def span(self, node: ast.AST) -> tuple[int, int]:
        """Start and end of a node in UTF-8 bytes."""
        starts = self._line_starts
        start: int = starts[node.lineno - 1] + node.col_offset  # type: ignore[attr-defined]  # as above
        end: int = starts[node.end_lineno - 1] + node.end_col_offset  # type: ignore[attr-defined]  # as above
        return start, end

    def line_start(self, line: int) -> int:
        return self._line_starts[line - 1]

    def indent(self, node: ast.AST) -> str | None:
        """The blanks before a node that is the first thing on its line, else None."""
        line, offset = node.lineno, node.col_offset  # type: ignore[attr-defined]  # as above
        before = self.line(line).encode()[:offset].decode("utf-8", "replace")
        return before if not before.strip() else None

    # --- edits -----------------------------------------------------------------------------------------------

    @property
    def editable(self) -> bool:
        """Whether byte ranges of the UTF-8 text are byte ranges of the file."""
        return self.encoding == "utf-8" and self.notebook is None

    def replace(self, node: ast.AST, text: str) -> Edit:
        return Edit(self.path, *self.span(node), text)

    def append(self, node: ast.AST, text: str) -> Edit:
        """Put text right behind an expression, in parentheses where it would bind to its last part alone."""
        end = self.span(node)[1]
        if isinstance(node, (ast.Name, ast.Attribute, ast.Call, ast.Subscript)):
            return Edit(self.path, end, end, text)
        return self.replace(node, f"({self.segment(node)}){text}")

    def append_argument(self, last: ast.AST, text: str) -> Edit:
        """Put text behind the last argument of a call."""
        end = self.span(last)[1]
        return Edit(self.path, end, end, text)

    def whole_lines(self, statement: ast.stmt | ast.Lambda) -> str:
        """The lines of a statement as written, comments included."""
        return self.newline.join(
            self.line(n) for n in range(statement.lineno, (statement.end_lineno or statement.lineno) + 1)
        )

    def without_line(self, statement: ast.stmt) -> Edit:
        """Take out a statement that stands on lines of its own, comment and line end included."""
        end = statement.end_lineno or statement.lineno
        stop = (
            self.line_start(end + 1)
            if end < len(self._line_starts)
            else len(self.text.encode("utf-8", "surrogatepass"))
        )
        return Edit(self.path, self.line_start(statement.lineno), stop, "")

    def insert_before(self, statement: ast.AST, text: str) -> Edit:
        """Put a statement before another one, on a line of its own where that stands on one."""
        at = self.span(statement)[0]
        blanks = self.indent(statement)
        return Edit(self.path, at, at, f"{text}; " if blanks is None else f"{text}{self.newline}{blanks}")

    def wrap(self, statement: ast.stmt, header: str) -> list[Edit] | None:
        """Put a statement under `header:`, one level deeper; None where a text over several lines would change."""
        blanks = self.indent(statement)
        if blanks is None:
            return None
        strings = (
            n for n in ast.walk(statement) if isinstance(n, (ast.JoinedStr, ast.Constant)) and n.end_lineno != n.lineno
        )
        if any(isinstance(n, ast.JoinedStr) or isinstance(n.value, (str, bytes)) for n in strings):
            return None
        deeper = "\t" if "\t" in blanks else "    "
        first = self.line_start(statement.lineno)
        edits = [Edit(self.path, first, first, f"{blanks}{header}:{self.newline}{deeper}")]
        numbers = range(statement.lineno + 1, (statement.end_lineno or statement.lineno) + 1)
        starts = [self.line_start(number) for number in numbers if self.line(number).strip()]
        return edits + [Edit(self.path, start, start, deeper) for start in starts]

    def fix(self, summary: str, edits: Iterable[Edit] | None, *, safe: bool = True) -> Edits | str:
        """Edits where the file can take them, the words alone where it can't."""
        chosen = tuple(edits or ())
        return Edits(summary, chosen, safe=safe) if chosen and self.editable else summary


def read_source(path: Path, name: str) -> SourceFile:
    """The text of a file, or what keeps it from being read."""
    try:
        if not path.is_file():
            return SourceFile(name, "", trouble="is no regular file")
        size = path.stat().st_size
        if size > (_LARGEST_NOTEBOOK if name.endswith(".ipynb") else _LARGEST):
            return SourceFile(name, "", trouble=f"has {size / 1e6:.0f} MB, which nobody writes by hand", generated=True)
        content = path.read_bytes()
        if name.endswith(".ipynb"):
            book = read_notebook(content.decode("utf-8-sig"))
            return SourceFile(name, book.text, notebook=book)
        encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
        if encoding in ("utf-8", "utf-8-sig"):  # a byte order mark stays: it counts in byte ranges
            return SourceFile(name, content.decode("utf-8"))
        return SourceFile(name, content.decode(encoding), encoding=encoding)
    except OSError as error:
        return SourceFile(name, "", trouble=f"can't be read ({error.strerror})")
    except SyntaxError as error:
        return SourceFile(name, "", trouble=f"has no encoding that Python knows ({error.msg})")
    except UnicodeDecodeError as error:
        words = f"is not {error.encoding.upper()}, though no coding line says otherwise (byte {error.start})"
        return SourceFile(name, "", trouble=words)
    except ValueError as error:
        return SourceFile(name, "", trouble=str(error))
