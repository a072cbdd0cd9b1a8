"""YOLO's label files, all at once: one line per object, `class x y width height` or the points of an outline."""

from __future__ import annotations

from collections.abc import Sequence

import polars
from polars import col

from dldoctor.facts.dataset.annotated import Fault
from dldoctor.facts.dataset.reading.places import foreign

#: numbers in a line: class and box
_BOX = 5
#: no class index is as large
_LARGEST = 2.0**31
#: class and three points
_OUTLINE = 7


def read_yolo(texts: Sequence[bytes | None], keypoints: tuple[int, int] | None) -> tuple[polars.DataFrame, list[Fault]]:
    """The boxes of label files with the number of their `file`, and one fault for each file that has some.

    A line of more numbers than a box is an outline, or with `keypoints` (how many, numbers of each) a box with points.
    """
    faults: list[Fault] = []
    whole: list[tuple[int, str]] = []
    for number, data in enumerate(texts):
        if data is None:
            continue
        what = foreign(data) if data.strip() else None
        if what is not None:
            faults.append(Fault(str(number), what))
        elif data.startswith((b"\xff\xfe", b"\xfe\xff")):
            faults.append(Fault(str(number), "is written in UTF-16; label files are plain ASCII", 1))
        else:
            whole.append((number, data.decode("utf-8", "backslashreplace")))
    lines = (
        polars.DataFrame(whole, schema={"file": polars.Int64, "text": polars.String}, orient="row")
        .with_columns(col("text").str.replace_all("\r", "", literal=True).str.split("\n"))
        .with_columns(polars.int_ranges(1, col("text").list.len() + 1, dtype=polars.Int64).alias("line"))
        .explode("text", "line")
        .with_columns(col("text").str.strip_chars(" \t"))
        .filter(col("text") != "")
        .with_columns(col("text").str.extract_all(r"[^ \t]+").alias("words"))
        .with_columns(
            col("words").list.len().cast(polars.Int64).alias("count"),
            col("words").list.eval(polars.element().cast(polars.Float64, strict=False)).alias("values"),
        )
        .with_columns(col("values").list.drop_nulls().list.len().cast(polars.Int64).alias("numbers"))
    )
    posed = _BOX + keypoints[0] * keypoints[1] if keypoints else 0
    is_box = (col("count") == _BOX) | (col("count") == posed)
    outline = (col("count") >= _OUTLINE) & (col("count") % 2 == 1) if not keypoints else polars.lit(False)
    # without the shape of its keypoints, an even count of numbers can be a pose alone: box and x, y, visible
    pose = (
        (col("count") > _BOX) & ((col("count") - _BOX) % 3 == 0) & (col("count") % 2 == 0) & polars.lit(not keypoints)
    )
    good = (
        (col("numbers") == col("count"))
        & (is_box | outline | pose)
        & (col("values").list.first() == col("values").list.first().round()).fill_null(False)
        & (col("values").list.first().abs() < _LARGEST).fill_null(False)
    )
    faults += _faults(lines.filter(~good), posed)
    return _boxes(lines.filter(good), outline & ~is_box), faults


def _boxes(lines: polars.DataFrame, outline: polars.Expr) -> polars.DataFrame:
    values = col("values")
    frame = lines.with_columns(
        values.list.first().cast(polars.Int64).alias("class_index"),
        outline.alias("outlined"),
        values.list.slice(1).list.gather_every(2).alias("xs"),
        values.list.slice(2).list.gather_every(2).alias("ys"),
    )
    low, high = {}, {}
    for axis in ("xs", "ys"):
        low[axis], high[axis] = col(axis).list.min(), col(axis).list.max()
    first_four = values.list.slice(1, 4)
    chosen = {
        "a": (low["xs"] + high["xs"]) / 2,
        "b": (low["ys"] + high["ys"]) / 2,
        "c": high["xs"] - low["xs"],
        "d": high["ys"] - low["ys"],
    }
    return frame.select(
        "file",
        "line",
        "class_index",
        col("class_index").alias("class_id"),
        polars.when("outlined").then(polars.lit("outline")).otherwise(polars.lit("cxcywh")).alias("kind"),
        *(
            polars.when("outlined")
            .then(expression)
            .otherwise(values.list.get(1 + number, null_on_oob=True))
            .alias(name)
            for number, (name, expression) in enumerate(chosen.items())
        ),
        polars.when("outlined").then(values.list.slice(1).list.min()).otherwise(first_four.list.min()).alias("low"),
        polars.when("outlined").then(values.list.slice(1).list.max()).otherwise(first_four.list.max()).alias("high"),
        polars.when("outlined").then(col("text").hash(0)).otherwise(None).alias("outline"),
    )


def _faults(lines: polars.DataFrame, posed: int) -> list[Fault]:
    first = lines.group_by("file", maintain_order=True).agg(
        col("line").first(), col("text").first(), col("words").first(), col("count").first(), col("numbers").first(),
        col("values").first(), polars.len().alias("lines"),
    )  # fmt: skip
    return [
        Fault(str(row["file"]), _what(row["words"], row["values"], posed), row["line"], None, row["text"], row["lines"])
        for row in first.iter_rows(named=True)
    ]


def _what(words: list[str], values: list[float | None], posed: int) -> str:
    odd = next((word for word, value in zip(words, values, strict=True) if value is None), None)
    if odd is not None and odd.startswith("\ufeff"):
        return "begins with a byte order mark, so that the first class is no number"
    if odd is not None and len(words) == 1 and odd.count(",") > 3:
        return "parts its numbers with commas; YOLO's are parted by blanks"
    if odd is not None and odd.replace(",", ".", 1).replace(".", "", 1).isdigit():
        return f"writes {odd} with a decimal comma"
    if odd is not None:
        return f"has {odd[:40]!r} where a number belongs"
    if values[0] is not None and not (abs(values[0]) < _LARGEST and values[0].is_integer()):
        return f"begins with {words[0]}, which is no class index"
    wanted = f"{_BOX} or {posed}" if posed else str(_BOX)
    return f"has {len(words)} numbers where a box has {wanted}"


def is_yolo(data: bytes) -> bool:
    """Whether a text file holds objects in YOLO's form, judged by its first lines."""
    lines = [line.split() for line in data[:2000].splitlines()[:4] if line.strip()]
    if len(data) > 2000 and len(lines) > 1:
        lines.pop()
    try:
        return bool(lines) and all(
            len(words) >= _BOX
            and words[0].isdigit()
            and 0 <= min(map(float, words[1:5])) <= max(map(float, words[1:5]))
            for words in lines
        )
    except ValueError:
        return False
