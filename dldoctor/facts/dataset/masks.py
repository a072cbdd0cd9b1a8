"""The table of masks, each beside its image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, ClassVar, Self

from dldoctor.fact import TableFact, Unavailable
from dldoctor.facts.dataset.files import shown
from dldoctor.facts.dataset.layout import Inventory
from dldoctor.facts.dataset.measurements import Measurements


class MaskTable(TableFact):
    """One row per pair of image and mask, and per image or mask that stands alone.

    Columns:
        path: the mask; null for an image without one. image: the image; null for a mask without one.
        outcome, message, width, height, mode, bits: of the mask, as in `ImageTable`.
        image_width, image_height, image_orientation: of the image.
        grey: of a mask with three channels, whether they are equal everywhere.
        values, counts: the values in the mask and their pixels (0xRRGGBB for colours; the 512 most frequent).
        distinct: how many values there are. fractional: whether some are no whole numbers.
        edges: how many neighbouring pixels differ. blended: how many pixels lie between two unlike neighbours.
        between: those of each of the `values`.
    """

    waiting_for: ClassVar[str] = "the masks to be decoded"
    schema: ClassVar[dict[str, str]] = {
        "path": "String",
        "image": "String",
        "split": "String",
        "size": "Int64",
        "outcome": "String",
        "message": "String",
        "format": "String",
        "width": "Int64",
        "height": "Int64",
        "mode": "String",
        "bits": "Int64",
        "rows_decoded": "Int64",
        "ends_early": "Boolean",
        "head": "String",
        "blank": "Boolean",
        "grey": "Boolean",
        "distinct": "Int64",
        "fractional": "Boolean",
        "edges": "Int64",
        "blended": "Int64",
        "image_width": "Int64",
        "image_height": "Int64",
        "image_orientation": "Int64",
    }

    @classmethod
    def gather(cls, inventory: Inventory, measurements: Measurements) -> Self:
        import polars

        if not inventory.pairs:
            raise Unavailable("the dataset has no masks")
        pairs = polars.DataFrame(
            {
                "path": [pair.mask and shown(pair.mask.path) for pair in inventory.pairs],
                "image": [pair.image and shown(pair.image.path) for pair in inventory.pairs],
                "split": [pair.split for pair in inventory.pairs],
            },
            schema={"path": polars.String, "image": polars.String, "split": polars.String},
        )
        images = (
            measurements.of("picture")
            .filter(polars.col("outcome") == "decoded")
            .select(
                polars.col("path").alias("image"),
                polars.col("width").alias("image_width"),
                polars.col("height").alias("image_height"),
                polars.col("orientation").alias("image_orientation"),
            )
        )
        masks = measurements.of("mask")
        frame = pairs.join(masks, on="path", how="left", maintain_order="left").join(
            images, on="image", how="left", maintain_order="left"
        )
        return cls(frame.select([*cls.schema, *Measurements.lists]))

    def only(self, *conditions: Any) -> Self:
        """The rows for which every polars expression holds, as a table."""
        return type(self)(self.frame.filter(*conditions))

    def totals(self) -> Counter[int]:
        """How many pixels each value has in all masks together."""
        pairs = self.frame.select("values", "counts").explode("values", "counts").drop_nulls()
        return Counter(dict(pairs.group_by("values").agg(self.col.counts.sum()).sort("values").iter_rows()))

    def holding(self, values: Iterable[int]) -> Self:
        """The masks that hold any of the values."""
        wanted = list(values)
        return self.only(self.col("values").list.eval(self.col("").is_in(wanted)).list.any())

    def shares_of(self, value: int) -> list[float]:
        """The part of each mask's pixels that has the value."""
        col = self.col
        pixels = self.frame.select("values", "counts").with_row_index("number").explode("values", "counts")
        share = col.counts.filter(col("values") == value).sum() / col.counts.sum()
        shares: list[float] = (
            pixels.group_by("number", maintain_order=True).agg(share.alias("share"))["share"].to_list()
        )
        return shares
