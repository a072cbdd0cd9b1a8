"""Pictures that look alike: suspected by their perceptual hashes, proved by what else was measured on them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Self

from dldoctor.fact import TableFact
from dldoctor.facts.dataset.pictures import ImageTable

if TYPE_CHECKING:
    import numpy
    import polars

    Array = numpy.ndarray[Any, Any]

#: a smaller picture has too little to be told apart by: handwritten digits share their hashes
LEAST_SIDE = 64
#: flat pictures and drawings are left out for the same reason
LEAST_DEVIATION, LEAST_ENTROPY = 10.0, 3.5
#: bits of 64 that two hashes may differ in. Bands of 16 bits find every pair up to 3, and most of the others.
DISTANCE, BAND = 6, 16
FULL = (1 << BAND) - 1
#: rows that each one is compared with, of those that share a band with it
CROWD = 32
#: pairs that are proved at once
PORTION = 1 << 15
#: what two thumbnails may differ by, as a share of their contrast and in levels
CONTRAST_SHARE, LEVELS = 0.15, 2.0
#: levels that the mean and that the channels may differ by, and the share that the deviation may. With these, of 60
#: photographs 88 to 100 % are found again at other sizes, all at a JPEG quality of 20, all when 1 % of the side is
#: cropped, 37 % at 2 %; of 7,140 pairs of pages of random text one is taken for the same.
TONE, COLOUR, CONTRAST_CHANGE = 3.0, 8.0, 0.08


class NearDuplicates(TableFact):
    """One row per picture that looks like another one, though not a pixel-exact copy of it.

    Columns: `group` (a number, in the order of the pictures), path, split, label, width, height, and `distance`, the
    bits of 64 in which its perceptual hash differs from that of the group's first picture.
    """

    waiting_for: ClassVar[str] = "pictures to be compared"
    schema: ClassVar[dict[str, str]] = {
        "group": "Int64",
        "path": "String",
        "split": "String",
        "label": "String",
        "width": "Int64",
        "height": "Int64",
        "distance": "Int64",
    }

    @classmethod
    def gather(cls, images: ImageTable) -> Self:
        import polars

        col = polars.col
        fit = images.decoded.filter(
            polars.min_horizontal("width", "height") >= LEAST_SIDE,
            col("grey_deviation") >= LEAST_DEVIATION,
            col("entropy") >= LEAST_ENTROPY,
            col("perceptual_hash").is_not_null(),
        ).unique(["pixels_hash", "split", "label"], keep="first", maintain_order=True)
        grouped = fit.with_columns(polars.Series("group", _groups(fit), dtype=polars.Int64)).filter(
            # copies of the same pixels are another matter; they stand beside a third picture alone
            col("pixels_hash").n_unique().over("group") > 1
        )
        first = col("perceptual_hash").first().over("group")
        distance = (col("perceptual_hash") ^ first).bitwise_count_ones().cast(polars.Int64).alias("distance")
        return cls(grouped.with_columns(distance).select(list(cls.schema)).sort("group", maintain_order=True))

    def groups(self) -> list[list[Any]]:
        """The rows of each group."""
        found: dict[int, list[Any]] = {}
        for row in self.where():
            found.setdefault(row.group, []).append(row)
        return list(found.values())


def _groups(fit: polars.DataFrame) -> Array:
    """The group of each row: the number of the first row that it is the same picture as."""
    import base64

    import numpy

    group = numpy.arange(len(fit))
    if not len(fit):
        return group
    hashes = fit["perceptual_hash"].to_numpy()
    thumbnails = numpy.frombuffer(base64.b64decode("".join(fit["thumbnail"])), numpy.uint8).reshape(len(fit), -1)
    colours = fit.select("red_mean", "green_mean", "blue_mean").to_numpy()
    means, contrasts = fit["grey_mean"].to_numpy(), fit["grey_deviation"].to_numpy()

    def same(one: Array, other: Array) -> Array:
        """Which pairs are proved: hardly different as thumbnails, in tone, contrast and colour."""
        apart = thumbnails[one].astype(numpy.float32) - thumbnails[other]
        contrast = thumbnails[one].std(axis=1)
        # NaN, where one of the two is grey, is no difference
        differ = (numpy.abs(colours[one] - colours[other]) > COLOUR).any(axis=1)
        differ |= numpy.sqrt((apart**2).mean(axis=1)) > numpy.maximum(LEVELS, CONTRAST_SHARE * contrast)
        differ |= numpy.abs(means[one] - means[other]) > TONE
        differ |= numpy.abs(contrasts[one] - contrasts[other]) > CONTRAST_CHANGE * contrasts[one]
        proved: Array = ~differ
        return proved

    for start in range(0, 64, BAND):
        for pairs in _neighbours(hashes, means, start):
            one, other = pairs
            bits = hashes[one] ^ hashes[other]
            near = (numpy.bitwise_count(bits) <= DISTANCE) & (group[one] != group[other])
            for earlier in range(0, start, BAND):  # pairs that agree in an earlier band were looked at there
                near &= (bits >> numpy.uint64(earlier)) & numpy.uint64(FULL) != 0
            one, other = pairs[:, near]
            _join(group, *pairs[:, near][:, same(one, other)])
    return group


def _neighbours(hashes: Array, means: Array, start: int) -> Iterator[Array]:
    """Pairs whose hashes agree in the band that begins at a bit: each row with the one so many places after it in the
    order of the band, portion by portion, for every distance within a crowd."""
    import numpy

    keys = (hashes >> numpy.uint64(start)) & numpy.uint64(FULL)
    order = numpy.lexsort((means, hashes, keys))
    keys = keys[order]
    following = numpy.searchsorted(keys, keys, side="right") - numpy.arange(len(keys)) - 1
    for step in range(1, min(CROWD, int(following.max(initial=0))) + 1):
        here = numpy.flatnonzero(following >= step)
        for first in range(0, len(here), PORTION):
            some = here[first : first + PORTION]
            yield numpy.stack([order[some], order[some + step]])


def _join(group: Array, one: Array, other: Array) -> None:
    """Make one group of each pair's two; a group is known by its first row."""
    import numpy

    for a, b in zip(one.tolist(), other.tolist(), strict=True):
        roots = _root(group, a), _root(group, b)
        group[max(roots)] = min(roots)
    while len(one):
        shorter = group[group]
        if numpy.array_equal(shorter, group):
            return
        group[:] = shorter


def _root(group: Array, row: int) -> int:
    while group[row] != row:
        row = int(group[row])
    return row
