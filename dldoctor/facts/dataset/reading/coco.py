"""COCO's json: images, annotations and categories, read at once by their types; item by item where that fails."""

from __future__ import annotations

import itertools
import json
import math
import re
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


class _LooseImage(msgspec.Struct, gc=False):
    id: Any = None
    file_name: Any = None
    coco_url: Any = None
    width: Any = None
    height: Any = None


class _LooseAnnotation(msgspec.Struct):
    image_id: Any = None
    category_id: Any = None
    bbox: Any = None
    iscrowd: Any = 0


class _LooseCategory(msgspec.Struct, gc=False):
    id: Any = None
    name: Any = None


class _LooseDocument(msgspec.Struct, gc=False):
    images: list[_LooseImage]
    annotations: list[_LooseAnnotation] | None = None
    categories: list[_LooseCategory] | None = None


#: what Python's json takes for a number, and the standard does not
_NOT_JSON = re.compile(rb"(?<=[\[:,\s])(?:NaN|-?Infinity)(?=[\],}\s])")


#: what a column of whole numbers holds
_LARGEST = 1 << 63


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
    #: of a file that classifies whole pictures (iNaturalist): category_id by the row of the image
    labels: dict[int, int] = field(default_factory=dict)


def is_coco(data: bytes) -> bool:
    """Whether the keys stand in it, whole or not."""
    return b'"images"' in data and (b'"annotations"' in data or b'"categories"' in data)


