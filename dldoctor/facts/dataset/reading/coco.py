"""COCO's json: images, annotations and categories, read at once by their types; item by item where that fails."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy
import polars

from dldoctor.facts.dataset.annotated import Fault
from dldoctor.facts.dataset.reading.places import cause_of_failure, item_places, line_and_column


class _Image(msgspec.Struct, gc=False):
    id: int | str
    file_name: str | None = None
    coco_url: str | None = None
    width: float | None = None
    height: float | None = None


class _Annotation(msgspec.Struct, gc=False):
    image_id: int | str
    category_id: int | None = None
    bbox: tuple[float, float, float, float] | None = None
    iscrowd: int | bool = 0


class _Category(msgspec.Struct, gc=False):
    id: int
    name: str


class _Document(msgspec.Struct, gc=False):
    images: list[_Image]
    annotations: list[_Annotation] = []
    categories: list[_Category] = []


@dataclass
class CocoFile:
    """One file: its images in order, its categories by id, its boxes with the row number of their image."""

    names: list[str] = field(default_factory=list)
    categories: dict[int, str] = field(default_factory=dict)
    #: columns image (row of `names`), item, class_id, a, b, c, d, crowd, declared_width, declared_height
    boxes: polars.DataFrame = field(default_factory=polars.DataFrame)
    #: annotations whose image_id no image has, and the first such id
    dangling: int = 0
    dangling_id: str = ""
    faults: list[Fault] = field(default_factory=list)


def is_coco(data: bytes) -> bool:
    """Whether the keys stand in it, whole or not."""
    return b'"images"' in data and (b'"annotations"' in data or b'"categories"' in data)


def read_coco(data: bytes, shown: str) -> CocoFile | None:
    """The file's contents, with what is wrong with it; None for json of another kind."""
    try:
        document = msgspec.json.decode(data, type=_Document)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:  # a validation error is one, too
        return _item_by_item(data, shown, str(error))
    images, annotations = document.images, document.annotations
    if not all(image.file_name or image.coco_url for image in images):
        return _item_by_item(data, shown, "")
    boxed = [(number, found) for number, found in enumerate(annotations) if found.bbox is not None]
    return _assemble(
        [_name(image.file_name, image.coco_url) for image in images],
        [image.id for image in images],
        [image.width for image in images],
        [image.height for image in images],
        {category.id: category.name for category in document.categories},
        [number for number, _ in boxed],
        [found.image_id for _, found in boxed],
        [found.category_id for _, found in boxed],
        [found.bbox for _, found in boxed],
        [bool(found.iscrowd) for _, found in boxed],
    )


def _assemble(
    names: list[str],
    ids: list[Any],
    widths: list[float | None],
    heights: list[float | None],
    categories: dict[int, str],
    items: list[int],
    image_ids: list[Any],
    category_ids: list[int | None],
    boxes: list[Any],
    crowds: list[bool],
) -> CocoFile:
    whole = all(type(value) is int for value in ids) and all(type(value) is int for value in image_ids)
    kind = polars.Int64 if whole else polars.String
    if not whole:
        ids, image_ids = [str(value) for value in ids], [str(value) for value in image_ids]
    images = polars.DataFrame(
        {
            "id": polars.Series(ids, dtype=kind),
            "declared_width": polars.Series(widths, dtype=polars.Float64).round().cast(polars.Int64, strict=False),
            "declared_height": polars.Series(heights, dtype=polars.Float64).round().cast(polars.Int64, strict=False),
        }
    ).with_row_index("image")
    corners = numpy.fromiter(itertools.chain.from_iterable(boxes), numpy.float64, 4 * len(boxes)).reshape(-1, 4)
    frame = polars.DataFrame(
        {
            "item": polars.Series(items, dtype=polars.Int64),
            "id": polars.Series(image_ids, dtype=kind),
            "class_id": polars.Series(category_ids, dtype=polars.Int64),
            "crowd": polars.Series(crowds, dtype=polars.Boolean),
            **{name: corners[:, number] for number, name in enumerate("abcd")},
        }
    ).join(images.unique("id", keep="last"), on="id", how="left", maintain_order="left")
    lost = frame.filter(polars.col("image").is_null())
    return CocoFile(
        names,
        dict(sorted(categories.items())),
        frame.filter(polars.col("image").is_not_null()),
        lost.height,
        str(lost["id"][0]) if lost.height else "",
    )


