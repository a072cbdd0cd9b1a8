"""The table of boxes: what annotations declare, in one convention, beside the size of the picture they are for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from dldoctor.fact import TableFact, Unavailable
from dldoctor.facts.dataset.annotated import COLUMNS
from dldoctor.facts.dataset.layout import Inventory
from dldoctor.facts.dataset.measurements import Measurements

#: where as many label files of a folder have the same fault, and most of them, the fault is the folder's
_MANY = 5
#: rows kept of a group
_KEPT = 100
#: how far a coordinate may lie outside of the picture: in pixels, and for YOLO as a share of its side, which is what
#: rounding to two decimals takes
_PIXELS, _SHARE = 1.01, 0.01


@dataclass(frozen=True)
class BoxGroup:
    """Boxes of one annotation file, or of a folder of them, for which something holds: how many, of how many; `rows`
    are the first of them."""

    path: str
    line: int | None
    count: int
    of: int
    #: whether `path` is a folder
    folder: bool
    rows: tuple[Any, ...]


@dataclass(frozen=True)
class Readings:
    """For the boxes of one file (COCO) or folder: which share is sensible as declared, and in other conventions."""

    path: str
    kind: str
    count: int
    declared: float
    #: as left, top, right, bottom
    xyxy: float
    #: as left, top, width, height
    xywh: float


class BoxTable(TableFact):
    """One row per box.

    Columns:
        source: the annotation file. line: in it (YOLO, Pascal VOC). item: position in the list of annotations (COCO).
        picture: the file it is for; null where it is not there. split: where known.
        class_id: as written. class_index: from 0. name: of the class, where one is declared.
        kind: `xywh` (COCO: left, top, width, height), `cxcywh` (YOLO: centre and size as shares), `outline` (YOLO: its
            polygon's frame, as cxcywh), `xyxy` (Pascal VOC: left, top, right, bottom).
        a, b, c, d: as declared. low, high: of all coordinates of a YOLO line. outline: equal for equal polygons.
        crowd: whether it stands for many objects.
        x1, y1, x2, y2: in pixels. width, height: of the picture as the annotation says, else of the file.
        declared_width, declared_height: as the annotation says. file_width, file_height, orientation: as the file says.
    """

    waiting_for: ClassVar[str] = "the boxes"
    schema: ClassVar[dict[str, str]] = {
        **COLUMNS,
        "x1": "Float64",
        "y1": "Float64",
        "x2": "Float64",
        "y2": "Float64",
        "width": "Int64",
        "height": "Int64",
        "file_width": "Int64",
        "file_height": "Int64",
        "orientation": "Int64",
    }

    @classmethod
    def gather(cls, inventory: Inventory, measurements: Measurements) -> Self:
        import polars
        from polars import col, when

        if inventory.annotated is None or not inventory.annotated.boxes.height:
            raise Unavailable("the dataset has no boxes")
        sizes = measurements.of("picture").select(
            col("path").alias("picture"),
            col("width").alias("file_width"),
            col("height").alias("file_height"),
            "orientation",
        )
        frame = inventory.annotated.boxes.join(sizes, on="picture", how="left", maintain_order="left")
        # without a declared size, a picture that EXIF turns may have been annotated either way up
        turned = col("orientation").fill_null(1) >= 5
        longest = polars.max_horizontal("file_width", "file_height")
        declared = (col("declared_width") > 0) & (col("declared_height") > 0) & (col("kind").is_in(["xywh", "xyxy"]))
        frame = frame.with_columns(
            when(declared).then("declared_width").when(turned).then(longest).otherwise("file_width").alias("width"),
            when(declared).then("declared_height").when(turned).then(longest).otherwise("file_height").alias("height"),
        )
        shares, sized = col("kind").is_in(["cxcywh", "outline"]), col("kind") == "xywh"
        for low, high, start, size, full in (("x1", "x2", "a", "c", "width"), ("y1", "y2", "b", "d", "height")):
            frame = frame.with_columns(
                when(shares).then((col(start) - col(size) / 2) * col(full)).otherwise(col(start)).alias(low),
                when(shares)
                .then((col(start) + col(size) / 2) * col(full))
                .when(sized)
                .then(col(start) + col(size))
                .otherwise(col(size))
                .alias(high),
            )
        return cls(frame.select(list(cls.schema)))

    @property
    def degenerate(self) -> Any:
        """Boxes without an area, as a polars expression."""
        shares = self.col.kind.is_in(["cxcywh", "outline", "xywh"])
        first, second = self.col.c, self.col.d
        across, down = first - self.col.a, second - self.col.b
        import polars

        width, height = (
            polars.when(shares).then(first).otherwise(across),
            polars.when(shares).then(second).otherwise(down),
        )
        return ~(width.is_finite() & height.is_finite() & self.col.a.is_finite() & self.col.b.is_finite()) | (
            (width <= 0) | (height <= 0)
        )

    @property
    def outside(self) -> Any:
        """Boxes that reach beyond the picture by more than a pixel, or than rounding takes; null without its size."""
        import polars

        shares = self.col.kind.is_in(["cxcywh", "outline"])
        over = []
        for low, high, full in (("x1", "x2", "width"), ("y1", "y2", "height")):
            slack = polars.when(shares).then((polars.col(full) * _SHARE).clip(lower_bound=_PIXELS)).otherwise(_PIXELS)
            over.append((polars.col(low) < -slack) | (polars.col(high) > polars.col(full) + slack))
        return over[0] | over[1]

    def repeated(self) -> Self:
        """The second and further boxes that are the same as one before: source, picture, class and numbers."""
        import polars

        col = polars.col
        numbers = [col(side).round(6) for side in "abcd"]
        kept = self.frame.filter(col("picture").is_not_null(), ~col("crowd").fill_null(False), ~self.degenerate)
        first = polars.struct("source", "picture", "class_id", "name", "outline", *numbers).is_first_distinct()
        return type(self)(kept.filter(~first))

    def groups(self, condition: Any) -> Iterator[BoxGroup]:
        """The boxes for which a polars expression holds, by annotation file; by folder where most files have some."""
        import polars

        folder = self.col.source.str.extract(r"^(.*)/[^/]*$", 1).fill_null(".")
        marked = self.frame.with_columns(folder.alias("folder"), condition.fill_null(False).alias("bad"))
        if not marked["bad"].any():
            return
        wide = (
            marked.group_by("folder")
            .agg(
                self.col.source.n_unique().alias("files"),
                self.col.source.filter(self.col.bad).n_unique().alias("bad_files"),
            )
            .filter(self.col.bad_files > _MANY, self.col.bad_files * 2 > self.col.files)["folder"]
        )
        by = polars.when(self.col.folder.is_in(wide.to_list())).then("folder").otherwise("source").alias("at")
        marked = marked.with_columns(by)
        sizes = dict(marked.group_by("at").agg(polars.len()).iter_rows())
        bad = marked.filter("bad").drop("bad")
        for (path,), rows in bad.group_by("at", maintain_order=True):
            first = tuple(self.rows(rows.drop("at", "folder").head(_KEPT)))
            is_folder = path != first[0].source
            yield BoxGroup(str(path), None if is_folder else first[0].line, rows.height, sizes[path], is_folder, first)

    def readings(self) -> list[Readings]:
        """How sensible the boxes are as declared and otherwise."""
        import polars
        from polars import col

        shares, corners = col("kind") == "cxcywh", col("kind") == "xyxy"
        folder = col("source").str.extract(r"^(.*)/[^/]*$", 1).fill_null(".")
        frame = self.frame.filter(
            ~col("crowd").fill_null(False), col("kind") != "outline", shares | col("width").is_not_null()
        ).with_columns(
            polars.when(col("kind") == "xywh").then("source").otherwise(folder).alias("at"),
            *(
                polars.when(shares).then(1 + _SHARE).otherwise(col(full) + _PIXELS).alias(name)
                for full, name in (("width", "right"), ("height", "bottom"))
            ),
            polars.when(shares).then(-_SHARE).otherwise(-_PIXELS).alias("least"),
        )
        inside = (col("a") >= col("least")) & (col("b") >= col("least"))
        as_corners = inside & (col("c") > col("a")) & (col("d") > col("b"))
        as_corners &= (col("c") <= col("right")) & (col("d") <= col("bottom"))
        as_sized = inside & (col("c") > 0) & (col("d") > 0)
        as_sized &= (col("a") + col("c") <= col("right")) & (col("b") + col("d") <= col("bottom"))
        centred = (col("c") > 0) & (col("d") > 0)
        for middle, size, full in (("a", "c", "right"), ("b", "d", "bottom")):
            centred &= (col(middle) - col(size) / 2 >= col("least")) & (col(middle) + col(size) / 2 <= col(full))
        declared = polars.when(shares).then(centred).when(corners).then(as_corners).otherwise(as_sized)
        found = frame.group_by("at", "kind", maintain_order=True).agg(
            polars.len().cast(polars.Int64).alias("count"),
            declared.mean().alias("declared"),
            as_corners.mean().alias("xyxy"),
            as_sized.mean().alias("xywh"),
        )
        return [Readings(*row) for row in found.iter_rows()]