def read_coco(data: bytes, shown: str) -> CocoFile | None:
    """The file's contents, with what is wrong with it; None for json of another kind."""
    if data.startswith(b"\xef\xbb\xbf"):
        found = read_coco(data[3:], shown)
        if found is not None:
            what = "begins with a byte order mark, which json.load refuses"
            found.faults.append(Fault(shown, what, 1, 1, mild=True))
        return found
    try:
        document = msgspec.json.decode(data, type=_Document)
    except (msgspec.DecodeError, UnicodeDecodeError):  # a validation error is one, too
        return _item_by_item(data, shown)
    images, annotations = document.images, document.annotations
    if not all(image.file_name or image.coco_url for image in images) or not all(
        abs(category.id) < _LARGEST for category in document.categories
    ):
        return _item_by_item(data, shown)
    boxed = [(number, found) for number, found in enumerate(annotations) if found.bbox is not None]
    whole = _assemble(
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
    if annotations and not boxed and b'"segmentation"' not in data:
        whole.labels = _labels(images, annotations)
    return whole


def _labels(images: list[_Image], annotations: list[_Annotation]) -> dict[int, int]:
    """The category of each picture, where annotations are nothing else: one for each picture, without a place in it."""
    rows = {image.id: number for number, image in enumerate(images)}
    found = {
        rows[annotation.image_id]: annotation.category_id
        for annotation in annotations
        if annotation.category_id is not None and annotation.image_id in rows
    }
    return found if len(found) == len(annotations) else {}


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
    whole = all(type(value) is int and abs(value) < _LARGEST for value in itertools.chain(ids, image_ids))
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
            "class_id": polars.Series([_within(value) for value in category_ids], dtype=polars.Int64),
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


def _within(number: int | None) -> int | None:
    return number if number is None or abs(number) < _LARGEST else -1


def _name(file_name: str | None, url: str | None) -> str:
    """The file's name; LVIS gives a URL alone, whose last two parts are the split's folder and the name."""
    if file_name:
        return file_name
    return "/".join((url or "").split("/")[-2:])


def _item_by_item(data: bytes, shown: str) -> CocoFile | None:
    """Each entry that misses a field, or has another kind of value in it, is a fault with its place."""
    wrong: dict[tuple[str, str], list[int]] = {}
    plain, odd = _NOT_JSON.subn(b"null", data) if b"NaN" in data or b"Infinity" in data else (data, 0)
    try:
        document = _loosely(plain, wrong)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        fault = cause_of_failure(data, shown, str(error))
        return CocoFile(faults=[fault]) if fault is not None else None
    if document is None:
        return None
    images = []
    for number, image in enumerate(document.images):
        if not isinstance(image.id, int | str):
            wrong.setdefault(("images", "has no id"), []).append(number)
        elif not _name(_text(image.file_name), _text(image.coco_url)):
            wrong.setdefault(("images", "has no file_name"), []).append(number)
        else:
            images.append(image)
    kept = []
    for number, row in enumerate(document.annotations or ()):
        if row.bbox is None:
            continue
        if not isinstance(row.image_id, int | str):
            wrong.setdefault(("annotations", "has no image_id"), []).append(number)
            continue
        corners, what = _corners(row.bbox, bool(odd))
        if corners is None:
            wrong.setdefault(("annotations", what), []).append(number)
        else:
            kept.append((number, row, corners))
    categories = {}
    for number, category in enumerate(document.categories or ()):
        if type(category.id) is not int or not isinstance(category.name, str):
            wrong.setdefault(("categories", "has no id and name"), []).append(number)
        elif abs(category.id) >= _LARGEST:
            wrong.setdefault(("categories", "has an id too large for a tensor"), []).append(number)
        else:
            categories[category.id] = category.name
    found = _assemble(
        [_name(_text(image.file_name), _text(image.coco_url)) for image in images],
        [image.id for image in images],
        [_number(image.width) for image in images],
        [_number(image.height) for image in images],
        categories,
        [number for number, _, _ in kept],
        [row.image_id for _, row, _ in kept],
        [row.category_id if type(row.category_id) is int else None for _, row, _ in kept],
        [corners for _, _, corners in kept],
        [row.iscrowd in (1, "1") for _, row, _ in kept],
    )
    if wrong:
        found.dangling = 0  # an entry that was left out has annotations, too
    found.faults = [_entry_fault(data, shown, key, what, numbers) for (key, what), numbers in wrong.items()]
    return found


def _loosely(data: bytes, wrong: dict[tuple[str, str], list[int]]) -> _LooseDocument | None:
    try:
        return msgspec.json.decode(data, type=_LooseDocument)
    except msgspec.ValidationError:
        document = msgspec.json.decode(data)
    if not isinstance(document, dict) or not isinstance(document.get("images"), list):
        return None
    lists: dict[str, list[Any]] = {}
    for key in ("images", "annotations", "categories"):
        rows = document.get(key)
        lists[key] = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
        if isinstance(rows, list) and len(lists[key]) < len(rows):
            wrong[key, "is no object"] = [n for n, row in enumerate(rows) if not isinstance(row, dict)]
    return msgspec.convert(lists, _LooseDocument)


def _corners(box: Any, nan: bool) -> tuple[tuple[float, ...] | None, str]:
    """The four numbers of a box, or what is wrong with them. `nan` says that null may stand for NaN."""
    if not isinstance(box, list) or len(box) != 4:
        return None, f"has a bbox of {len(box) if isinstance(box, list) else 'no'} numbers, not 4"
    numbers = [math.nan if value is None and nan else value for value in box]
    for value in numbers:
        if not isinstance(value, int | float) or isinstance(value, bool):
            return None, f"has {json.dumps(value)} where bbox wants a number"
    return tuple(map(_float, numbers)), ""


def _entry_fault(data: bytes, shown: str, key: str, what: str, numbers: list[int]) -> Fault:
    place = item_places(data, key, numbers[0])
    line, column = line_and_column(data, place) if place is not None else (None, None)
    text = data[place : place + 200].decode("utf-8", "replace").splitlines()[0] if place is not None else ""
    return Fault(shown, f"{key}[{numbers[0]}] {what}", line, column, text, len(numbers))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: Any) -> float | None:
    number = _float(value) if isinstance(value, int | float) else math.inf
    return number if math.isfinite(number) else None


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # json's whole numbers may have hundreds of digits
        return math.inf if value > 0 else -math.inf
