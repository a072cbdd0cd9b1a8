"""Pictures that look alike, as rows of a table."""

import base64
import time

import numpy
import polars
import pytest
from PIL import Image
from skimage import data

from dldoctor import ImageTable, NearDuplicates
from dldoctor.facts.dataset.measuring.statistics import small_copy, statistics

CHANCE = numpy.random.default_rng(0)


def table(hashes: list[int], thumbnails: list[bytes] | None = None, **columns: list[object]) -> ImageTable:
    """Pictures with these hashes and, where none are given, with thumbnails of chance."""
    count = len(hashes)
    thumbnails = thumbnails or [CHANCE.integers(0, 255, 144, numpy.uint8).tobytes() for _ in hashes]
    given = {
        "path": [f"{number}.jpg" for number in range(count)],
        "outcome": ["decoded"] * count,
        "width": [200] * count,
        "height": [150] * count,
        "entropy": [7.0] * count,
        "grey_mean": [100.0] * count,
        "grey_deviation": [50.0] * count,
        "pixels_hash": [str(number) for number in range(count)],
        "thumbnail": [base64.b64encode(thumbnail).decode() for thumbnail in thumbnails],
        **columns,
    }
    return ImageTable(polars.DataFrame(given).with_columns(polars.Series("perceptual_hash", hashes, polars.UInt64)))


def groups(images: ImageTable) -> list[list[str]]:
    return [[row.path for row in rows] for rows in NearDuplicates.gather(images).groups()]


SAME = bytes(range(144))


def test_near_hashes_with_the_same_thumbnail_are_a_group() -> None:
    assert groups(table([0, 0b111, 1 << 60, 0xFFFF << 20], [SAME] * 4)) == [["0.jpg", "1.jpg", "2.jpg"]]


def test_equal_hashes_of_different_pictures_are_no_group() -> None:
    assert groups(table([5] * 300)) == []


def test_tone_contrast_and_colour_tell_apart_what_thumbnails_do_not() -> None:
    for column, values in (
        ("grey_mean", [100.0, 110.0]),
        ("grey_deviation", [50.0, 60.0]),
        ("red_mean", [90.0, 120.0]),
    ):
        assert groups(table([0, 0], [SAME] * 2, **{column: list(values)})) == []


def test_small_and_flat_pictures_are_left_out() -> None:
    for column, value in (("width", 32), ("grey_deviation", 3.0), ("entropy", 1.0)):
        assert groups(table([0, 0], [SAME] * 2, **{column: [value] * 2})) == []


def test_copies_of_the_same_pixels_are_another_matter() -> None:
    assert groups(table([0, 0], [SAME] * 2, pixels_hash=["x", "x"])) == []


@pytest.mark.parametrize("sides", [(300, 225), (160, 120), (640, 480)])
def test_a_photograph_is_found_again_at_another_size(sides: tuple[int, int]) -> None:
    photo = Image.fromarray(data.astronaut()).convert("L").resize((512, 384))
    both = (photo, photo.resize(sides, Image.Resampling.LANCZOS))
    rows = statistics([small_copy(image)[0] for image in both])
    fixed = {"outcome": "decoded", "width": 200, "height": 150}
    images = ImageTable.from_rows(
        [{"path": str(number), "pixels_hash": str(number), **fixed, **row} for number, row in enumerate(rows)]
    )
    assert groups(images) == [["0", "1"]]


def test_no_crowd_of_equal_hashes_is_compared_pair_by_pair() -> None:
    images = table([5] * 20_000)
    started = time.process_time()
    assert groups(images) == []
    assert time.process_time() - started < 10  # 200 million pairs would take minutes