def _name(file_name: str | None, url: str | None) -> str:
    """The file's name; LVIS gives a URL alone, whose last two parts are the split's folder and the name."""
    if file_name:
        return file_name
    return "/".join((url or "").split("/")[-2:])


def _item_by_item(data: bytes, shown: str, said: str) -> CocoFile | None:
    """Python's own json, which takes NaN; each entry that misses a field is a fault with its place."""
    fault = cause_of_failure(data, shown, said)
    if fault is not None:
        return CocoFile(faults=[fault])
    document = json.loads(data)
    if not isinstance(document, dict) or not isinstance(document.get("images"), list):
        return None
    wrong: dict[tuple[str, str], list[int]] = {}

    def entries(key: str) -> list[tuple[int, dict[str, Any]]]:
        found = document.get(key)
        rows = found if isinstance(found, list) else []
        for number, row in enumerate(rows):
            if not isinstance(row, dict):
                wrong.setdefault((key, "is no object"), []).append(number)
        return [(number, row) for number, row in enumerate(rows) if isinstance(row, dict)]

    images = []
    for number, row in entries("images"):
        if not isinstance(row.get("id"), int | str):
            wrong.setdefault(("images", "has no id"), []).append(number)
        elif not _name(_text(row.get("file_name")), _text(row.get("coco_url"))):
            wrong.setdefault(("images", "has no file_name"), []).append(number)
        else:
            images.append(row)
    kept = []
    for number, row in entries("annotations"):
        box = row.get("bbox")
        if box is None:
            continue
        if not isinstance(row.get("image_id"), int | str):
            wrong.setdefault(("annotations", "has no image_id"), []).append(number)
        elif not isinstance(box, list) or len(box) != 4:
            size = len(box) if isinstance(box, list) else "no"
            wrong.setdefault(("annotations", f"has a bbox of {size} numbers, not 4"), []).append(number)
        elif (corners := _numbers(box)) is None:
            odd = next(value for value in box if not isinstance(value, int | float))
            wrong.setdefault(("annotations", f"has {json.dumps(odd)} where bbox wants a number"), []).append(number)
        else:
            kept.append((number, row, corners))
    categories = {}
    for number, row in entries("categories"):
        if type(row.get("id")) is not int or not isinstance(row.get("name"), str):
            wrong.setdefault(("categories", "has no id and name"), []).append(number)
        else:
            categories[row["id"]] = row["name"]
    found = _assemble(
        [_name(_text(row.get("file_name")), _text(row.get("coco_url"))) for row in images],
        [row["id"] for row in images],
        [_number(row.get("width")) for row in images],
        [_number(row.get("height")) for row in images],
        categories,
        [number for number, _, _ in kept],
        [row["image_id"] for _, row, _ in kept],
        [row.get("category_id") if type(row.get("category_id")) is int else None for _, row, _ in kept],
        [corners for _, _, corners in kept],
        [row.get("iscrowd") in (1, True, "1") for _, row, _ in kept],
    )
    if wrong:
        found.dangling = 0  # an entry that was left out has annotations, too
    found.faults = [_entry_fault(data, shown, key, what, numbers) for (key, what), numbers in wrong.items()]
    return found


def _entry_fault(data: bytes, shown: str, key: str, what: str, numbers: list[int]) -> Fault:
    place = item_places(data, key, numbers[0])
    line, column = line_and_column(data, place) if place is not None else (None, None)
    text = data[place : place + 200].decode("utf-8", "replace").splitlines()[0] if place is not None else ""
    return Fault(shown, f"{key}[{numbers[0]}] {what}", line, column, text, len(numbers))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _numbers(box: list[Any]) -> tuple[float, ...] | None:
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in box):
        return None
    return tuple(map(float, box))
