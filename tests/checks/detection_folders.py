"""Detection datasets as tools and archives lay them out, in miniature, for the tests of their layouts and checks."""

import io
import json
from typing import Any

import numpy
from PIL import Image

Files = dict[str, bytes | str | Image.Image]
SIZE = (48, 36)
NAMES = ("cat", "dog", "owl")
Box = tuple[int, float, float, float, float]


def scene(number: int, size: tuple[int, int] = SIZE) -> Image.Image:
    """A different picture for each number: soft blots, alike to no other."""
    blots = numpy.random.default_rng(number).integers(0, 255, (5, 7, 3), dtype=numpy.uint8)
    return Image.fromarray(blots).resize(size, Image.Resampling.BICUBIC)


def jpeg(number: int) -> bytes:
    out = io.BytesIO()
    scene(number).save(out, "JPEG", quality=80)
    return out.getvalue()


def boxes(number: int, classes: int = 3) -> list[Box]:
    """Two or three boxes of a picture: class, left, top, width, height."""
    rng = numpy.random.default_rng(1000 + number)
    found: list[Box] = []
    for n in range(2 + number % 2):
        left, top = float(rng.integers(0, 24)), float(rng.integers(0, 18))
        found.append(((number + n) % classes, left, top, float(rng.integers(4, 24)), float(rng.integers(4, 18))))
    return found


def coco(names: dict[str, int], first: int = 1, **extra: Any) -> str:
    """The json of pictures by their names, with the boxes of their numbers; ids of categories skip some."""
    images = [
        {"id": 10 + 3 * k, "file_name": name, "width": SIZE[0], "height": SIZE[1], "license": 1}
        for k, name in enumerate(names)
    ]
    annotations: list[dict[str, Any]] = []
    for k, number in enumerate(names.values()):
        for label, left, top, width, height in boxes(number):
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": 10 + 3 * k,
                    "category_id": first + 5 * label,
                    "bbox": [left, top, width, height],
                    "area": width * height,
                    "iscrowd": 0,
                    "segmentation": [[left, top, left + width, top, left + width, top + height]],
                    **extra,
                }
            )
    categories = [{"id": first + 5 * n, "name": name, "supercategory": "animal"} for n, name in enumerate(NAMES)]
    return json.dumps(
        {"info": {}, "licenses": [], "images": images, "annotations": annotations, "categories": categories}
    )


def yolo(number: int) -> str:
    """The label file of a picture's number."""
    return "".join(
        f"{label} {(left + width / 2) / SIZE[0]:.6f} {(top + height / 2) / SIZE[1]:.6f} "
        f"{width / SIZE[0]:.6f} {height / SIZE[1]:.6f}\n"
        for label, left, top, width, height in boxes(number)
    )


def yolo_outline(number: int) -> str:
    """The same as the corners of an outline."""
    lines = []
    for label, left, top, width, height in boxes(number):
        x1, y1, x2, y2 = left / SIZE[0], top / SIZE[1], (left + width) / SIZE[0], (top + height) / SIZE[1]
        lines.append(f"{label} {x1:.6f} {y1:.6f} {x2:.6f} {y1:.6f} {x2:.6f} {y2:.6f} {x1:.6f} {y2:.6f}\n")
    return "".join(lines)


def voc(number: int, filename: str, indent: str = "\t", more: str = "") -> str:
    """The xml of a picture's number, counted from 1 as Pascal VOC does."""
    lines = [f"<filename>{filename}</filename>", f"<path>C:\\data\\{filename}</path>"]
    lines += [f"<size><width>{SIZE[0]}</width><height>{SIZE[1]}</height><depth>3</depth></size>"]
    for label, left, top, width, height in boxes(number):
        corners = {"xmin": left + 1, "ymin": top + 1, "xmax": left + width, "ymax": top + height}
        box = "".join(f"<{name}>{value:g}</{name}>" for name, value in corners.items())
        lines.append(
            f"<object><name>{NAMES[label]}</name><truncated>0</truncated><bndbox>{box}</bndbox>{more}</object>"
        )
    return "<annotation>\n" + "".join(f"{indent}{line}\n" for line in lines) + "</annotation>\n"
