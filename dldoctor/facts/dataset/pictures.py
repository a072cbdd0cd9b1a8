"""The table of pictures."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

from dldoctor.fact import TableFact
from dldoctor.facts.dataset.layout import Inventory
from dldoctor.facts.dataset.measurements import Measurements

if TYPE_CHECKING:
    import polars


class ImageTable(TableFact):
    """One row per picture file.

    Columns, beside the path, its split and its label where the layout gives them:
        size: bytes; -1 for a link to nowhere.
        outcome: `decoded`; `failed` (known format, pixels lost), `unidentified` (no decoder knows it), `empty`,
            `unsupported` (whole as far as one can see, of a kind that Pillow does not read), `unreadable` (the system
            refused), `gone` (since the folder was listed), `died` (the decoder killed its process), `timeout`,
            `skipped`.
        message: the decoder's own words.
        width, height, mode, bits, format, orientation: as the file says, the mode in Pillow's words.
        rows_decoded, ends_early: of a failed file, rows before the fault and whether its end was met too soon.
        head, blank: of an unidentified file, its first bytes (base64) and whether all are zero.
        bytes_hash: of the file. pixels_hash: equal for equal pixels, whatever the metadata.
        exif: whether there is any. quality: of a JPEG, 1 to 100, by its luminance table. frames: of an animation, or
            pages. edge_width: how many pixels its edges are wide, more where it is blurred; null where a JPEG has too
            many bytes to be blurred, and above 1,024 pixels.

        The rest is measured on a small copy (an eighth of the size, more of a small picture), alpha left out:
        perceptual_hash: 64 bits that a new size or another encoding hardly changes. thumbnail: 12 x 12 grey, base64.
        grey_mean, grey_deviation, red_mean, ...: in the file's own levels, 0 to 255 for 8 bits; no colours for a grey
            picture. Deviations are smaller than the full picture's.
        darkest, brightest: levels (of pictures that are not of 8 bits, the full picture's). entropy: of the histogram,
            0 to 8 bits. dark_share, bright_share: of pixels that are nearly black and nearly white; 8 bits alone.
    """

    waiting_for: ClassVar[str] = "the pictures to be decoded"
    schema: ClassVar[dict[str, str]] = {
        "path": "String",
        "split": "String",
        "label": "String",
        **{
            name: kind
            for name, kind in Measurements.schema.items()
            if name not in ("path", "role", "mtime_ns", "grey", "distinct", "fractional", "edges", "blended")
        },
    }

    @classmethod
    def gather(cls, inventory: Inventory, measurements: Measurements) -> Self:
        import polars

        sorted_in = polars.DataFrame(
            {
                "path": [picture.file.shown for picture in inventory.pictures],
                "split": [picture.split for picture in inventory.pictures],
                "label": [picture.label for picture in inventory.pictures],
            },
            schema={"path": polars.String, "split": polars.String, "label": polars.String},
        )
        measured = measurements.of("picture")
        if measured["path"].equals(sorted_in["path"]):  # all of them, in the same order: nothing is copied
            return cls(measured.hstack(sorted_in.select("split", "label")).select(list(cls.schema)))
        frame = measured.join(sorted_in, on="path", how="left", maintain_order="left")
        return cls(frame.select(list(cls.schema)))

    @cached_property
    def decoded(self) -> polars.DataFrame:
        """The pictures that were decoded."""
        return self.frame.filter(self.col.outcome == "decoded")

    def usual(self, value: Any) -> tuple[float, float]:
        """The median of an expression over the decoded pictures, and how far they lie from it: the median distance, on
        the scale of a standard deviation. Both are what a few outliers don't move; (0, 0) where there is none."""
        import numpy

        values = self.decoded.select(value.cast(float).alias("value"))["value"].drop_nulls().to_numpy()
        if not len(values):
            return 0.0, 0.0
        middle = float(numpy.median(values))
        return middle, 1.4826 * float(numpy.median(numpy.abs(values - middle)))

    def counted(self, *columns: str) -> list[Any]:
        """The decoded pictures by these columns: their `count` and the `path` of the first, the most frequent first."""
        groups = self.decoded.group_by(columns, maintain_order=True)
        counts = groups.agg(self.col.path.len().alias("count").cast(int), self.col.path.first())
        return list(self.rows(counts.sort("count", descending=True, maintain_order=True)))

    def identical(self) -> list[list[Any]]:
        """Groups of rows with the same pixels. A picture of one constant colour shows nothing, so it is in no group."""
        groups: dict[str, list[Any]] = {}
        shown = self.frame.filter(self.col.outcome == "decoded", self.col.grey_deviation > 0)
        for row in self.rows(shown.filter(self.col.pixels_hash.is_duplicated())):
            groups.setdefault(row.pixels_hash, []).append(row)
        return list(groups.values())

    def modes(self) -> list[Any]:
        """The modes of decoded pictures: `mode`, the name of their `folder`, `count` and the `path` of the first."""
        folder = self.col.path.str.extract(r"([^/]+)/[^/]*$").alias("folder")
        groups = self.frame.filter(self.col.outcome == "decoded").group_by("mode", folder, maintain_order=True)
        return list(self.rows(groups.agg(self.col.path.len().alias("count").cast(int), self.col.path.first())))

    def brightness_of_splits(self) -> list[Any]:
        """`count`, `mean` and `deviation` of the pictures' mean grey levels in each `split`."""
        grey = self.col.grey_mean
        groups = self.frame.filter(self.col.split.is_not_null(), grey.is_not_null(), self.col.bits <= 8).group_by(
            "split"
        )
        found = groups.agg(self.col.path.len().alias("count"), grey.mean().alias("mean"), grey.std().alias("deviation"))
        return list(self.rows(found.sort("split")))
