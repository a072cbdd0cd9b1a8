"""Sick and healthy masks that no fixture holds."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
from PIL import Image

from .dataset_folder import encoded, findings, photo, put

SIZE = (48, 36)
Files = dict[str, bytes | str | Image.Image]


def areas(values: list[int], number: int = 0) -> Image.Image:
    """A mask with an upright stripe for each value; `number` moves the stripes."""
    columns = numpy.array([values[(x + 3 * number) % SIZE[0] * len(values) // SIZE[0]] for x in range(SIZE[0])])
    pixels = numpy.tile(columns, (SIZE[1], 1))
    return Image.fromarray(pixels.astype(numpy.uint8 if max(values) < 256 else numpy.uint16))


def pairs(masks: list[Any], images: str = "images", folder: str = "masks", ending: str = "png") -> Files:
    files: Files = {}
    for number, mask in enumerate(masks):
        files[f"{images}/{number}.jpg"] = photo(number)
        files[f"{folder}/{number}.{ending}"] = mask
    return files


def soft(number: int) -> Image.Image:
    """Black and white with soft edges, as a resize with interpolation leaves them."""
    return areas([0, 255], number).resize((24, 18)).resize(SIZE, Image.Resampling.BICUBIC)


def disc(number: int) -> Image.Image:
    """A white disc on black."""
    y, x = numpy.mgrid[: SIZE[1], : SIZE[0]]
    return Image.fromarray((numpy.hypot(x - 20 - number, y - 18) < 12).astype(numpy.uint8) * 255)


def coloured(number: int) -> Image.Image:
    mask = areas([0, 1, 2], number)
    mask.putpalette([0, 0, 0, 220, 20, 60, 0, 0, 142])
    return mask.convert("RGB")


def ids(number: int) -> Image.Image:
    """An id per segment spread over three channels, as COCO's panoptic masks have it."""
    values = numpy.arange(SIZE[0] * SIZE[1]).reshape(SIZE[1], SIZE[0]) // 4 + 1000 * number
    return Image.fromarray(numpy.stack([values & 255, values >> 8 & 255, values >> 16], -1).astype(numpy.uint8))


