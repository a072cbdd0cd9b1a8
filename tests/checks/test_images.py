"""Sick and healthy pictures that no fixture holds."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from dldoctor import Quarantine

from .dataset_folder import codes, encoded, findings, photo, put

Files = dict[str, bytes | str | Image.Image]
JPEG = encoded(photo(1), quality=90)
PNG = encoded(photo(2), "PNG")
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic\0\0\0\x10mdat" + bytes(8)


def _exif(orientation: int, order: str = "<", kind: int = 3) -> bytes:
    """A JPEG with an APP1 segment written by hand in either byte order."""
    mark = b"II*\0" if order == "<" else b"MM\0*"
    value = struct.pack(order + ("HH" if kind == 3 else "L"), *([orientation, 0] if kind == 3 else [orientation]))
    tiff = mark + struct.pack(order + "LHHHL", 8, 1, 0x0112, kind, 1) + value + bytes(4)
    body = b"Exif\0\0" + tiff
    return JPEG[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + JPEG[2:]


def _double_tiff() -> bytes:
    """A TIFF of one row of 64-bit floats, four to a pixel: whole, and nothing for Pillow."""
    tags = [(256, 4), (257, 1), (258, 64), (259, 1), (262, 1), (273, 8), (277, 4), (278, 1), (279, 128), (339, 3)]
    entries = b"".join(struct.pack("<HHLL", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<L", 136) + bytes(128) + struct.pack("<H", len(tags)) + entries + bytes(4)


def _twelve_bits() -> bytes:
    """A JPEG that says it has 12 bits a sample, as scanners of medical pictures write them."""
    data = bytearray(encoded(photo(3)))
    frame = data.index(b"\xff\xc0")
    data[frame + 1], data[frame + 4] = 0xC1, 12
    return bytes(data)


def _upright() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 1
    return exif


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _with_thumbnail() -> bytes:
    """A JPEG whose metadata hold a whole small JPEG, end marker and all."""
    body = b"Exif\0\0" + b"II*\0" + bytes(20) + encoded(photo(3, (16, 12)))
    return JPEG[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + JPEG[2:]


def _odd_sampling() -> bytes:
    """A JPEG whose chroma sampling (3x1) TurboJPEG refuses and Pillow reads; one flat MCU row is enough."""
    data = bytearray(encoded(Image.new("RGB", (8, 8), (200, 30, 30)), quality=90, subsampling="4:4:4"))
    frame = data.index(b"\xff\xc0")
    data[frame + 11] = 0x31  # sampling factors of the first component
    return bytes(data)


HEALTHY: dict[str, Callable[[], Files]] = {
    "CMYK throughout": lambda: {"b.jpg": encoded(photo(4).convert("CMYK"))},
    "grey JPEG and grey PNG": lambda: {"a.jpg": photo(1).convert("L"), "b.png": photo(2).convert("L")},
    "progressive": lambda: {"a.jpg": encoded(photo(1), progressive=True)},
    "a whole thumbnail in the metadata": lambda: {"a.jpg": _with_thumbnail()},
    "a second picture after the first (MPF)": lambda: {"a.jpg": JPEG + encoded(photo(2))},
    "a film after the picture (motion photo)": lambda: {"a.jpg": JPEG + b"\0\0\0\x18ftypmp42" + bytes(3000)},
    "stray bytes before the end marker": lambda: {"a.jpg": JPEG[:-2] + b"\x12\x34\xff\xd9"},
    "fill bytes before markers": lambda: {"a.jpg": JPEG[:2] + b"\xff\xff" + JPEG[2:]},
    "upper-case ending": lambda: {"A.JPG": JPEG, "B.JPEG": encoded(photo(5))},
    "PNG with bytes behind its end": lambda: {"a.png": PNG + bytes(50)},
    "interlaced and palette PNG": lambda: {"a.png": photo(1).convert("P"), "b.png": photo(2).convert("P")},
    "16-bit PNG": lambda: {"a.png": photo(1).convert("L").convert("I;16")},
    "lossless WebP and BMP": lambda: {"a.webp": encoded(photo(1), "WEBP", lossless=True), "b.bmp": photo(2)},
    "TIFF with LZW": lambda: {"a.tif": encoded(photo(1), "TIFF", compression="tiff_lzw")},
    "names in other scripts": lambda: {"猫 (1).jpg": JPEG, "Füchse/кот.png": PNG},
    "sidecars": lambda: {
        "a.jpg": JPEG,
        "README.md": b"x",
        ".DS_Store": b"\0\0\0\1Bud1",
        "Thumbs.db": b"\xd0\xcf",
        "a.json": b"{}",
        "a.txt": b"0 0.5 0.5 1 1",
        "desktop.ini": b"",
    },
    "EXIF that says upright in either byte order": lambda: {
        "a.jpg": _exif(1),
        "b/a.jpg": encoded(photo(6), exif=_upright()),
    },
    "EXIF with an orientation that does not exist": lambda: {"a.jpg": _exif(9)},
    "damaged EXIF": lambda: {"a.jpg": JPEG[:2] + b"\xff\xe1\0\x14Exif\0\0II*\0\xff\xff\xff\xff12345"[:22] + JPEG[2:]},
    "colour and depth of the same scenes": lambda: {
        f"{folder}/{n}.png": photo(n + 40 * (folder == "depth")).convert("L" if folder == "depth" else "RGB")
        for folder in ("rgb", "depth")
        for n in range(3)
    },
    "a folder of images and masks for each scene": lambda: {
        f"train/{n:04x}/{folder}/{n}{folder}.png": photo(n + 40 * (folder == "masks")).convert(mode)
        for folder, mode in (("images", "RGB"), ("masks", "L"))
        for n in range(3)
    },
}

SICK: dict[str, tuple[Callable[[], Files], list[str]]] = {
    "the last two bytes missing": (lambda: {"a.jpg": JPEG[:-2]}, ["IMG001"]),
    "cut in the header": (lambda: {"a.jpg": JPEG[:200]}, ["IMG001"]),
    "cut and closed again": (lambda: {"a.jpg": JPEG[: len(JPEG) // 2] + b"\xff\xd9"}, ["IMG004"]),
    "cut progressive": (lambda: {"a.jpg": encoded(photo(1), progressive=True)[:-300]}, ["IMG001"]),
    "cut grey": (lambda: {"a.jpg": encoded(photo(1).convert("L"))[:-300]}, ["IMG001"]),
    "second half zeroed": (lambda: {"a.jpg": JPEG[: len(JPEG) // 2] + bytes(len(JPEG) // 2)}, ["IMG001"]),
    "second half zeroed and closed": (
        lambda: {"a.jpg": JPEG[: len(JPEG) // 2] + bytes(len(JPEG) // 2 - 2) + b"\xff\xd9"},
        ["IMG004"],
    ),
    "PNG with a damaged text chunk, which Pillow refuses": (
        lambda: {"a.png": PNG[:33] + b"\0\0\0\x05tEXta\0bcd" + b"\1\2\3\4" + PNG[33:]},
        ["IMG004"],
    ),
    "compressed TIFF cut": (lambda: {"a.tif": encoded(photo(1), "TIFF", compression="tiff_lzw")[:1500]}, ["IMG001"]),
    "PNG cut inside IEND": (lambda: {"a.png": PNG[:-2]}, ["IMG001"]),
    "PNG without IEND": (lambda: {"a.png": PNG[:-12]}, ["IMG001"]),
    "PNG whose pixels end early": (
        lambda: {"a.png": PNG[:33] + _chunk(b"IDAT", zlib.compress(bytes(200))) + _chunk(b"IEND", b"")},
        ["IMG001"],
    ),
    "PNG with one bit flipped": (lambda: {"a.png": PNG[:300] + bytes([PNG[300] ^ 4]) + PNG[301:]}, ["IMG004"]),
    "PNG header alone": (lambda: {"a.png": PNG[:33]}, ["IMG001"]),
    "GIF cut": (lambda: {"a.gif": encoded(photo(1), "GIF")[:600]}, ["IMG001"]),
    "WebP cut": (lambda: {"a.webp": encoded(photo(1), "WEBP")[:300]}, ["IMG001"]),
    "BMP cut": (lambda: {"a.bmp": encoded(photo(1), "BMP")[:2000]}, ["IMG001"]),
    "zip under a picture's name": (lambda: {"a.jpg": b"PK\3\4" + bytes(300)}, ["IMG002"]),
    "all zero bytes": (lambda: {"a.jpg": bytes(5000)}, ["IMG002"]),
    "Git LFS pointer": (
        lambda: {"a.jpg": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"},
        ["IMG002"],
    ),
    "AppleDouble": (lambda: {"._a.jpg": b"\0\5\x16\7\0\2\0\0Mac OS X        " + bytes(300)}, ["IMG002"]),
    "SVG under a PNG's name": (lambda: {"a.png": b"<svg xmlns='http://www.w3.org/2000/svg' width='9'/>"}, ["IMG002"]),
    "an iPhone's HEIC under a JPEG's name": (lambda: {"a.jpg": HEIC}, ["IMG002"]),
    "a saved API error": (lambda: {"a.png": b'{"message": "rate limit exceeded", "status": 429}'}, ["IMG002"]),
    "one byte": (lambda: {"a.jpg": b"\xff"}, ["IMG003"]),
    "JPEG start alone": (lambda: {"a.jpg": b"\xff\xd8\xff\xe0"}, ["IMG003"]),
    "a line of pixels": (lambda: {"a.png": Image.new("RGB", (300, 1))}, ["IMG005"]),
    "RGBA among RGB": (lambda: {"a.png": photo(3).convert("RGBA")}, ["IMG006"]),
    "palette GIF among RGB": (lambda: {"a.gif": photo(3)}, ["IMG006"]),
    "grey in one folder of an RGB class": (lambda: {"grey/a.png": photo(3).convert("L")}, ["IMG006"]),
    "CMYK among RGB": (lambda: {"a.jpg": encoded(photo(3).convert("CMYK"))}, ["IMG006"]),
    "grey and alpha among RGB": (lambda: {"a.png": photo(3).convert("LA")}, ["IMG006"]),
    "EXIF in big endian": (lambda: {"a.jpg": _exif(6, ">")}, ["IMG008"]),
    "EXIF orientation as a long": (lambda: {"a.jpg": _exif(8, "<", 4)}, ["IMG008"]),
    "the same pixels as PNG of another compression": (
        lambda: {"a.png": photo(3), "b.png": encoded(photo(3), "PNG", compress_level=1)},
        ["IMG013"],
    ),
    "two black pictures, which are no duplicates": (
        lambda: {"a.png": Image.new("L", (20, 20)), "b.png": Image.new("L", (20, 20))},
        ["IMG015", "IMG015"],
    ),
    "one colour in odd chroma sampling, which is no damage": (lambda: {"a.jpg": _odd_sampling()}, ["IMG015"]),
    "a TIFF that Pillow does not read (64-bit floats)": (lambda: {"a.tif": _double_tiff()}, ["IMG002"]),
    "a 12-bit JPEG": (lambda: {"b.jpg": _twelve_bits()}, ["IMG002"]),
    "an iPhone's HEIC under its own name": (lambda: {"b.heic": HEIC}, ["IMG002"]),
    "the same JPEG with bytes behind its end": (lambda: {"a.jpg": JPEG, "b.jpg": JPEG + bytes(9)}, ["IMG013"]),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_pictures_are_passed(tmp_path: Path, name: str) -> None:
    put(tmp_path, HEALTHY[name]())
    assert [(e.check.code, e.finding.message) for e in findings(tmp_path)] == []


@pytest.mark.parametrize("name", SICK)
def test_sick_pictures_are_found(tmp_path: Path, name: str) -> None:
    make, expected = SICK[name]
    put(tmp_path, make())
    if expected != ["IMG006"]:
        put(tmp_path, {"healthy.jpg": encoded(photo(30))})
    else:
        put(tmp_path, {f"{n}.jpg": encoded(photo(n + 20)) for n in range(3)})
    found = [code for code in codes(tmp_path) if code != "IMG006" or "IMG006" in expected]
    assert found == expected


def test_of_two_equal_pictures_the_one_with_the_shorter_name_stays(tmp_path: Path) -> None:
    put(tmp_path, {"cat (1).jpg": JPEG, "cat.jpg": JPEG})
    (entry,) = findings(tmp_path)
    assert isinstance(entry.finding.fix, Quarantine)
    assert entry.finding.fix.paths == ("cat (1).jpg",)
