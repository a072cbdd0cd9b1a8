"""All that was measured on the pictures and masks: from the cache where a file is unchanged, else by decoding it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

from dldoctor.fact import TableFact
from dldoctor.facts.dataset.files import File
from dldoctor.facts.dataset.layout import Inventory
from dldoctor.facts.subjects import DatasetFolder
from dldoctor.resources import Resources

if TYPE_CHECKING:
    import polars

#: outcomes that may differ the next time, whatever the file: never cached
PASSING = frozenset({"died", "timeout", "unreadable", "skipped"})


class Measurements(TableFact):
    """One row per picture and mask file, in the inventory's order; the columns that `decode.measure` fills."""

    saved: ClassVar[bool] = False
    waiting_for: ClassVar[str] = "the pictures to be decoded"
    schema: ClassVar[dict[str, str]] = {
        "path": "String",
        "role": "String",
        "size": "Int64",
        "mtime_ns": "Int64",
        "outcome": "String",
        "message": "String",
        "format": "String",
        "width": "Int64",
        "height": "Int64",
        "mode": "String",
        "bits": "Int64",
        "orientation": "Int64",
        "exif": "Boolean",
        "quality": "Int64",
        "frames": "Int64",
        "rows_decoded": "Int64",
        "ends_early": "Boolean",
        "head": "String",
        "blank": "Boolean",
        "bytes_hash": "String",
        "pixels_hash": "String",
        "perceptual_hash": "UInt64",
        "thumbnail": "String",
        "grey_mean": "Float64",
        "grey_deviation": "Float64",
        "red_mean": "Float64",
        "red_deviation": "Float64",
        "green_mean": "Float64",
        "green_deviation": "Float64",
        "blue_mean": "Float64",
        "blue_deviation": "Float64",
        "darkest": "Float64",
        "brightest": "Float64",
        "entropy": "Float64",
        "dark_share": "Float64",
        "bright_share": "Float64",
        "edge_width": "Float64",
        "grey": "Boolean",
        "distinct": "Int64",
        "fractional": "Boolean",
    }
    lists: ClassVar[tuple[str, ...]] = ("values", "counts")

    @classmethod
    def gather(cls, inventory: Inventory, dataset: DatasetFolder, resources: Resources) -> Self:
        import polars

        from dldoctor.facts.dataset.cache import MeasurementCache
        from dldoctor.facts.dataset.pool import measure_all

        masks = inventory.masks
        files: list[tuple[File, str]] = [(picture.file, "picture") for picture in inventory.pictures]
        files += [(mask, "mask") for mask in masks]
        schema: dict[str, Any] = {name: getattr(polars, kind) for name, kind in cls.schema.items()}
        schema |= {name: polars.List(polars.Int64) for name in cls.lists}
        wanted = polars.DataFrame(
            {
                "path": [file.shown for file, _ in files],
                "role": [role for _, role in files],
                "size": [file.size for file, _ in files],
                "mtime_ns": [file.mtime_ns for file, _ in files],
            },
            schema={name: schema[name] for name in ("path", "role", "size", "mtime_ns")},
        ).with_row_index("number")
        cache = MeasurementCache(resources.cache, dataset.path, schema) if resources.cache else None
        known = cache.load() if cache else polars.DataFrame(schema=schema)
        found = wanted.join(known, on=["path", "role", "size", "mtime_ns"], how="left")
        todo: list[int] = found.filter(polars.col("outcome").is_null())["number"].to_list()
        measured: list[dict[str, Any]] = []
        label = "pictures"

        def done(position: int, row: dict[str, Any]) -> None:
            file, role = files[todo[position]]
            row |= {"path": file.shown, "role": role, "size": file.size, "mtime_ns": file.mtime_ns}
            measured.append(row)
            if cache is not None and row["outcome"] not in PASSING:
                cache.add(row)
            resources.progress.advance(label)

        if todo:
            resources.progress.start(label, len(todo))
            root = str(dataset.path)
            try:
                measure_all(
                    [(f"{root}/{files[number][0].path}", files[number][1]) for number in todo],
                    [max(0, files[number][0].size) for number in todo],
                    resources,
                    done,
                )
            finally:
                if cache is not None:
                    cache.close()
                resources.progress.finish(label)
        fresh = polars.DataFrame(measured, schema=schema)
        rows = polars.concat([found.filter(polars.col("outcome").is_not_null()).select(list(schema)), fresh])
        order = wanted.select("number", "path", "role")
        return cls(order.join(rows, on=["path", "role"], how="inner").sort("number").drop("number"))

    def of(self, role: str) -> polars.DataFrame:
        """The rows of pictures or of masks."""
        return self.frame.filter(self.col.role == role).drop("role")