HEALTHY: dict[str, tuple[Callable[[], Files], dict[str, Any]]] = {
    "VOC: 255 is the void": (
        lambda: pairs([areas([0, 15, 255], n) for n in range(3)], "JPEGImages", "SegmentationClass"),
        {},
    ),
    "foreground 1 and void 255": (lambda: pairs([areas([0, 1, 255]), areas([0, 1], 1), areas([0, 255], 2)]), {}),
    "bilevel PNG": (lambda: pairs([areas([0, 255], n).convert("1") for n in range(3)]), {}),
    "background alone": (lambda: pairs([areas([0]), areas([0]), areas([0, 1])]), {}),
    "many classes": (lambda: pairs([areas([0, 24, 26, 33], n) for n in range(3)], folder="labels"), {}),
    "150 classes, some of them": (lambda: pairs([areas([0, 12, 57, 150], n) for n in range(3)]), {"classes": 151}),
    "classes above 127 and a void of 255, mostly background": (
        lambda: pairs([areas([0] * 12 + [17, 92, 130, 181, 255], n) for n in range(3)]),
        {},
    ),
    "a second void of 254": (lambda: pairs([areas([255, 255, 255, 255, 0, 1, 2, 254], n) for n in range(3)]), {}),
    "trimaps from 1": (lambda: pairs([areas([1, 2, 3], n) for n in range(3)], folder="annotations/trimaps"), {}),
    "panoptic ids in three channels": (lambda: pairs([ids(n) for n in range(3)]), {}),
    "16-bit instance ids": (lambda: pairs([areas([0, 1000, 1001, 24003], n) for n in range(3)]), {}),
    "an ignored 255": (lambda: pairs([areas([0, 255], n) for n in range(2)]), {"ignore_index": 255}),
    "splits with their own folders": (
        lambda: {
            f"{split}/{name}": content
            for n, split in enumerate(("train", "val"))
            for name, content in ({f"images/{n}.jpg": photo(n), f"masks/{n}.png": areas([0, 1], n)}).items()
        },
        {},
    ),
    "splits below the folders": (
        lambda: {
            f"{kind}/{split}/{n}.png": (photo(n) if kind == "images" else areas([0, 1], n))
            for n, split in enumerate(("training", "validation"))
            for kind in ("images", "annotations")
        },
        {},
    ),
    "Carvana": (
        lambda: {
            **{f"train/{n}.jpg": photo(n) for n in range(3)},
            **{f"train_masks/{n}_mask.gif": areas([0, 1], n) for n in range(3)},
        },
        {},
    ),
    "masks beside their images": (
        lambda: {**{f"{n}.tif": photo(n) for n in range(3)}, **{f"{n}_mask.tif": areas([0, 1], n) for n in range(3)}},
        {},
    ),
    "several masks of one image": (
        lambda: {
            **{f"benign ({n}).png": photo(n) for n in range(3)},
            **{f"benign ({n})_mask.png": areas([0, 1], n) for n in range(3)},
            "benign (1)_mask_1.png": areas([0, 1], 5),
        },
        {},
    ),
    "other names on each side": (
        lambda: {
            **{f"images/frame_{n}_rgb.png": photo(n) for n in range(3)},
            **{f"masks/frame_{n}_seg.png": areas([0, 1], n) for n in range(3)},
        },
        {},
    ),
    "photographs as targets, at another size": (
        lambda: {
            **{f"inputs/{n}.png": photo(n) for n in range(3)},
            **{f"targets/{n}.png": photo(n, (96, 72)) for n in range(3)},
        },
        {},
    ),
    "sidecars among the masks": (
        lambda: {**pairs([areas([0, 1], n) for n in range(2)]), "masks/classes.txt": "a\nb", "masks/.DS_Store": b"\0"},
        {},
    ),
}

