"""What people need next: counts of classes and sizes, what to write into Normalize, the shares of mask values."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from dldoctor.fact import Fact
from dldoctor.facts.dataset.labels import LabelTable
from dldoctor.facts.dataset.layout import Layout
from dldoctor.facts.dataset.masks import MaskTable
from dldoctor.facts.dataset.pictures import ImageTable
from dldoctor.finding import Exhibit, Histogram, Listing, Table

#: classes named in one line; sizes and classes drawn with -v
_NAMED, _DRAWN = 4, 40
#: different labels beyond which they are quantities
_CLASSES = 2000
#: sizes kept, the commonest first
_SIZES = 12
#: values or colours of masks beyond which they are no classes
_VALUES = 64
_CHANNELS = ("red", "green", "blue")
_ORDER = ("train", "val", "test")
#: measured on photographs of 224 to 1200 pixels and on textures (grass, gravel, brick)
_SHORT = (
    "mean and std are of pictures at an eighth of their size: the std is 2 to 10 %\n"
    "below that of full photographs, and up to 45 % in fine textures, text and star fields"
)


@dataclass(frozen=True)
class ClassTally:
    """How many samples of a class each split has, in the order of `DatasetProfile.splits`."""

    name: str
    counts: tuple[int, ...]


@dataclass(frozen=True)
class SizeTally:
    """How many pictures have a size."""

    width: int
    height: int
    count: int


@dataclass(frozen=True)
class Normalisation:
    """Mean and deviation per channel, of pixels scaled to 0..1. The mean is that of the full pictures within 0.003; the
    deviation is measured on a small copy, `scale` of their size, and falls short of theirs."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    #: the split they are of; None for all pictures
    split: str | None
    pictures: int
    scale: str = "1/8"

    @property
    def line(self) -> str:
        """The call to paste."""
        mean, std = (", ".join(f"{value:.3f}" for value in values) for values in (self.mean, self.std))
        return f"v2.Normalize(mean=[{mean}], std=[{std}])"


@dataclass(frozen=True)
class MaskShare:
    """The part of all pixels that a mask value has; a colour is written #rrggbb."""

    value: str
    share: float


