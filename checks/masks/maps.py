"""What the checks of masks share: which masks are maps of classes, and how values and colours are written."""

from __future__ import annotations

import os.path
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from dldoctor import MaskTable

#: colours a picture may have and still be a map of classes
COLOURS = 256
#: colours that a table to paste may have
PASTED = 64
#: values that a mask with one channel may have without most of its pixels being of two of them
_CLASSES = 64
#: folders whose pictures are continuous on purpose, or number objects rather than classes
_SOFT = (
    r"(?i)(?:^|[/_\-. ])(?:alphas?|mattes?|matting|soft|depths?|disp(?:arity)?|flow|saliency|heat_?maps?|prob\w*|"
    r"conf\w*|fixations?|thermal|density)(?:$|[/_\-. ])"
)
_OBJECTS = r"(?i)(?:^|[/_\-. ])(?:instances?(?:ids?)?|objects?|panoptic|ids?|segmentationobject)(?:$|[/_\-. ])"
#: how far apart two colours of a lossy file may be and still be one (in the channel that differs most)
_NEAR, _BESIDE = 32, 6


def is_map(mask: Any) -> bool:
    """Whether the values are areas of classes rather than a photograph, the target of some other task."""
    if mask.grey is False:
        return bool(mask.distinct <= COLOURS)
    two_largest = sum(sorted(mask.counts, reverse=True)[:2])
    return bool(mask.distinct <= _CLASSES or 2 * two_largest >= sum(mask.counts))


def hard(masks: MaskTable) -> MaskTable:
    """The decoded masks whose folder and name do not say that their values are continuous: mattes, depth, saliency."""
    return masks.only(masks.col.outcome == "decoded", ~masks.col.path.str.contains(_SOFT))


def of_classes(masks: MaskTable) -> MaskTable:
    """The masks whose folder and name do not say that their values are ids of objects."""
    return masks.only(~masks.col.path.str.contains(_OBJECTS))


def indexed(masks: MaskTable) -> MaskTable:
    """The hard masks with one channel of whole numbers."""
    col = masks.col
    return hard(masks).only(col.grey.is_null(), col.mode != "1", ~col.fractional)


def maps(masks: MaskTable) -> MaskTable:
    """The indexed masks that are maps of areas."""
    counts = masks.col.counts
    two_largest = counts.list.sort(descending=True).list.head(2).list.sum()
    return indexed(masks).only((masks.col.distinct <= _CLASSES) | (2 * two_largest >= counts.list.sum()))


def totals_of(masks: Iterable[Any]) -> Counter[int]:
    """How many pixels each value has in all masks together."""
    totals: Counter[int] = Counter()
    for mask in masks:
        totals.update(dict(zip(mask.values, mask.counts, strict=True)))
    return totals


def areas_of(mask: Any) -> dict[int, int]:
    """The values that cover areas, with their pixels: not those that stand between two others along edges."""
    enough = sum(mask.counts) / 1000
    return {
        value: count
        for value, count, between in zip(mask.values, mask.counts, mask.between or (), strict=False)
        if count >= enough and 2 * between < count
    }


def home(masks: MaskTable) -> str:
    """The deepest folder that holds all masks: where what is said of all of them stands."""
    paths = masks.frame.filter(masks.col.outcome == "decoded")["path"]
    return os.path.commonpath(paths.str.replace(r"/?[^/]*$", "").unique().to_list()) or "."


def listed(values: Sequence[int], most: int = 10) -> str:
    """`0, 1, 2, ...`."""
    return ", ".join(str(value) for value in values[:most]) + (", ..." if len(values) > most else "")


def rgb(value: int) -> tuple[int, int, int]:
    """The three channels of a packed colour."""
    return value >> 16, value >> 8 & 255, value & 255


def palette_of(colours: Counter[int]) -> list[int]:
    """The colours that stand for classes, black first, then by their pixels. Where there are more than a palette has,
    those near a larger one are its noise, and what covers next to nothing is a blend of two."""
    if len(colours) > PASTED:
        kept: Counter[int] = Counter()
        for colour, count in colours.most_common():
            near = next((other for other in kept if _belongs(colour, other, count, colours[other])), None)
            kept[colour if near is None else near] += count
        enough = sum(colours.values()) / 500
        colours = Counter({colour: count for colour, count in kept.items() if count >= enough})
    return sorted(colours, key=lambda colour: (colour != 0, -colours[colour], colour))


def _belongs(colour: int, other: int, count: int, pixels: int) -> bool:
    """Whether a colour is the noise of another: beside it, or near it and much rarer."""
    apart = max(abs(a - b) for a, b in zip(rgb(colour), rgb(other), strict=True))
    return apart <= _BESIDE or (apart <= _NEAR and 10 * count <= pixels)


def colour_table(palette: Sequence[int]) -> str:
    """The lines of a Python dict from colour to index."""
    entries = [f"{rgb(value)}: {index}" for index, value in enumerate(palette)]
    rows = [", ".join(entries[start : start + 3]) for start in range(0, len(entries), 3)]
    return "index = {" + ",\n         ".join(rows) + "}"


def to_indices(palette: Sequence[int], exact: bool) -> str:
    """The lines that turn a colour mask into indices: equal colours, or the nearest where compression moved them."""
    if len(palette) > PASTED:
        return "map each colour to its index; the JSON report lists the palette"
    if exact:
        return "\n".join(
            (
                "map each colour to its index, once",
                colour_table(palette),
                'rgb = np.asarray(Image.open(path).convert("RGB"))',
                "mask = np.full(rgb.shape[:2], 255, np.uint8)  # 255 is left where a colour is unknown",
                "for colour, i in index.items():",
                "    mask[(rgb == colour).all(-1)] = i",
            )
        )
    return "\n".join(
        (
            "give each pixel the index of the nearest colour, and store PNG",
            colour_table(palette),
            'rgb = np.asarray(Image.open(path).convert("RGB")).astype(int)',
            "far = np.stack([((rgb - colour) ** 2).sum(-1) for colour in index])",
            "mask = far.argmin(0).astype(np.uint8)",
        )
    )