SICK: dict[str, tuple[Callable[[], Files], list[str], dict[str, Any]]] = {
    "0 and 255 in a palette": (lambda: pairs([areas([0, 255], n).convert("P") for n in range(3)]), ["MSK001"], {}),
    "0, 128, 255": (lambda: pairs([areas([0, 128, 255], n) for n in range(3)]), ["MSK001"], {}),
    "0, 85, 170, 255": (lambda: pairs([areas([0, 85, 170, 255], n) for n in range(3)]), ["MSK001"], {}),
    "a white mask": (lambda: pairs([areas([255]), areas([255])]), ["MSK001"], {}),
    "16 bits, white": (lambda: pairs([areas([0, 65535], n) for n in range(2)]), ["MSK001"], {}),
    "some of 0 and 1, some of 0 and 255": (
        lambda: pairs([areas([0, 1]), areas([0, 255], 1), areas([0, 1], 2), areas([0, 255], 3)]),
        ["MSK001"],
        {},
    ),
    "grey levels with a class count": (
        lambda: pairs([areas([0, 255], n) for n in range(2)]),
        ["MSK001"],
        {"classes": 2},
    ),
    "soft edges": (lambda: pairs([soft(n) for n in range(3)]), ["MSK006"], {}),
    "an antialiased disc": (lambda: pairs([disc(n).resize((24, 18)).resize(SIZE) for n in range(3)]), ["MSK006"], {}),
    "black and white as JPEG": (
        lambda: pairs([encoded(disc(n), quality=75) for n in range(3)], ending="jpg"),
        ["MSK007"],
        {},
    ),
    "grey in three channels": (lambda: pairs([areas([0, 255], n).convert("RGB") for n in range(3)]), ["MSK003"], {}),
    "colours with alpha": (lambda: pairs([coloured(n).convert("RGBA") for n in range(3)]), ["MSK003"], {}),
    "one coloured mask among indices": (
        lambda: pairs([areas([0, 1, 2]), areas([0, 1, 2], 1), coloured(2)]),
        ["MSK003"],
        {},
    ),
    "half the size, all of them": (
        lambda: pairs([areas([0, 1], n).resize((24, 18)) for n in range(2)]),
        ["MSK004", "MSK004"],
        {},
    ),
    "width and height swapped": (lambda: pairs([areas([0, 1]), areas([0, 1]).rotate(90, expand=True)]), ["MSK004"], {}),
    "drawn on the turned picture": (
        lambda: {
            **pairs([areas([0, 1])]),
            "images/9.jpg": encoded(photo(9), exif=_turned()),
            "masks/9.png": areas([0, 1]).rotate(90, expand=True),
        },
        ["MSK004", "IMG008"],
        {},
    ),
    "a cut mask": (
        lambda: {**pairs([areas([0, 1], n) for n in range(3)]), "masks/2.png": encoded(areas([0, 1], 2), "PNG")[:-30]},
        ["IMG001"],
        {},
    ),
    "a damaged JPEG mask": (
        lambda: {
            **pairs([encoded(disc(n).point(lambda v: v // 255), quality=100) for n in range(3)], ending="jpg"),
            "masks/2.jpg": b"<html>no such mask, sorry</html>",
        },
        ["IMG002"],
        {},
    ),
    "a mask without its image": (
        lambda: {**pairs([areas([0, 1], n) for n in range(3)]), "masks/x.png": areas([0, 1])},
        ["MSK005"],
        {},
    ),
    "an image without its mask, by endings": (
        lambda: {**{f"{n}.png": photo(n) for n in range(4)}, **{f"{n}_mask.png": areas([0, 1], n) for n in range(3)}},
        ["MSK005"],
        {},
    ),
    "most images without a mask": (
        lambda: {**pairs([areas([0, 1], n) for n in range(2)]), **{f"images/{n}.jpg": photo(n) for n in range(2, 9)}},
        ["MSK005"],
        {},
    ),
}


def _turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_masks_are_passed(tmp_path: Path, name: str) -> None:
    make, options = HEALTHY[name]
    put(tmp_path, make())
    found = findings(tmp_path, **options)
    assert [(e.check.code, str(e.finding.at), e.finding.message) for e in found] == []


@pytest.mark.parametrize("name", SICK)
def test_sick_masks_are_found(tmp_path: Path, name: str) -> None:
    make, expected, options = SICK[name]
    put(tmp_path, make())
    found = findings(tmp_path, **options)
    assert [e.check.code for e in found] == expected, [e.finding.message for e in found]


def test_the_advice_for_coloured_masks_runs_and_gives_indices(tmp_path: Path) -> None:
    put(tmp_path, pairs([coloured(n) for n in range(3)]))
    (entry,) = findings(tmp_path)
    assert entry.finding.fix is not None
    names: dict[str, Any] = {"np": numpy, "Image": Image, "path": tmp_path / "masks/0.png"}
    exec(entry.finding.fix.summary.partition("\n")[2], names)
    original = numpy.asarray(areas([0, 1, 2], 0))
    assert len({(int(a), int(b)) for a, b in zip(original.flat, names["mask"].flat, strict=True)}) == 3
    assert sorted(numpy.unique(names["mask"])) == [0, 1, 2]


@pytest.mark.parametrize("levels", [[0, 255], [0, 128, 255]])
def test_the_advice_for_grey_levels_runs_and_gives_indices(tmp_path: Path, levels: list[int]) -> None:
    torch = pytest.importorskip("torch")
    put(tmp_path, pairs([areas(levels, n) for n in range(3)]))
    (entry,) = findings(tmp_path)
    assert entry.finding.fix is not None
    names: dict[str, Any] = {"torch": torch, "mask": torch.tensor(numpy.asarray(areas(levels)))}
    exec(entry.finding.fix.summary.partition("; ignore_index")[0], names)
    assert names["mask"].unique().tolist() == list(range(len(levels)))
