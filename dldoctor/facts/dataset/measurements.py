"""All that was measured on the pictures and masks: from the cache where a file is unchanged, else by decoding it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar, Self

from dldoctor.fact import BadInput, TableFact
from dldoctor.facts.dataset.files import File
from dldoctor.facts.dataset.layout import Inventory
from dldoctor.facts.subjects import DatasetFolder
from dldoctor.resources import Resources

if TYPE_CHECKING:
    import polars

    from dldoctor.facts.dataset.cache import MeasurementCache
    from dldoctor.facts.dataset.pool import Task

#: a frame is made of this many rows, or of those of this many seconds, whichever comes first
PART_ROWS, PART_SECONDS = 5000, 5.0
#: outcomes that may differ the next time, whatever the file: never cached
PASSING = ("died", "timeout", "unreadable", "gone", "skipped")


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
        "edges": "Int64",
        "blended": "Int64",
    }
    lists: ClassVar[tuple[str, ...]] = ("values", "counts", "between")

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
        found = _known(wanted, cache.load() if cache else polars.DataFrame(schema=schema))
        missing = wanted.filter(~polars.col("number").is_in(found["number"].implode()))
        todo: list[int] = missing["number"].to_list()
        if not todo:
            return cls(found.drop("number"))
        fresh = _Fresh({"number": polars.UInt32, **schema}, cache)
        label = "pictures"

        def done(position: int, row: dict[str, Any]) -> None:
            number = todo[position]
            file, role = files[number]
            identity = {"number": number, "path": file.shown, "role": role}
            fresh.add(row | identity | {"size": file.size, "mtime_ns": file.mtime_ns})
            resources.progress.advance(label)

        resources.progress.start(label, len(todo))
        root = str(dataset.path)
        try:
            measure_all(
                [_task(root, *files[number]) for number in todo],
                [max(0, files[number][0].size) for number in todo],
                resources,
                done,
            )
        finally:
            measured = fresh.close(len(files))
            resources.progress.finish(label)
        if not dataset.path.is_dir():
            raise BadInput(f"{dataset.shown}: is gone; it was there when the scan began")
        return cls(polars.concat([found.select(measured.columns), measured]).sort("number").drop("number"))

    def of(self, role: str) -> polars.DataFrame:
        """The rows of pictures or of masks."""
        wanted = self.frame["role"] == role
        return (self.frame if wanted.all() else self.frame.filter(wanted)).drop("role")


def _known(wanted: polars.DataFrame, known: polars.DataFrame) -> polars.DataFrame:
    """The rows of `known` that are of the wanted files as they are now, with their numbers and in their order."""
    import polars

    # A join copies all columns, a filter after it does so again: which rows they are is found by four of them.
    others = ["role", "size", "mtime_ns"]
    rows = known.select("path", *others).with_row_index("row")
    joined = wanted.join(rows, on="path", suffix="_known", maintain_order="left")
    same = joined.filter(*(polars.col(name) == polars.col(f"{name}_known") for name in others)).select("number", "row")
    if same["number"].is_duplicated().any():  # two scans at once measured the same file
        same = same.unique("number", keep="last", maintain_order=True)
    return known[same["row"]].insert_column(0, same["number"])


class _Fresh:
    """Rows as they come, put into frames now and then: the cache gets each, and a frame holds a row in a tenth of the
    memory of a dict."""

    def __init__(self, schema: dict[str, Any], cache: MeasurementCache | None) -> None:
        self.schema = schema
        self.cache = cache
        self.waiting: list[dict[str, Any]] = []
        self.frames: list[polars.DataFrame] = []
        self.last = time.monotonic()

    def add(self, row: dict[str, Any]) -> None:
        self.waiting.append(row)
        if len(self.waiting) >= PART_ROWS or time.monotonic() - self.last >= PART_SECONDS:
            self._flush()

    def close(self, pictures: int) -> polars.DataFrame:
        """All rows; the cache is complete then. `pictures` is how many files the dataset has."""
        import polars

        self._flush()
        if self.cache is not None:
            self.cache.close(pictures)
        return polars.concat(self.frames, rechunk=False)

    def _flush(self) -> None:
        import polars

        frame = polars.DataFrame(self.waiting, schema=self.schema)
        self.waiting, self.last = [], time.monotonic()
        self.frames.append(frame)
        if self.cache is not None:
            self.cache.write(frame.drop("number").filter(~polars.col("outcome").is_in(PASSING)))


def _task(root: str, file: File, role: str) -> Task:
    if file.archive:
        return (f"{root}/{file.archive}", role, file.offset, file.size)
    return (f"{root}/{file.path}", role)
