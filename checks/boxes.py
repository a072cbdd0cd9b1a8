"""BOX: detection boxes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dldoctor import BoxGroup, BoxTable, Finding, Place, Readings, Severity, Table, check

#: boxes shown before the rest is left to the evidence
_SHOWN = 5
#: YOLO's own tolerance for coordinates outside of 0 to 1
_TOLERANCE = 0.01
#: kinds of boxes in shares of the picture's sides
_YOLO = ("cxcywh", "outline")
_CONVENTIONS = {
    "xywh": "left, top, width, height",
    "xyxy": "left, top, right, bottom",
    "cxcywh": "centre and size",
}


@check(
    "BOX001",
    Severity.ERROR,
    since="0.1",
    symptoms=(
        "All bounding boxes should have positive height and width. Found invalid box {box} for target at index {n}.",
        "ValueError: Expected x_max for bbox {box} to be greater than x_min & bbox",
        "loss_rpn_box_reg nan",
    ),
)
def degenerate_box(boxes: BoxTable) -> Iterator[Finding]:
    """A box has no width or no height.

    torchvision's detectors raise at it; others divide by its area, and the loss is NaN from that step on.

    Fix: take such boxes out where annotations are read.
    """
    confused = _confused_paths(boxes)
    for group in boxes.groups(boxes.degenerate):
        if group.path in confused or _folder(group.path) in confused:
            continue  # read in the other convention, they have an area
        first = group.rows[0]
        yield Finding(
            _place(group),
            "{count} of {of} boxes have no area: {box}" if group.count > 1 else "a box has no area: {box}",
            **_counted(group),
            box=_written(first),
            show=_table(group),
            fix="take those lines out of the label files"
            if first.kind in _YOLO
            else "take them out where annotations are read: if x2 <= x1 or y2 <= y1: continue",
        )


@check(
    "BOX002",
    Severity.ERROR,
    Severity.WARNING,
    since="0.1",
    symptoms=(
        "Expected x_max for bbox {box} to be in the range [0.0, 1.0], got {x}.",
        "Expected y_max for bbox {box} to be in the range [0.0, 1.0], got {y}.",
        "Expected x_min for bbox {box} to be in the range [0.0, 1.0], got {x}.",
    ),
)
def box_outside_image(boxes: BoxTable, *, by_design: float = 0.05) -> Iterator[Finding]:
    """A box reaches beyond its picture by more than a pixel.

    It was drawn on a picture of another size, or its numbers are not what the convention says; augmentation libraries
    refuse it.

    Fix: clip it to the picture, or find out for which size it was drawn.
    """
    confused = _confused_paths(boxes)
    condition = (
        boxes.outside & ~boxes.degenerate & ~boxes.col.crowd.fill_null(False) & ~_unnormalised(boxes).fill_null(False)
    )
    for group in boxes.groups(condition):
        if group.path in confused or _folder(group.path) in confused:
            continue
        first = group.rows[0]
        # objects that go on beyond the edge are drawn whole in some datasets: many boxes, their middle inside
        whole = group.count > by_design * group.of and all(map(_middle_inside, group.rows))
        yield Finding(
            _place(group),
            "{count} of {of} boxes reach beyond their pictures: {box} in {width} x {height}"
            if group.count > 1
            else "a box reaches beyond its picture: {box} in {width} x {height}",
            **_counted(group),
            box=_corners(first),
            width=first.width,
            height=first.height,
            show=_table(group),
            severity=Severity.WARNING if whole and group.count > _SHOWN else Severity.ERROR,
            fix="clip them where labels are exported: no centre plus half a width above 1, or minus it below 0"
            if first.kind in _YOLO
            else "torchvision.ops.clip_boxes_to_image(boxes, (height, width)), or scale them with their pictures",
        )


@check(
    "BOX003",
    Severity.ERROR,
    since="0.1",
    symptoms=(
        "ignoring corrupt image/label: non-normalized or out of bounds coordinates {values}",
        "ignoring corrupt image/label: negative label values {values}",
        "ignoring corrupt image/label: negative class labels or coordinate {values}",
    ),
)
def unnormalised_yolo_box(boxes: BoxTable) -> Iterator[Finding]:
    """A coordinate in a YOLO label is not between 0 and 1.

    YOLO's are shares of the picture's width and height; ultralytics leaves the whole picture out with a warning.

    Fix: divide x and width by the picture's width, y and height by its height.
    """
    for group in boxes.groups(_unnormalised(boxes)):
        lows, highs = [row.low for row in group.rows], [row.high for row in group.rows]
        pixels = max(highs) > 2
        first = group.rows[0]
        what = "outlines" if first.kind == "outline" else "boxes"
        yield Finding(
            _place(group),
            "{count} of {of} {what} " + ("are in pixels, not in shares" if pixels else "leave the picture")
            + ": coordinates from {low:g} to {high:g}",
            **_counted(group),
            what=what,
            low=min(lows),
            high=max(highs),
            fix="divide x and width by the picture's width, y and height by its height"
            if pixels
            else "clip the points to 0 and 1 when they are exported",
        )  # fmt: skip


@check("BOX004", Severity.ERROR, since="0.1")
def annotated_size_mismatch(boxes: BoxTable) -> Iterator[Finding]:
    """The size in the annotation is not that of the picture.

    The picture was resized, turned or replaced after its boxes were drawn, so that they lie beside their objects.

    Fix: take the pictures that were annotated, or scale the boxes by the ratio of the sizes.
    """
    col = boxes.col
    differs = (col.declared_width != col.file_width) | (col.declared_height != col.file_height)
    turned = (col.declared_width == col.file_height) & (col.declared_height == col.file_width)
    by_exif = turned & (col.orientation.fill_null(1) >= 5)
    one_each = boxes.frame.filter(col.picture.is_not_null()).unique(["source", "picture"], maintain_order=True)
    for group in type(boxes)(one_each).groups(differs & ~by_exif):
        first = group.rows[0]
        exchanged = (first.declared_width, first.declared_height) == (first.file_height, first.file_width)
        template = "says {declared}, {picture} is {found}"
        if group.count > 1:
            template = (
                "gives {count} of {of} pictures another size than they have: {picture} is {found}, not {declared}"
            )
        yield Finding(
            Place(group.path),
            template + ("; width and height are exchanged" if exchanged else ""),
            **{**_counted(group), "line": None},
            declared=f"{first.declared_width} x {first.declared_height}",
            found=f"{first.file_width} x {first.file_height}",
            picture=first.picture,
            pictures=[row.picture for row in group.rows],
            show=Table(
                ("picture", "annotation", "file"),
                tuple(
                    (
                        row.picture,
                        f"{row.declared_width} x {row.declared_height}",
                        f"{row.file_width} x {row.file_height}",
                    )
                    for row in group.rows[:_SHOWN]
                ),
            )
            if group.count > 1
            else (),
            fix="exchange width and height in the annotation"
            if exchanged
            else "take the pictures that were annotated, or scale the boxes: x * width / annotated width",
        )


@check("BOX005", Severity.WARNING, since="0.1")
def duplicate_box(boxes: BoxTable) -> Iterator[Finding]:
    """The same box of the same class stands twice in one annotation.

    One of the two can't be matched by any prediction, so it counts as missed, and its loss counts twice.

    Fix: drop duplicates where annotations are read.
    """
    repeated = boxes.repeated()
    sizes = dict(boxes.frame.group_by("source").len().iter_rows())
    for group in repeated.groups(boxes.col.source.is_not_null()):
        first = group.rows[0]
        yield Finding(
            _place(group),
            "{count} of {of} boxes stand there twice: {box}, {name}"
            if group.count > 1
            else "a box stands there twice: {box}, {name}",
            **{**_counted(group), "of": sizes.get(group.path, group.of)},
            box=_written(first),
            name=_class(first),
            show=_table(group),
            fix="drop them where annotations are read: list(dict.fromkeys(map(tuple, boxes)))",
        )


@check("BOX006", Severity.ERROR, since="0.1")
def xyxy_xywh_confusion(boxes: BoxTable, *, boxes_needed: int = 8) -> Iterator[Finding]:
    """The boxes are written in another convention than the format has.

    As the format reads them, many lie outside of their pictures or have no area; in the other convention none does.

    Fix: convert them once, where annotations are written: width = right - left, height = bottom - top.
    """
    for reading in boxes.readings():
        other = _better(reading, boxes_needed)
        if other is None:
            continue
        yield Finding(
            reading.path,
            "boxes are {other}, where this format has {declared}: read so, {sensible:.0%} of {count} make sense, else "
            "{otherwise:.0%}",
            other=_CONVENTIONS[other],
            declared=_CONVENTIONS[reading.kind],
            count=reading.count,
            sensible=round(reading.declared, 3),
            otherwise=round(getattr(reading, other), 3),
            fix=f'torchvision.ops.box_convert(boxes, in_fmt="{other}", out_fmt="{reading.kind}")',
        )


def _better(reading: Readings, boxes_needed: int = 8) -> str | None:
    """The convention in which nearly all boxes make sense, where they do not as declared."""
    if reading.count < boxes_needed or reading.declared > 0.7:
        return None
    others = {name: getattr(reading, name) for name in ("xyxy", "xywh") if name != reading.kind}
    best = max(others, key=lambda name: others[name])
    return best if others[best] >= 0.98 else None


def _confused_paths(boxes: BoxTable) -> set[str]:
    return {reading.path for reading in boxes.readings() if _better(reading) is not None}


def _folder(path: str) -> str:
    return path.rpartition("/")[0] or "."


def _unnormalised(boxes: BoxTable) -> Any:
    return (boxes.col.low < -_TOLERANCE) | (boxes.col.high > 1 + _TOLERANCE)


def _place(group: BoxGroup) -> Place:
    return Place(group.path, group.line)


def _counted(group: BoxGroup) -> dict[str, Any]:
    return {
        "count": group.count,
        "of": group.of,
        "items": [row.item for row in group.rows if row.item is not None],
        "lines": [row.line for row in group.rows if row.line is not None and not group.folder],
    }


def _middle_inside(row: Any) -> bool:
    return bool(0 <= (row.x1 + row.x2) / 2 <= row.width and 0 <= (row.y1 + row.y2) / 2 <= row.height)


def _written(row: Any) -> str:
    """The box as the annotation has it."""
    return ", ".join(f"{value:.6g}" for value in (row.a, row.b, row.c, row.d))


def _corners(row: Any) -> str:
    return f"{row.x1:.4g}, {row.y1:.4g} to {row.x2:.4g}, {row.y2:.4g}"


def _class(row: Any) -> str:
    return str(row.name or f"class {row.class_id}")


def _table(group: BoxGroup) -> tuple[Table, ...]:
    if group.count < 2:
        return ()
    at = "item" if group.rows[0].item is not None else "line"
    rows = tuple((getattr(row, at), row.picture or "", _class(row), _written(row)) for row in group.rows[:_SHOWN])
    return (Table((at, "picture", "class", "box"), rows),)
