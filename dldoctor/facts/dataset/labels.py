"""The table of labels: what each sample's class is, by its folder or by a row of a label file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

from dldoctor.fact import TableFact, Unavailable
from dldoctor.facts.dataset.files import shown
from dldoctor.facts.dataset.label_tables import form_of
from dldoctor.facts.dataset.layout import Inventory

if TYPE_CHECKING:
    import polars


class LabelTable(TableFact):
    """One row per label.

    Columns:
        source: the label file, or the folder of the label files or class folders. line: of the label file.
        column: the header of the labels. named: whether that header says class or label.
        picture: the file it is for; null where it is not there. split: where known.
        text: the label as written. form: `index` (a whole number), `number`, `blank`, `name`, `box` (of a box:
            its value is the class index, null for a category that the annotations do not declare).
        value: as a number. name: the class name, for folders and boxes.
    """

    waiting_for: ClassVar[str] = "the labels"
    schema: ClassVar[dict[str, str]] = {
        "source": "String",
        "line": "Int64",
        "column": "String",
        "named": "Boolean",
        "picture": "String",
        "split": "String",
        "text": "String",
        "form": "String",
        "value": "Float64",
        "name": "String",
    }

    @classmethod
    def gather(cls, inventory: Inventory) -> Self:
        if inventory.annotated is not None and inventory.annotated.boxes.height:
            return cls(_of_boxes(inventory.annotated.boxes, list(cls.schema)))
        rows = _of_folders(inventory) if inventory.class_folders else _of_files(inventory)
        if not rows["text"]:
            raise Unavailable("the dataset has no class labels")
        import polars

        return cls(polars.DataFrame(rows, schema={name: getattr(polars, cls.schema[name]) for name in rows}))

    def pictures_of_splits(self) -> dict[str, int]:
        """How many pictures have labels in each split; a row whose picture is not known counts as one."""
        known = self.col.picture.drop_nulls().n_unique() + self.col.picture.null_count()
        groups = self.frame.filter(self.col.split.is_not_null()).group_by("split").agg(known.alias("count"))
        return dict(groups.sort("split").iter_rows())

    def counted(self) -> list[Any]:
        """The different labels of each source and split with their `count`; `listed` says that a file's row gave it."""
        by = ["source", "column", "named", "split", "text", "form", "value", "name"]
        listed = self.col.line.is_not_null().alias("listed")
        groups = self.frame.group_by([*by, listed], maintain_order=True)
        return list(self.rows(groups.agg(self.col.text.len().alias("count").cast(int))))


def _of_boxes(boxes: polars.DataFrame, columns: list[str]) -> polars.DataFrame:
    import polars
    from polars import col

    written = col("class_id").cast(polars.String)
    folder = col("source").str.extract(r"^(.*)/[^/]*$", 1).fill_null(".")
    return (
        boxes.filter(~col("crowd").fill_null(False), col("class_id").is_not_null() | col("name").is_not_null())
        .with_columns(
            # a file for each picture is one of many: their folder is the source
            polars.when(col("line").is_null()).then("source").otherwise(folder).alias("source"),
            polars.lit(None, polars.Int64).alias("line"),
            polars.lit("class").alias("column"),
            polars.lit(True).alias("named"),
            polars.coalesce("name", written).alias("text"),
            polars.lit("box").alias("form"),
            col("class_index").cast(polars.Float64).alias("value"),
        )
        .select(columns)
    )


def _of_folders(inventory: Inventory) -> dict[str, list[Any]]:
    """ImageFolder numbers the folders of each split by themselves, in the order of their names."""
    numbers: dict[tuple[str | None, str], float] = {}
    sources: dict[str | None, str] = {}
    for split in dict.fromkeys(folder.split for folder in inventory.class_folders):
        here = [folder for folder in inventory.class_folders if folder.split == split]
        sources[split] = here[0].path.rpartition("/")[0] or "."
        for number, folder in enumerate(sorted(here, key=lambda folder: folder.name)):
            numbers[split, folder.name] = float(number)
    pictures = [(p.file.shown, p.split, p.label) for p in inventory.pictures if p.label is not None]
    labels = [label for _, _, label in pictures]
    count = len(pictures)
    return {
        "source": [sources[split] for _, split, _ in pictures],
        "picture": [path for path, _, _ in pictures],
        "split": [split for _, split, _ in pictures],
        "named": [True] * count,
        "text": labels,
        "form": ["index"] * count,
        "value": [numbers[split, label] for _, split, label in pictures],
        "name": labels,
    }


def _of_files(inventory: Inventory) -> dict[str, list[Any]]:
    rows = [(file, row, form_of(row.text)) for file in inventory.label_files for row in file.rows]
    return {
        "source": [file.path for file, _, _ in rows],
        "line": [row.line for _, row, _ in rows],
        "column": [file.column for file, _, _ in rows],
        "named": [file.named for file, _, _ in rows],
        "picture": [row.picture and shown(row.picture) for _, row, _ in rows],
        "split": [row.split for _, row, _ in rows],
        "text": [row.text for _, row, _ in rows],
        "form": [form for _, _, form in rows],
        "value": [float(row.text) if form in ("index", "number") else None for _, row, form in rows],
    }
