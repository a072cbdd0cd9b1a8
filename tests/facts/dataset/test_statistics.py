"""What is computed on the small copies of pictures."""

from pathlib import Path

import numpy
import pytest
from PIL import Image
from skimage import data as photos

from dldoctor.facts.dataset.measuring import decode, jpeg
from dldoctor.facts.dataset.measuring.statistics import statistics

from ...checks.dataset_folder import encoded

PHOTO = Image.fromarray(photos.astronaut()).crop((0, 0, 500, 375))


def measured(folder: Path, *files: bytes) -> list[decode.Row]:
    rows = []
    for number, data in enumerate(files):
        file = folder / str(number)
        file.write_bytes(data)
        rows.append(decode.measure(str(file), "picture"))
    decode.complete(rows)
    return rows


def bits_apart(first: decode.Row, second: decode.Row) -> int:
    return int(first["perceptual_hash"] ^ second["perceptual_hash"]).bit_count()


def test_means_are_those_of_all_pixels(tmp_path: Path) -> None:
    pixels = numpy.asarray(PHOTO, dtype=float).reshape(-1, 3)
    for row in measured(tmp_path, encoded(PHOTO, quality=95), encoded(PHOTO, "PNG")):
        means = [row["red_mean"], row["green_mean"], row["blue_mean"]]
        deviations = [row["red_deviation"], row["green_deviation"], row["blue_deviation"]]
        assert means == pytest.approx(pixels.mean(axis=0), abs=1.5)
        assert deviations == pytest.approx(pixels.std(axis=0), rel=0.1)
        assert row["grey_mean"] == pytest.approx(pixels.mean(axis=0) @ [0.299, 0.587, 0.114], abs=1.5)


def test_a_picture_is_measured_alike_alone_and_among_others(tmp_path: Path) -> None:
    files = [encoded(PHOTO.rotate(angle), quality=90) for angle in (0, 30, 60)]
    together = measured(tmp_path, *files, encoded(PHOTO.resize((90, 80))))
    assert [measured(tmp_path, file)[0] for file in files] == together[:3]


def test_a_perceptual_hash_outlives_a_new_size_and_encoding_but_not_another_picture(tmp_path: Path) -> None:
    first, *same, other, grey = measured(
        tmp_path,
        encoded(PHOTO, quality=95),
        encoded(PHOTO, quality=20),
        encoded(PHOTO.resize((250, 188)), "PNG"),
        encoded(PHOTO.resize((1000, 750)), "WEBP"),
        encoded(Image.fromarray(photos.coffee())),
        encoded(PHOTO.convert("L")),
    )
    assert all(bits_apart(first, row) <= 4 for row in [*same, grey])
    assert bits_apart(first, other) > 16


def test_the_quality_of_a_jpeg_is_read_from_its_tables() -> None:
    for quality in (5, 30, 50, 75, 90, 95, 100):
        header = jpeg.read_header(encoded(PHOTO.resize((40, 30)), quality=quality))
        assert header is not None
        assert header.quality == quality


def test_a_constant_picture_has_no_deviation_and_no_entropy() -> None:
    for value in (0, 7, 128, 255):
        grey, colour = statistics(
            [numpy.full((30, 40), value, numpy.uint8), numpy.full((30, 40, 3), value, numpy.uint8)]
        )
        for row in (grey, colour):
            assert (row["grey_mean"], row["grey_deviation"], row["entropy"]) == (value, 0, 0)
            assert (row["darkest"], row["brightest"]) == (value, value)
        assert (colour["red_mean"], colour["red_deviation"]) == (value, 0)
        assert (grey["dark_share"], grey["bright_share"]) == (value < 24, value > 232)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (23, 24), (47, 48), (48, 47), (191, 193), (1000, 17)])
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F"])
def test_every_mode_and_size_is_measured(tmp_path: Path, mode: str, size: tuple[int, int]) -> None:
    image = PHOTO.resize(size).convert("L" if mode in ("I;16", "I", "F") else "RGB").convert(mode)
    (row,) = measured(tmp_path, encoded(image, "TIFF"))
    assert row["outcome"] == "decoded"
    assert 0 <= row["grey_mean"] <= 255
    assert (row.get("red_mean") is None) == (mode in ("1", "L", "LA", "I;16", "I", "F"))


def test_levels_of_16_bits_keep_their_range(tmp_path: Path) -> None:
    depth = numpy.linspace(0, 5000, 200 * 300).reshape(200, 300).astype(numpy.uint16)
    (row,) = measured(tmp_path, encoded(Image.fromarray(depth), "PNG"))
    assert (row["bits"], row["darkest"], row["brightest"]) == (16, 0, 5000)
    assert row["grey_mean"] == pytest.approx(2500, abs=10)
    assert row["dark_share"] is None


def test_frames_and_pages_are_counted(tmp_path: Path) -> None:
    frames = [PHOTO.resize((40, 30)).rotate(angle) for angle in (0, 20, 40)]
    more = {"save_all": True, "append_images": frames[1:]}
    rows = measured(tmp_path, *(encoded(frames[0], kind, **more) for kind in ("GIF", "PNG", "WEBP", "TIFF")))
    assert [row["frames"] for row in rows] == [3, 3, 3, 3]
    copy = encoded(frames[0], "TIFF", save_all=True, append_images=[_smaller_copy(frames[0])])
    assert [row["frames"] for row in measured(tmp_path, copy, encoded(frames[0], "GIF"), encoded(frames[0]))] == [
        1,
        1,
        1,
    ]


def _smaller_copy(image: Image.Image) -> Image.Image:
    """The overview of a map: a page that says it is another page, made smaller."""
    small = image.resize((20, 15))
    small.encoderinfo = {"tiffinfo": {254: 1}}
    return small