@dataclass(frozen=True)
class DatasetProfile(Fact):
    """The dataset in numbers, of its training split where there is one."""

    waiting_for: ClassVar[str] = "the dataset's profile"
    in_passing: ClassVar[bool] = True
    saved: ClassVar[bool] = False

    splits: tuple[str, ...] = ()
    classes: tuple[ClassTally, ...] = ()
    sizes: tuple[SizeTally, ...] = ()
    #: how many different sizes there are; least, median and most of width and height
    different_sizes: int = 0
    widths: tuple[int, ...] = ()
    heights: tuple[int, ...] = ()
    normalisation: Normalisation | None = None
    mask_shares: tuple[MaskShare, ...] = ()
    #: as what the folder was taken, and by what
    layout: str = ""
    recognised_by: str = ""

    @classmethod
    def gather(cls, images: ImageTable, labels: LabelTable | None, masks: MaskTable | None, layout: Layout) -> Self:
        splits, classes = _classes(labels) if labels is not None else ((), ())
        shares = _shares(masks) if masks is not None else ()
        return cls(splits, classes, *_sizes(images), _normalisation(images), shares, layout.kind, layout.by)

    def reported(self) -> dict[str, Any] | None:
        from dldoctor.fileform import to_plain

        plain: dict[str, Any] = to_plain(self)
        return plain | {"colour_to_index": self._colours()}

    def drawn(self, verbose: bool) -> tuple[Exhibit, ...]:
        layout = f"  recognised by {self.recognised_by}" if self.recognised_by else ""
        lines = [line for line in (layout, self._class_line(), self._size_line(), self._mask_line()) if line]
        short = [Listing("\n".join(lines), flowing=True)] if lines else []
        if self.normalisation is not None:
            short.append(Listing(f"  {self.normalisation.line}{self._over()}", whole=True))
        return (*short, *self._at_length()) if verbose else tuple(short)

    def _at_length(self) -> tuple[Exhibit, ...]:
        drawn: list[Exhibit] = []
        if self.classes:
            kept = self.classes[:_DRAWN]
            if self.splits:
                drawn.append(Table(("class", *self.splits), tuple((c.name, *c.counts) for c in kept)))
            else:
                drawn.append(Histogram(tuple((c.name, float(sum(c.counts))) for c in kept), "samples"))
        if len(self.sizes) > 1:
            drawn.append(Histogram(tuple((f"{s.width} x {s.height}", float(s.count)) for s in self.sizes), "pictures"))
        if self.mask_shares:
            shares = tuple((share.value, f"{100 * share.share:.3g} %") for share in self.mask_shares)
            drawn.append(Table(("mask value", "share of pixels"), shares))
        if colours := self._colours():
            text = ",\n         ".join(f"{colour}: {index}" for colour, index in colours.items())
            drawn.append(Listing(f"index = {{{text}}}", whole=True))
        if self.normalisation is not None:
            drawn.append(Listing(_SHORT, whole=True))
        return tuple(drawn)

    def _class_line(self) -> str:
        if not self.classes:
            return ""
        totals = sorted(((sum(c.counts), c.name) for c in self.classes), key=lambda item: (-item[0], item[1]))
        if len(totals) <= _NAMED:
            return "  classes  " + ", ".join(f"{name}: {count:,}" for count, name in totals)
        middle = totals[len(totals) // 2][0]
        if totals[-1][0] == totals[0][0]:
            return f"  {len(totals)} classes of {middle:,} samples each"
        return f"  {len(totals)} classes of {totals[-1][0]:,} to {totals[0][0]:,} samples, typically {middle:,}"

    def _size_line(self) -> str:
        if not self.sizes:
            return ""
        first = self.sizes[0]
        if self.different_sizes == 1:
            return f"  all pictures are {first.width} x {first.height}"
        low, high = ((self.widths[end], self.heights[end]) for end in (0, 2))
        return (
            f"  {self.different_sizes:,} sizes, {first.width} x {first.height} the commonest; "
            f"widths {low[0]} to {high[0]}, heights {low[1]} to {high[1]}"
        )

    def _mask_line(self) -> str:
        if not self.mask_shares:
            return ""
        most = sorted(self.mask_shares, key=lambda share: -share.share)[:_NAMED]
        more = len(self.mask_shares) - len(most)
        shown = ", ".join(f"{share.value}: {100 * share.share:.3g} %" for share in most)
        return f"  pixels of the masks  {shown}" + (f", {more} more" if more else "")

    def _over(self) -> str:
        split = self.normalisation.split if self.normalisation else None
        return f"  # {split}" if split else ""

    def _colours(self) -> dict[str, int]:
        """The index of each colour, black first, for masks that are pictures of colours."""
        colours = [share for share in self.mask_shares if share.value.startswith("#")]
        if len(colours) < 2:
            return {}
        ordered = sorted(colours, key=lambda share: (share.value != "#000000", -share.share))
        triples = [tuple(int(share.value[at : at + 2], 16) for at in (1, 3, 5)) for share in ordered]
        return {str(colour): index for index, colour in enumerate(triples)}


def _classes(labels: LabelTable) -> tuple[tuple[str, ...], tuple[ClassTally, ...]]:
    counts: dict[str, Counter[str | None]] = {}
    order: dict[str, tuple[int, float, str]] = {}
    for row in labels.counted():
        if row.form == "number":
            return (), ()  # a quantity
        if row.form != "blank":
            name = row.name or row.text
            counts.setdefault(name, Counter())[row.split] += row.count
            order[name] = (0, row.value, "") if row.form == "index" and row.value is not None else (1, 0.0, name)
    found = dict.fromkeys(split for tally in counts.values() for split in tally if split is not None)
    splits = sorted(found, key=lambda split: (_ORDER.index(split) if split in _ORDER else len(_ORDER), split))
    if not 1 < len(counts) <= _CLASSES:
        return (), ()
    loose = any(tally[None] for tally in counts.values())
    columns = [*splits, *([None] if loose or not splits else [])]
    names = tuple(split if split is not None else "no split" for split in columns) if splits else ()
    return names, tuple(
        ClassTally(name, tuple(counts[name][split] for split in columns))
        for name in sorted(counts, key=lambda name: order[name])
    )


def _sizes(images: ImageTable) -> tuple[tuple[SizeTally, ...], int, tuple[int, ...], tuple[int, ...]]:
    col = images.col
    decoded = images.frame.filter(col.outcome == "decoded")
    if not decoded.height:
        return (), 0, (), ()
    groups = decoded.group_by("width", "height").len("count").sort(["count", "width", "height"], descending=True)
    commonest = tuple(SizeTally(row.width, row.height, row.count) for row in images.rows(groups.head(_SIZES)))
    spans = []
    for side in ("width", "height"):
        values = decoded[side].sort()
        spans.append((int(values[0]), int(values[len(values) // 2]), int(values[-1])))
    return commonest, groups.height, spans[0], spans[1]


def _normalisation(images: ImageTable) -> Normalisation | None:
    """Each picture counts the same, as it does once all are resized; greys count in each channel, as after
    `convert("RGB")`."""
    import polars

    col = images.col
    measured = images.frame.filter(col.outcome == "decoded", col.grey_mean.is_not_null(), col.bits <= 8)
    decoded = images.frame.filter(col.outcome == "decoded").height
    if not measured.height or 2 * measured.height < decoded:
        return None
    train = measured.filter(col.split == "train")
    chosen = train if train.height else measured
    channels = _CHANNELS if chosen["red_mean"].is_not_null().any() else ("grey",)
    scale = polars.when(col.bits == 1).then(1.0).otherwise(255.0)
    mean, std = [], []
    for channel in channels:
        level = polars.coalesce(f"{channel}_mean", "grey_mean") / scale
        spread = polars.coalesce(f"{channel}_deviation", "grey_deviation") / scale
        first, second = chosen.select(level.mean().alias("m"), (level**2 + spread**2).mean().alias("s")).row(0)
        mean.append(round(first, 4))
        std.append(round(max(0.0, second - first**2) ** 0.5, 4))
    if not all(std):
        return None
    return Normalisation(tuple(mean), tuple(std), "train" if train.height else None, chosen.height)


def _shares(masks: MaskTable) -> tuple[MaskShare, ...]:
    """The values of all masks of class indices or of a palette's colours, with their share of the pixels."""
    import polars

    col = masks.col
    decoded = masks.frame.filter(col.outcome == "decoded", ~col.fractional)
    train = decoded.filter(col.split == "train")
    chosen = train if train.height else decoded
    coloured = bool((chosen["grey"] == False).any())  # noqa: E712  # null is neither
    if chosen.height == 0 or int(chosen["distinct"].max() or 0) > 4 * _VALUES:  # type: ignore[arg-type]  # an integer column
        return ()
    packed = polars.when(col.grey & coloured).then(polars.col("values") * 0x010101).otherwise(polars.col("values"))
    exploded = (
        chosen.select("grey", "values", "counts").explode("values", "counts").with_columns(packed.alias("values"))
    )
    totals = exploded.group_by("values").agg(polars.col("counts").sum()).sort("values")
    if not 0 < totals.height <= _VALUES:
        return ()
    pixels = totals["counts"].sum()
    return tuple(
        MaskShare(f"#{value:06x}" if coloured else str(value), count / pixels) for value, count in totals.iter_rows()
    )
