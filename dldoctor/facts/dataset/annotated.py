"""What annotation files hold beside class labels: boxes, the pictures they name, and what is wrong with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars


@dataclass(frozen=True)
class Fault:
    """What is wrong with an annotation file: a sentence, and the first place; `line` and `column` count from 1."""

    path: str
    what: str
    line: int | None = None
    column: int | None = None
    #: the line as it stands, or its beginning
    text: str = ""
    #: in how many places, and of how many there are
    count: int = 1
    of: int = 1
    #: whether common readers get over it
    mild: bool = False


@dataclass(frozen=True)
class Missing:
    """A file that annotations name and that is not there; `near` is one whose name differs a little. `count` more may
    be missing for the same reason, such as all pictures of a folder."""

    source: str
    line: int | None
    name: str
    near: str | None = None
    split: str | None = None


@dataclass(frozen=True)
class CategoryList:
    """The categories by id that one annotation file of a split declares."""

    source: str
    split: str
    names: tuple[tuple[int, str], ...]


@dataclass(frozen=True)
class Annotated:
    """All boxes of a dataset in one frame with the columns of `COLUMNS`, and what is said of its files."""

    boxes: polars.DataFrame
    faults: tuple[Fault, ...] = ()
    missing: tuple[Missing, ...] = ()
    #: annotation files by the names that reports show, each with the number of pictures it names
    sources: tuple[tuple[str, int], ...] = ()
    #: paths of the pictures that an annotation names
    named: frozenset[str] = frozenset()
    #: class names by their indices, where the annotations declare them; and the file that does
    classes: tuple[str, ...] = ()
    declared_in: str = ""
    categories: tuple[CategoryList, ...] = ()


#: the columns of boxes as the readers give them
COLUMNS: dict[str, str] = {
    "source": "String",
    "line": "Int64",
    "item": "Int64",
    "picture": "String",
    "split": "String",
    "class_id": "Int64",
    "class_index": "Int64",
    "name": "String",
    "kind": "String",
    "a": "Float64",
    "b": "Float64",
    "c": "Float64",
    "d": "Float64",
    "low": "Float64",
    "high": "Float64",
    "outline": "UInt64",
    "declared_width": "Int64",
    "declared_height": "Int64",
    "crowd": "Boolean",
}


def box_schema() -> dict[str, polars.DataType]:
    """`COLUMNS` as polars types."""
    import polars

    return {name: getattr(polars, kind)() for name, kind in COLUMNS.items()}


def with_all_columns(frame: polars.DataFrame) -> polars.DataFrame:
    """The frame with exactly `COLUMNS`, in their order; what it lacks is null."""
    import polars

    schema = box_schema()
    if not frame.width:
        return polars.DataFrame(schema=schema)  # literals alone would make one row
    return frame.select(
        [
            polars.col(name).cast(kind) if name in frame.columns else polars.lit(None, kind).alias(name)
            for name, kind in schema.items()
        ]
    )
