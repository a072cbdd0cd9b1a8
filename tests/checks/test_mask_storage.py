"""How masks were stored: resized, compressed, drawn in colours; the advice is run, and what only looks so passes."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
from PIL import Image, ImageDraw, ImageFilter

from .dataset_folder import codes, encoded, findings, photo, put
from .test_masks import Files

SIZE = (96, 72)
COLOURS = numpy.array([(67 * k % 256, 131 * k % 256, 29 * k % 256) for k in range(38)], numpy.uint8)
Make = Callable[[int], Image.Image]


def blobs(values: list[int], number: int, size: tuple[int, int] = SIZE) -> Image.Image:
    """An ellipse and a rectangle of each value, elsewhere for each number."""
    mask = Image.new("L", size)
    draw = ImageDraw.Draw(mask)
    for place, value in enumerate(values):
        x, y = (7 * number + 31 * place) % (size[0] // 2), (5 * number + 17 * place) % (size[1] // 2)
        draw.ellipse((x, y, x + size[0] // 3, y + size[1] // 3), fill=value)
        draw.rectangle((x, y + size[1] // 3, x + size[0] // 6, y + size[1] // 2), fill=value)
    return mask


def stripes(count: int, number: int, size: tuple[int, int] = SIZE) -> Image.Image:
    """Each of `count` values in two upright stripes."""
    columns = (numpy.arange(size[0]) * 2 * count // size[0] + number) % count
    return Image.fromarray(numpy.tile(columns.astype(numpy.uint8), (size[1], 1)))


def resized(mask: Image.Image, how: Image.Resampling, size: tuple[int, int] = SIZE) -> Image.Image:
    return mask.resize(size, how)


def through_jpeg(mask: Image.Image) -> Image.Image:
    return Image.open(io.BytesIO(encoded(mask, quality=80)))


def coloured(mask: Image.Image) -> Image.Image:
    return Image.fromarray(COLOURS[numpy.asarray(mask)])


def dataset(
    make: Callable[[int], Any], masks: str = "masks", ending: str = "png", size: tuple[int, int] = SIZE
) -> Files:
    files: Files = {}
    for number in range(8):
        files[f"images/{number}.png"] = photo(number, size)
        files[f"{masks}/{number}.{ending}"] = make(number)
    return files


def contour(number: int) -> Image.Image:
    """Cells: 0 outside, 2 inside, 1 on a border of one pixel."""
    inside = blobs([2, 2], number)
    border = numpy.asarray(inside.filter(ImageFilter.MaxFilter(3))) != numpy.asarray(inside)
    pixels = numpy.asarray(inside).copy()
    pixels[border] = 1
    return Image.fromarray(pixels)


def slope(number: int) -> Image.Image:
    """A depth map: two slopes."""
    y, x = numpy.mgrid[: SIZE[1], : SIZE[0]]
    return Image.fromarray(numpy.clip(20 + x * (1 + number / 9) + y * 0.5, 0, 255).astype(numpy.uint8))


SMALL = (60, 45)
INTERPOLATED: dict[str, Make] = {
    "twice as large": lambda n: resized(blobs([255], n, (48, 36)), Image.Resampling.BILINEAR),
    "cubic": lambda n: resized(blobs([255], n, SMALL), Image.Resampling.BICUBIC),
    "Lanczos": lambda n: resized(blobs([255], n, SMALL), Image.Resampling.LANCZOS),
    "made smaller": lambda n: resized(blobs([255], n, (384, 288)), Image.Resampling.BILINEAR),
    "classes": lambda n: resized(blobs([3, 8, 20], n, SMALL), Image.Resampling.BILINEAR),
    "classes and a void": lambda n: resized(blobs([5, 12, 255], n, SMALL), Image.Resampling.BILINEAR),
    "colours": lambda n: resized(coloured(blobs([3, 8, 20], n, SMALL)), Image.Resampling.BILINEAR),
}
HEALTHY: dict[str, tuple[Make, str]] = {
    "nearest": (lambda n: resized(blobs([3, 8, 20], n, SMALL), Image.Resampling.NEAREST), "masks"),
    "a border of a pixel": (contour, "masks"),
    "mattes": (lambda n: blobs([255], n).filter(ImageFilter.GaussianBlur(2)), "alpha"),
    "depth": (slope, "labels"),
    "saliency": (lambda n: blobs([255], n).filter(ImageFilter.GaussianBlur(6)), "saliency"),
    "photographs": (lambda n: photo(n + 40, SIZE), "targets"),
}


@pytest.mark.parametrize("name", INTERPOLATED)
def test_a_resize_with_interpolation_is_one_finding(tmp_path: Path, name: str) -> None:
    put(tmp_path, dataset(INTERPOLATED[name]))
    assert codes(tmp_path, select=("MSK",)) == ["MSK006"]


@pytest.mark.parametrize("name", HEALTHY)
def test_what_is_soft_or_thin_on_purpose_passes(tmp_path: Path, name: str) -> None:
    make, folder = HEALTHY[name]
    put(tmp_path, dataset(make, folder))
    assert codes(tmp_path, select=("MSK",)) == []


@pytest.mark.parametrize("quality", [70, 85, 95])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_jpeg_mask_is_one_finding(tmp_path: Path, quality: int, mode: str) -> None:
    put(tmp_path, dataset(lambda n: encoded(blobs([255], n).convert(mode), quality=quality), ending="jpg"))
    assert codes(tmp_path, select=("MSK",)) == ["MSK007"]


def test_photographs_that_are_jpegs_are_no_masks(tmp_path: Path) -> None:
    put(tmp_path, dataset(lambda n: encoded(photo(n + 40, SIZE)), "targets", "jpg"))
    assert codes(tmp_path, select=("MSK",)) == []


def test_a_class_in_each_channel_is_no_palette(tmp_path: Path) -> None:
    def make(number: int) -> Image.Image:
        return Image.merge("RGB", [blobs([255], number + 3 * channel) for channel in range(3)])

    put(tmp_path, dataset(make))
    assert codes(tmp_path, select=("MSK",)) == []


def followed(entry: Any, path: Path) -> Any:
    """What the lines of the advice make of a mask."""
    names: dict[str, Any] = {"np": numpy, "Image": Image, "path": path}
    exec(entry.finding.fix.summary.partition("\n")[2], names)
    return names["mask"]


def test_a_table_of_38_colours_is_run_and_gives_the_classes_back(tmp_path: Path) -> None:
    size = (152, 72)
    put(tmp_path, dataset(lambda n: coloured(stripes(38, n, size)), size=size))
    (entry,) = findings(tmp_path, select=("MSK",))
    assert entry.check.code == "MSK003"
    mask, truth = followed(entry, tmp_path / "masks/3.png"), numpy.asarray(stripes(38, 3, size))
    assert len(numpy.unique(mask)) == 38
    assert len(set(zip(mask.flat, truth.flat, strict=True))) == 38


@pytest.mark.parametrize("stored", ["jpg", "png"])
def test_the_colours_of_a_jpeg_are_gathered_and_each_pixel_gets_the_nearest(tmp_path: Path, stored: str) -> None:
    size = (192, 144)

    def make(number: int) -> Any:
        drawn = coloured(stripes(8, number, size))
        return encoded(drawn, quality=90) if stored == "jpg" else through_jpeg(drawn)

    put(tmp_path, dataset(make, ending=stored, size=size))
    found = findings(tmp_path, select=("MSK",))
    if stored == "png" and not found:
        return  # more colours than a palette has, in a format without loss: it may be anything
    (entry,) = found
    mask, truth = followed(entry, tmp_path / f"masks/3.{stored}"), numpy.asarray(stripes(8, 3, size))
    pairs = numpy.bincount(truth.ravel().astype(int) * 64 + mask.ravel(), minlength=8 * 64).reshape(8, 64)
    assert pairs.max(axis=1).sum() >= 0.85 * truth.size
    assert len(set(pairs.argmax(axis=1))) == 8


def test_the_advice_for_interpolated_colours_is_run(tmp_path: Path) -> None:
    put(tmp_path, dataset(INTERPOLATED["colours"]))
    (entry,) = findings(tmp_path, select=("MSK",))
    mask = followed(entry, tmp_path / "masks/3.png")
    assert sorted(numpy.unique(mask)) == [0, 1, 2, 3]
