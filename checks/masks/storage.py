"""MSK: how masks were written: in colours, resized with interpolation, compressed with loss."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from dldoctor import Finding, MaskTable, Severity, Table, check

from .maps import (
    COLOURS,
    PASTED,
    areas_of,
    hard,
    home,
    is_map,
    listed,
    of_classes,
    palette_of,
    rgb,
    to_indices,
    totals_of,
)

#: rows of a table before the rest is left to the evidence
_SHOWN = 12
#: values on edges alone, below which they may be a thin class (a contour between background and object)
_STRAYS = 2
#: areas of classes that one mask may have; depth maps have more
_AREAS = 48
#: pixels between the two sides of an edge: fewer are thin objects, more are soft on purpose
_SHARPEST, _SOFTEST = 0.25, 8.0
#: the least share of blended pixels among edges that `_SHARPEST` leaves
_SOON = _SHARPEST / (1 + _SHARPEST)
#: neighbours that differ (of two for each pixel) above which a picture is no map of areas
_BUSY = 1.0
#: values of class indices and of the noise around them
_FEW = 32
#: grey levels that compression moves a value by
_NOISE = 12


@check(
    "MSK003",
    Severity.ERROR,
    unless=("MSK006", "MSK007"),
    since="0.1",
    symptoms=(
        "only batches of spatial targets supported (3D tensors) but got targets of dimension: 4",
        "only batches of spatial targets supported (3D tensors) but got targets of size: : [{b}, 3, {h}, {w}]",
        "only batches of spatial targets supported (3D tensors) but got targets of size: : [{b}, {h}, {w}, 3]",
        "device-side assert triggered & !srcSelectDim & !index out of bounds & !input_val & !idx_dim & !index_size",
        "only batches of spatial targets supported (non-empty 3D tensors) but got targets of size: : [{b}, {h}, "
        "{w}, 3]",
        "only batches of spatial targets supported (non-empty 3D tensors) but got targets of size: : [{b}, 3, {h}, "
        "{w}]",
    ),
)
def rgb_mask(masks: MaskTable) -> Iterator[Finding]:
    """Masks are pictures of colours where class indices belong.

    The loss wants one index per pixel; three channels of 0 to 255 fail by shape or by range.

    Fix: map each colour to its index once, and store the masks with one channel.
    """
    colour = list(masks.where(masks.col.outcome == "decoded", masks.col.grey.is_not_null()))
    if not colour:
        return
    examples = [mask.path for mask in colour[:5]]
    grey = [mask for mask in colour if mask.grey]
    if len(grey) == len(colour):
        values = sorted({value for mask in grey for value in mask.values})
        wide = len(values) == 2 and values[0] == 0 and values[1] >= 100
        if not all(is_map(mask) for mask in grey) or not len(hard(masks)):
            return  # a grey photograph, or a matte
        yield Finding(
            home(masks),
            "{count} masks hold one grey channel three times (values {values})",
            count=len(grey),
            values=listed(values),
            examples=examples,
            fix="mask = np.array(Image.open(path))[..., 0]" + (f"; mask = (mask > {values[1] // 2})" if wide else ""),
        )
        return
    totals = _colours(colour)
    if any(mask.distinct > COLOURS for mask in colour) or len(totals) > COLOURS:
        return  # a photograph, or an id spread over three channels: neither is a palette
    palette = palette_of(totals)
    if len(palette) < 2 or _is_a_class_each_channel(totals):
        return
    yield Finding(
        home(masks),
        "{count} masks are RGB pictures of {colours} colours, not class indices",
        count=len(colour),
        colours=len(palette),
        examples=examples,
        palette=[f"#{value:06x}" for value in palette],
        show=_palette_table(palette, totals),
        fix=to_indices(palette, exact=len(totals) == len(palette)),
    )


def _is_a_class_each_channel(totals: Counter[int]) -> bool:
    """Whether red, green and blue are masks of three classes that overlap: all or nothing in each channel, and what two
    have in common is less than what one has alone."""
    corners = {tuple(map(bool, rgb(value))): count for value, count in totals.items()}
    if len(corners) < len(totals) or len({channel for value in totals for channel in rgb(value)}) != 2:
        return False
    alone = [corners.get(primary, 0) for primary in ((True, False, False), (False, True, False), (False, False, True))]
    shared = [count for channels, count in corners.items() if sum(channels) > 1]
    return bool(min(alone) and shared and max(shared) < min(alone))


def _colours(masks: list[Any]) -> Counter[int]:
    totals: Counter[int] = Counter()
    for mask in masks:
        for value, count in zip(mask.values, mask.counts, strict=True):
            totals[value * 0x010101 if mask.grey else value] += count
    return totals


def _written(value: int, coloured: bool) -> str:
    return str(rgb(value)) if coloured else str(value)


def _palette_table(palette: list[int], totals: Counter[int]) -> Table:
    rows = [(str(n), str(rgb(value)), f"{totals[value]:,}") for n, value in enumerate(palette[:_SHOWN])]
    if len(palette) > _SHOWN:
        rows.append(("", f"{len(palette) - _SHOWN} more", ""))
    return Table(("index", "colour", "pixels"), tuple(rows))


@check("MSK006", Severity.ERROR, unless=("MSK007",), since="0.1")
def interpolated_mask(masks: MaskTable) -> Iterator[Finding]:
    """Masks hold values between their classes along the edges.

    A resize with interpolation makes them: between class 2 and class 8 lies a line of class 5, which is wrong and
    raises nothing; between 0 and 255 lie values that are no class at all.

    Fix: resize masks with `InterpolationMode.NEAREST`, again from the originals.
    """
    col = masks.col
    candidates = of_classes(hard(masks)).only(col.format != "JPEG", col.mode != "1", col.edges > 0)
    blended = [mask for mask in candidates.where(col.blended >= _SOON * col.edges) if _is_blended(mask)]
    if len({value for mask in blended for value in _strays(mask)}) < _STRAYS:
        return
    place = home(masks)
    if 2 * len(blended) < len(candidates):
        if len(blended) > max(3, len(candidates) // 5):
            return  # some soft, some not: the softness may be the dataset's own
        soft = [mask.path for mask in blended]
        known = candidates.only(~col.path.is_in(soft)).totals()
        for mask in blended:
            strays = {value: count for value, count in _strays(mask).items() if value not in known}
            if len(strays) < _STRAYS:
                continue  # a class that is thin in this picture
            yield Finding(
                mask.path,
                "{pixels:,} pixels along its edges lie between the classes, {values} values that other masks have not",
                pixels=sum(strays.values()),
                values=len(strays),
                fix=_NEAREST,
            )
        return
    coloured = any(mask.grey is False for mask in blended)
    totals = _colours(blended) if coloured else totals_of(blended)
    strays = sum((Counter(_strays(mask)) for mask in blended), Counter[int]())
    classes = _classes_of(blended, coloured)
    levels = [value for value in classes if 2 * strays[value] < totals[value]]
    rows = [(_written(value, coloured), f"{totals[value]:,}", "area") for value in sorted(levels)[:_SHOWN]]
    between = [(value, count) for value, count in strays.most_common() if value not in levels]
    rows += [(_written(value, coloured), f"{count:,}", "edges alone") for value, count in sorted(between[:4])]
    yield Finding(
        place,
        "{count} of {all} masks have values between their classes along the edges: {levels} cover areas, "
        "{values} more stand on edges alone",
        count=len(blended),
        all=len(candidates),
        levels=len(levels),
        values=len(between),
        pixels=sum(count for _, count in between),
        share=round(sum(mask.blended for mask in blended) / sum(sum(mask.counts) for mask in blended), 5),
        examples=[mask.path for mask in blended[:5]],
        show=Table(("colour" if coloured else "value", "pixels", "where"), tuple(rows)),
        fix=_mend(sorted(levels), coloured),
    )


_NEAREST = (
    "resize it again from the original with InterpolationMode.NEAREST (cv2.INTER_NEAREST, Image.Resampling.NEAREST)"
)


def _mend(levels: list[int], coloured: bool) -> str:
    if coloured:
        palette = sorted(levels, key=lambda value: value != 0)
        return _NEAREST + "; or " + to_indices(palette, exact=False)
    if len(levels) == 2:
        return f"{_NEAREST}; or mask = (mask > {sum(levels) // 2}).long(), as there are two classes"
    return _NEAREST


def _is_blended(mask: Any) -> bool:
    """Whether nearly every edge has pixels of values in between, and the rest is areas of a few classes."""
    areas, strays = areas_of(mask), _strays(mask)
    hard = mask.edges - mask.blended
    if not strays or not 2 <= len(areas) <= _AREAS or hard <= 0:
        return False
    width = mask.blended / hard  # pixels between the two sides of an edge
    covered = sum(areas.values()) >= 0.7 * mask.width * mask.height
    return bool(covered and _SHARPEST <= width <= _SOFTEST and 2 * sum(strays.values()) >= mask.blended)


def _strays(mask: Any) -> dict[int, int]:
    """The values nearly all of whose pixels lie between two unlike neighbours."""
    return {
        value: count
        for value, count, between in zip(mask.values, mask.counts, mask.between or (), strict=False)
        if 10 * between >= 6 * count
    }


def _classes_of(masks: list[Any], coloured: bool) -> set[int]:
    """The values that cover areas: in several masks, or a good part of one."""
    seen: Counter[int] = Counter()
    for mask in masks:
        for value, count in areas_of(mask).items():
            wide = 50 * count >= mask.width * mask.height
            seen[value * (0x010101 if coloured and mask.grey else 1)] += 3 if wide else 1
    return {value for value, times in seen.items() if times > 2}


@check("MSK007", Severity.ERROR, since="0.1")
def lossy_mask_format(masks: MaskTable) -> Iterator[Finding]:
    """Masks are stored as JPEG.

    Compression changes values near every edge: 0 and 255 become 0 to 9 and 244 to 255, and an index becomes another
    class.

    Fix: export the masks again as PNG; where that can't be done, round each pixel to the nearest class.
    """
    decoded = masks.only(masks.col.outcome == "decoded")
    jpegs = hard(masks).only(masks.col.format == "JPEG")
    lossy = [
        mask
        for mask in jpegs.where()
        if 0 < (mask.edges or 0) <= _BUSY * mask.width * mask.height and _is_lossy_map(mask)
    ]
    if 2 * len(lossy) < len(jpegs):
        return  # most are no maps: photographs, the targets of some other task
    if not lossy:
        return
    coloured = any(mask.grey is False for mask in lossy)
    totals = _colours(lossy) if coloured else totals_of(lossy)
    levels = palette_of(totals) if coloured else _levels(totals)
    strays = sum(count for value, count in totals.items() if value not in levels)
    common = [value for value, _ in totals.most_common(_SHOWN)]
    rows = tuple((_written(value, coloured), f"{totals[value]:,}") for value in sorted(common))
    if coloured:
        fix = "export them again as PNG; or " + to_indices(levels, exact=False)
    elif len(levels) == 2:
        fix = f"export them again as PNG; or mask = (mask > {sum(levels) // 2}).long(), and store that"
    else:
        fix = "export them again as PNG"
    yield Finding(
        home(masks),
        "{count} of {all} masks are JPEG, whose compression left {values} values where {levels} cover areas",
        count=len(lossy),
        all=len(decoded),
        values=len(totals),
        levels=len(levels),
        stray_pixels=strays,
        examples=[mask.path for mask in lossy[:5]],
        show=Table(("colour" if coloured else "value", "pixels"), rows),
        fix=fix,
    )


def _is_lossy_map(mask: Any) -> bool:
    """Whether a JPEG shows areas of a few values, and between them values that compression made."""
    counts = totals_of([mask])
    if mask.grey is False:
        palette = palette_of(counts)
        near = sum(counts[value] for value in palette)
        return bool(2 <= len(palette) <= PASTED < mask.distinct and 2 * near >= mask.width * mask.height)
    levels = _levels(counts)
    near = sum(count for value, count in counts.items() if any(abs(value - level) <= 6 for level in levels[:3]))
    apart = len(levels) > 1 and bool(10 * near >= 8 * mask.width * mask.height)
    # indices lie side by side, as the levels of a dark photograph do, which has no areas of each
    wide = [count for count in counts.values() if 33 * count >= mask.width * mask.height]
    calm = 2 * mask.edges <= mask.width * mask.height and 10 * sum(wide) >= 9 * mask.width * mask.height
    indices = bool(mask.distinct <= _FEW and calm and len(wide) > 1)
    return (apart or indices) and bool(mask.distinct > len(areas_of(mask)))


def _levels(totals: Counter[int]) -> list[int]:
    """The grey levels that cover areas; those beside a larger one are its noise."""
    pixels = sum(totals.values())
    kept: list[int] = []
    for value, count in totals.most_common():
        if count * 100 >= pixels and all(abs(value - other) > _NOISE for other in kept):
            kept.append(value)
    return sorted(kept)
