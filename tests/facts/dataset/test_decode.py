"""What is measured on one file."""

from pathlib import Path

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dldoctor.facts.dataset.measuring import decode, jpeg, png
from dldoctor.facts.dataset.measuring.mask_values import mask_values

from ...checks.dataset_folder import encoded, photo

JPEG = encoded(photo(1, (64, 48)), quality=90)
PNG = encoded(photo(1, (64, 48)), "PNG")


def measured(folder: Path, data: bytes, role: decode.Role = "picture") -> decode.Row:
    file = folder / "file"
    file.write_bytes(data)
    return decode.measure(str(file), role)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_header_says_what_pillow_says(mode: str, progressive: bool) -> None:
    image = photo(2, (50, 37)).convert(mode)
    exif = Image.Exif()
    exif[0x0112] = 5
    header = jpeg.read_header(encoded(image, progressive=progressive, exif=exif))
    assert header is not None
    assert (header.width, header.height, header.mode, header.bits) == (50, 37, mode, 8)
    assert (header.progressive, header.orientation) == (progressive, 5)


def test_metadata_do_not_change_the_hash_of_the_pixels(tmp_path: Path) -> None:
    with_comment = encoded(photo(1, (64, 48)), quality=90, comment="holiday", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0")
    first, second = measured(tmp_path, JPEG), measured(tmp_path, with_comment)
    assert first["pixels_hash"] == second["pixels_hash"]
    assert first["bytes_hash"] != second["bytes_hash"]
    assert first["pixels_hash"] != measured(tmp_path, encoded(photo(1, (64, 48)), quality=89))["pixels_hash"]


def test_the_mode_is_part_of_the_hash_of_the_pixels(tmp_path: Path) -> None:
    grey = photo(1).convert("L")
    palette = grey.copy()
    palette.putpalette([value for level in range(256) for value in (255 - level, 0, 0)])
    hashes = {
        measured(tmp_path, encoded(image, "PNG"))["pixels_hash"] for image in (grey, palette, grey.convert("RGB"))
    }
    assert len(hashes) == 3


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
def test_rows_before_a_cut_are_counted(tmp_path: Path, share: float) -> None:
    image = photo(3, (160, 120))
    for data in (encoded(image, quality=95), encoded(image, "PNG")):
        start = 700 if data[:2] == b"\xff\xd8" else 60
        row = measured(tmp_path, data[: start + int((len(data) - start) * share)])
        assert row["ends_early"]
        assert abs(row["rows_decoded"] / 120 - share) < 0.2


@given(st.integers(min_value=0, max_value=len(JPEG) - 1))
@settings(max_examples=60, deadline=None)
def test_every_cut_of_a_jpeg_is_seen(tmp_path_factory: pytest.TempPathFactory, length: int) -> None:
    row = measured(tmp_path_factory.getbasetemp(), JPEG[:length])
    assert row["outcome"] in ("failed", "empty", "unidentified")


@given(st.integers(min_value=0, max_value=len(PNG) - 1))
@settings(max_examples=60, deadline=None)
def test_every_cut_of_a_png_is_seen(tmp_path_factory: pytest.TempPathFactory, length: int) -> None:
    row = measured(tmp_path_factory.getbasetemp(), PNG[:length])
    assert row["outcome"] in ("failed", "empty", "unidentified")


@given(st.integers(min_value=8, max_value=len(PNG) - 1), st.integers(min_value=0, max_value=7))
@settings(max_examples=60, deadline=None)
def test_every_flipped_bit_of_a_png_is_seen(tmp_path_factory: pytest.TempPathFactory, at: int, bit: int) -> None:
    data = bytearray(PNG)
    data[at] ^= 1 << bit
    assert measured(tmp_path_factory.getbasetemp(), bytes(data))["outcome"] == "failed"


@given(st.binary(max_size=400), st.sampled_from([b"", JPEG[:2], JPEG[:180], PNG[:8], PNG[:33], b"GIF89a", b"II*\0"]))
@settings(max_examples=150, deadline=None)
def test_rubbish_is_measured_without_an_exception(
    tmp_path_factory: pytest.TempPathFactory, rubbish: bytes, beginning: bytes
) -> None:
    row = measured(tmp_path_factory.getbasetemp(), beginning + rubbish)
    assert row["outcome"] in ("failed", "empty", "unidentified", "decoded", "skipped")


def test_a_decompression_bomb_is_measured_and_not_decoded(tmp_path: Path) -> None:
    bomb = bytearray(encoded(Image.new("1", (64, 64)), "PNG"))
    bomb[16:24] = (60_000).to_bytes(4, "big") * 2
    bomb[29:33] = __import__("zlib").crc32(bomb[12:29]).to_bytes(4, "big")
    row = measured(tmp_path, bytes(bomb))
    assert (row["outcome"], row["width"], row["height"]) == ("skipped", 60_000, 60_000)


@pytest.mark.parametrize(
    ("said", "progressive", "damage"),
    [
        ("Corrupt JPEG data: 1 extraneous bytes before marker 0xd9", False, False),
        ("Corrupt JPEG data: 3 extraneous bytes before marker 0xc4", False, False),
        ("Corrupt JPEG data: 3 extraneous bytes before marker 0xc4", True, True),
        ("Corrupt JPEG data: 96 extraneous bytes before marker 0xd9", False, True),
        ("Corrupt JPEG data: 1 extraneous bytes before marker 0xd3", False, True),
        ("Corrupt JPEG data: premature end of data segment", False, True),
        ("Premature end of JPEG file", False, True),
        ("Warning: unknown JFIF revision number 3.02", False, False),
        ("Invalid SOS parameters for sequential JPEG", False, False),
    ],
)
def test_words_of_the_decoder_are_weighed(said: str, progressive: bool, damage: bool) -> None:
    assert jpeg.tells_damage(said, progressive) is damage


def test_the_walk_over_a_png_names_the_chunk() -> None:
    damaged = PNG[:200] + bytes([PNG[200] ^ 255]) + PNG[201:]
    assert png.walk(PNG).message == ""
    assert "IDAT chunk at byte 33" in png.walk(damaged).message
    assert png.walk(PNG[:-12]).rows == 48


def test_values_of_masks_are_counted() -> None:
    indexed = Image.new("P", (4, 2))
    indexed.putpalette([0, 0, 0, 9, 9, 9])
    indexed.putpixel((0, 0), 1)
    assert mask_values(indexed) == {
        "grey": None, "distinct": 2, "fractional": False, "values": [0, 1], "counts": [7, 1],
        "edges": 2, "blended": 0, "between": [0, 0]
    }  # fmt: skip
    assert mask_values(Image.new("RGB", (2, 2), (1, 2, 3)))["values"] == [0x010203]
    assert mask_values(Image.new("RGB", (2, 2), (7, 7, 7)))["grey"] is True
    assert mask_values(Image.new("1", (2, 2), 1))["values"] == [1]
    assert mask_values(Image.new("F", (2, 2), 0.5))["fractional"] is True


@pytest.mark.parametrize("turned", [False, True])
def test_values_between_two_others_are_told_from_areas(turned: bool) -> None:
    ramp = numpy.array([[0, 0, 3, 6, 6, 6, 1, 6]] * 3, numpy.uint8)
    found = mask_values(Image.fromarray(ramp.T if turned else ramp))
    assert dict(zip(found["values"], found["between"], strict=True)) == {0: 0, 1: 0, 3: 3, 6: 0}
    assert (found["edges"], found["blended"]) == (12, 3)


def test_a_colour_lies_between_two_others_in_every_channel() -> None:
    row = [[(0, 0, 0), (40, 10, 0), (80, 20, 0), (80, 90, 0), (80, 20, 0)]]
    found = mask_values(Image.fromarray(numpy.array(row, numpy.uint8)))
    assert (found["edges"], found["blended"]) == (4, 2)
