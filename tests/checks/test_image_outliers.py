"""What is unlike the rest of a dataset, and what is merely how the dataset is."""

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from dldoctor.checks.image_formats import extension_mismatch, heavy_jpeg_compression, high_bit_depth, multi_frame_image
from dldoctor.checks.image_outliers import (
    blank_image,
    blurry_image,
    low_information_image,
    mixed_sizes,
    odd_aspect_ratio,
    off_exposure_image,
    outlying_channel_statistics,
)

from dldoctor import Finding, ImageTable, Severity

CHANCE = random.Random(0)
Row = dict[str, Any]


def photo(number: int) -> Row:
    """The measurements of some photograph."""
    grey = CHANCE.gauss(115, 30)
    return {
        "path": f"{number}.jpg", "outcome": "decoded", "format": "JPEG", "width": 320, "height": 240, "mode": "RGB",
        "bits": 8, "size": 9000, "frames": 1, "quality": 90, "grey_mean": grey, "grey_deviation": 55.0,
        "red_mean": grey + CHANCE.gauss(8, 12), "green_mean": grey, "blue_mean": grey - CHANCE.gauss(8, 12),
        "red_deviation": 55.0, "green_deviation": 55.0, "blue_deviation": 55.0, "darkest": 3.0, "brightest": 250.0,
        "entropy": CHANCE.gauss(7, 0.4), "dark_share": abs(CHANCE.gauss(0.05, 0.05)), "bright_share": 0.02,
        "edge_width": None,
    }  # fmt: skip


def told(
    check: Callable[[ImageTable], Iterator[Finding]], *changes: Row, count: int = 100, **all_of_them: Any
) -> list[str]:
    """Where a check speaks, in a dataset of photographs with these traits, the last ones changed."""
    rows = [photo(number) | all_of_them for number in range(count)]
    for number, change in enumerate(changes, 1):
        rows[-number] |= change
    return [str(finding.at) for finding in check(ImageTable.from_rows(rows))]


SICK: list[tuple[Callable[[ImageTable], Iterator[Finding]], Row, Row]] = [
    (blank_image, {"grey_deviation": 0.0, "red_deviation": 0.0, "green_deviation": 0.0, "blue_deviation": 0.0}, {}),
    (blurry_image, {"edge_width": 2.6}, {}),
    (blurry_image, {"edge_width": 3.5}, {"edge_width": 0.9}),
    (off_exposure_image, {"dark_share": 0.995}, {}),
    (off_exposure_image, {"bright_share": 1.0}, {}),
    (low_information_image, {"entropy": 0.3}, {}),
    (odd_aspect_ratio, {"width": 2000, "height": 120}, {}),
    (odd_aspect_ratio, {"width": 60, "height": 900}, {}),
    (outlying_channel_statistics, {"red_mean": 60.0, "blue_mean": 160.0}, {"red_mean": 160.0, "blue_mean": 60.0}),
    (outlying_channel_statistics, {"grey_mean": 15.0}, {"grey_mean": 240.0}),
]


@pytest.mark.parametrize(("check", "change", "usual"), SICK)
def test_the_one_picture_unlike_all_others_is_told(check: Any, change: Row, usual: Row) -> None:
    assert told(check, change, **usual) == ["99.jpg"]


@pytest.mark.parametrize(("check", "change", "usual"), SICK[1:])
def test_few_pictures_have_no_usual(check: Any, change: Row, usual: Row) -> None:
    assert told(check, change, count=20, **usual) == []


@pytest.mark.parametrize(("check", "change", "usual"), SICK[1:])
def test_what_many_pictures_have_is_a_trait_of_the_dataset(check: Any, change: Row, usual: Row) -> None:
    assert told(check, *[change] * 10, **usual) == []


@pytest.mark.parametrize(
    ("check", "traits"),
    [
        (off_exposure_image, {"dark_share": 0.97}),  # digits on black
        (off_exposure_image, {"bright_share": 0.97}),  # pages
        (low_information_image, {"entropy": 1.3}),  # drawings
        (blurry_image, {"edge_width": 2.2}),  # microscopy
    ],
)
def test_a_dataset_that_is_so_throughout_is_healthy(check: Any, traits: Row) -> None:
    extreme = {"dark_share": 1.0, "bright_share": 1.0, "entropy": 0.9, "edge_width": 2.4}
    assert told(check, {name: extreme[name] for name in traits}, **traits) == []


def test_a_red_flower_among_green_ones_is_no_swap() -> None:
    assert told(outlying_channel_statistics, {"red_mean": 220.0, "blue_mean": 30.0}) == []


def test_sizes_that_vary_are_information_and_an_exception_is_a_warning() -> None:
    varied = ImageTable.from_rows([photo(n) | {"width": 200 + n} for n in range(60)])
    assert [finding.severity for finding in mixed_sizes(varied, None)] == [Severity.INFO]
    odd = ImageTable.from_rows([photo(n) | ({"width": 200} if n == 7 else {}) for n in range(60)])
    assert [(finding.severity, finding.evidence["count"]) for finding in mixed_sizes(odd, None)] == [(None, 1)]
    turned = ImageTable.from_rows([photo(n) | ({"width": 240, "height": 320} if n == 7 else {}) for n in range(60)])
    assert [finding.severity for finding in mixed_sizes(turned, None)] == [Severity.INFO]
    assert told(lambda images: mixed_sizes(images, None)) == []


def test_many_of_a_kind_are_one_finding() -> None:
    blank = {"grey_deviation": 0.0, "red_deviation": 0.0, "green_deviation": 0.0, "blue_deviation": 0.0}
    assert told(blank_image, *[blank] * 30) == ["."]
    assert told(multi_frame_image, *[{"frames": 3}] * 30) == ["."]
    assert told(extension_mismatch, *[{"format": "PNG"}] * 30) == ["."]
    assert told(multi_frame_image, {"frames": 3}) == ["99.jpg"]


def test_a_few_old_jpegs_are_no_matter_and_a_twentieth_is() -> None:
    assert told(heavy_jpeg_compression, {"quality": 20}) == []
    assert told(heavy_jpeg_compression, *[{"quality": 20}] * 8) == ["."]
    assert told(heavy_jpeg_compression, quality=75) == []


def test_levels_that_convert_keeps_are_healthy() -> None:
    deep = {"mode": "I;16", "bits": 16}
    assert told(high_bit_depth, **deep, darkest=0.0, brightest=255.0) == []
    assert told(high_bit_depth, **deep, darkest=0.0, brightest=4095.0) == ["."]
    assert told(high_bit_depth, mode="F", bits=32, darkest=0.0, brightest=1.0) == ["."]
