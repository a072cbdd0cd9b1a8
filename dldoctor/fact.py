"""What a fact is: plain data that was measured.

This module and every module that defines fact types import the standard library alone at module level: they are
loaded by `dldoctor checks` and by the child process that runs user code, and neither may pay for numpy or polars.
"""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

if TYPE_CHECKING:
    import polars

    from dldoctor.finding import Exhibit


class Unavailable(Exception):
    """Raised by a gatherer whose fact can't be had here: its checks are skipped with this reason.

    The message completes the sentence "skipped: ...", for instance `no CUDA device` or `needs --batch N`.
    """


class BadInput(Exception):
    """What the user pointed at can't be examined: one sentence with the place and what to do; exit status 2."""


class Fact:
    """Base of all facts.

    A subclass is a frozen dataclass of plain values (numbers, strings, tuples, dicts, nested dataclasses, `None`).
    It carries its gatherer, a classmethod `gather` whose annotated parameters name the facts it needs (`X | None`
    for one it can do without). A class without `gather` is a seed: what the user pointed at and asked for.
    """

    #: shown while the fact is slow: "still waiting for ..."
    waiting_for: ClassVar[str] = ""
    #: how the user supplies a seed: the reason of a skipped check is "needs " + flag
    flag: ClassVar[str] = ""
    #: whether --save-facts writes it
    saved: ClassVar[bool] = True
    #: a fact to be shown that is gathered only where what it needs is measured for a check anyway
    in_passing: ClassVar[bool] = False

    @property
    def said(self) -> str:
        """What was seen, as one line for the head of the report; empty for most facts."""
        return ""

    def drawn(self, verbose: bool) -> tuple[Exhibit, ...]:
        """What to draw below the findings (a layer table, a loss curve); nothing for most facts."""
        return ()

    def reported(self) -> dict[str, Any] | None:
        """What a JSON report holds of it, as JSON values; nothing for most facts."""
        return None


class Subject(Fact):
    """A seed that names the thing under examination. A check belongs to each command whose subject it can reach."""

    #: in which part of a report its findings stand: "dataset", "model", ...
    kind: ClassVar[str] = ""

    @property
    def root(self) -> Path:
        """The folder that finding paths are relative to."""
        raise NotImplementedError

    @property
    def title(self) -> str:
        """The subject as the user would name it."""
        raise NotImplementedError


class DividedFact(Fact):
    """A fact of parts that are judged one by one, such as source files.

    A check that asks for it and for nothing else gets each part in turn, as a fact of the same type, in whatever
    process and order; what it said is kept for parts that have not changed, nor anything that they leaned on.
    """

    @property
    def names(self) -> Sequence[str]:
        """The names of the parts."""
        raise NotImplementedError

    def weight(self, name: str) -> int:
        """How much work a part is, in bytes of what has to be read."""
        raise NotImplementedError

    def part(self, name: str) -> Self:
        """One part, ready to be judged."""
        raise NotImplementedError

    @property
    def leaned_on(self) -> Iterable[str]:
        """Of a part that was judged: the names of all that its judgement depends on beside itself."""
        raise NotImplementedError

    def digest(self, name: str) -> str:
        """What is in a part, or in anything that a part leaned on; differs when that has changed."""
        raise NotImplementedError

    @property
    def place(self) -> str | None:
        """From where another process can open the same fact; None where it can't, and nothing is kept."""
        raise NotImplementedError

    @classmethod
    def opened(cls, place: str) -> Self:
        """The fact at a place, to ask parts of."""
        raise NotImplementedError


class TableFact(Fact):
    """A fact that is one table, a polars frame in memory and Parquet in its file form.

    `schema` maps column names to polars data type names ("String", "Int64", "Boolean", "List(Int64)" is not one:
    give such a column no entry). Missing columns are added as nulls, so an old fixture survives a new column.
    """

    schema: ClassVar[dict[str, str]] = {}

    def __init__(self, frame: polars.DataFrame) -> None:
        import polars

        missing = [
            polars.lit(None, dtype=getattr(polars, kind)).alias(name)
            for name, kind in self.schema.items()
            if name not in frame.columns
        ]
        self.frame = frame.with_columns(missing) if missing else frame

    def __len__(self) -> int:
        return self.frame.height

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and isinstance(other, TableFact) and self.frame.equals(other.frame)

    __hash__ = None  # type: ignore[assignment]  # a table is compared by value and never a key

    @property
    def col(self) -> Any:
        """polars' own `col`, handed on so that checks import nothing but dldoctor."""
        import polars

        return polars.col

    def where(self, *conditions: Any) -> Iterator[Any]:
        """Rows as named tuples, in the table's order, for which every polars expression holds."""
        return self.rows(self.frame.filter(*conditions) if conditions else self.frame)

    @staticmethod
    def rows(frame: polars.DataFrame) -> Iterator[Any]:
        """The rows of any frame derived from this table, as named tuples."""
        import collections

        row = collections.namedtuple("Row", frame.columns)  # type: ignore[misc]  # columns are known at run time alone
        return (row(*values) for values in frame.iter_rows())

    @classmethod
    def from_rows(cls, rows: list[dict[str, Any]]) -> Self:
        """A table from a list of dicts (as fixtures write it); column types come from `schema`."""
        import polars

        known = {name: getattr(polars, kind) for name, kind in cls.schema.items()}
        return cls(
            polars.DataFrame(rows, schema_overrides=known, infer_schema_length=None)
            if rows
            else polars.DataFrame(schema=known)
        )


@dataclass(frozen=True)
class Need:
    """One annotated parameter of a gatherer or a check."""

    parameter: str
    fact: type[Fact]
    optional: bool


@functools.cache  # asked of every gatherer for every check that needs it, and annotations take their time
def needs_of(function: Any, owner: str) -> tuple[Need, ...]:
    """The facts that a function asks for by the annotations of its positional parameters.

    Raises:
        TypeError: a parameter has no annotation or one that is no fact; the message names `owner`.
    """
    import inspect

    try:
        hints = typing.get_type_hints(function)
    except NameError as error:
        raise TypeError(f"{owner}: an annotation can't be resolved: {error}") from error
    needs = []
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            continue
        hint = hints.get(name)
        alternatives = (
            typing.get_args(hint)
            if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union
            else (hint,)
        )
        kinds = [kind for kind in alternatives if kind is not type(None)]
        if len(kinds) != 1 or not (isinstance(kinds[0], type) and issubclass(kinds[0], Fact)):
            raise TypeError(f"{owner}: parameter {name!r} must be annotated with one fact type, or with it and None")
        needs.append(Need(name, kinds[0], optional=len(alternatives) > 1))
    return tuple(needs)


def gatherer(fact: type[Fact]) -> Callable[..., Fact] | None:
    """A fact's `gather`; `None` for a seed, which has none."""
    found: Callable[..., Fact] | None = getattr(fact, "gather", None)
    return found


def gatherer_needs(fact: type[Fact]) -> tuple[Need, ...] | None:
    """What a fact's `gather` asks for; `None` for a seed."""
    gather = gatherer(fact)
    return None if gather is None else needs_of(gather, f"{fact.__module__}.{fact.__name__}.gather")
