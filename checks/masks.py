"""MSK: segmentation masks."""

from __future__ import annotations

import os.path
from collections import Counter
from collections.abc import Iterator
from typing import Any

from dldoctor import Advice, ClassesAsked, DatasetFolder, Finding, MaskTable, Severity, Table, check

#: colours a picture may have and still be a map of classes
_COLOURS = 256
#: values that a mask with one channel may have without most of its pixels being of two of them
_CLASSES = 64


@check(
    "MSK001",
    Severity.ERROR,
    since="0.1",
    symptoms=(
        "device-side assert triggered & !srcSelectDim & !index out of bounds & !input_val & !idx_dim & !index_size",
        "device-side assert triggered & nll_loss2d",
        "device-side assert triggered & NLLLoss2d",
        "device-side assert triggered & SpatialClassNLLCriterion",
        "device-side assert triggered & spatialClassNLL",
        "device-side assert triggered & mask & !attention",
        "Target 255 is out of bounds",
        "IndexError: Target 255 is out of bounds.",
        "Assertion `t >= 0 && t < n_classes` failed & mask & !attention",
        "Assertion `t >= 0 && t < n_classes` failed & nll_loss2d",
        "Assertion `t >= 0 && t < n_classes` failed & NLLLoss2d",
        "Assertion `t >= 0 && t < n_classes` failed & SpatialClassNLLCriterion",
        "Assertion `cur_target >= 0 && cur_target < n_classes` failed & nll_loss2d",
        "Assertion `cur_target >= 0 && cur_target < n_classes` failed & mask & !attention",
    ),
)
def mask_values_0_255(
    masks: MaskTable, classes: ClassesAsked | None, dataset: DatasetFolder | None
) -> Iterator[Finding]:
    """Masks hold grey levels such as 0 and 255 where class indices 0, 1, ... belong.

    The loss takes 255 for class 255: on a GPU the process ends with a device-side assert.

    Fix: `mask = (mask > 127).long()`, or a lookup table for more than two levels.
    """
    ignored = dataset.ignore_index if dataset else None
    flat = [
        mask
        for mask in masks.where(masks.col.outcome == "decoded", masks.col.grey.is_null())
        if mask.mode != "1" and not mask.fractional
    ]
    totals: Counter[int] = Counter()
    for mask in flat:
        totals.update(dict(zip(mask.values, mask.counts, strict=True)))
    if ignored is not None:
        totals.pop(ignored, None)
    values = sorted(totals)
    if not values or (classes is not None and values[-1] < classes.count):
        return
    if levels := _grey_levels(totals):
        yield _levels_finding(flat, totals, levels)
    elif wrong := _some_with_255(flat):
        yield Finding(
            _common_folder(wrong),
            "{count} of {all} masks mark the foreground by 255, the others by 1",
            count=len(wrong),
            all=len(flat),
            examples=[mask.path for mask in wrong[:5]],
            show=Table(
                ("mask", "values"), tuple((m.path, _listed(m.values)) for m in (*wrong[:3], *_others(flat, wrong)[:2]))
            ),
            fix="(mask > 0).long() makes both kinds alike",
        )


def _levels_finding(flat: list[Any], totals: Counter[int], levels: list[int]) -> Finding:
    affected = [mask for mask in flat if mask.values and max(mask.values) > 0]
    pixels = sum(totals.values())
    rows = tuple(
        (value, f"{totals[value]:,}", f"{100 * totals[value] / pixels:.3g} %")
        for value, _ in sorted(totals.most_common(6))
    )
    smooth = len(totals) > len(levels)
    if len(levels) <= 2:
        fix = f"mask = (mask > {levels[-1] // 2}).long(); ignore_index={levels[-1]} if {levels[-1]} means void"
    else:
        entries = "; ".join(f"table[{value}] = {index}" for index, value in enumerate(levels))
        fix = f"table = torch.zeros(256, dtype=torch.long); {entries}; mask = table[mask.long()]"
    return Finding(
        _common_folder(flat),
        "{count} masks hold the grey levels {levels}"
        + (" and a few between" if smooth else "")
        + " where class indices 0 to {last} belong",
        count=len(affected),
        levels=_listed(levels),
        last=len(levels) - 1,
        pixels={str(value): totals[value] for value in levels},
        examples=[mask.path for mask in affected[:5]],
        show=Table(("value", "pixels", "share"), rows),
        fix=Advice(fix),
    )


def _grey_levels(totals: Counter[int]) -> list[int]:
    """The levels when the values are greys spread evenly from 0 (0 and 255; 0, 128, 255; ...), else nothing."""
    values = sorted(totals)
    if values[-1] < 100:
        return []
    if len(values) == 1:
        return values if values[0] in (255, 65535) else []
    if values[0] == 0 and len(values) <= 9:
        step = values[-1] / (len(values) - 1)
        if step >= 20 and all(abs(value - step * n) <= 1 for n, value in enumerate(values)):
            return values
    # black and white with soft edges: most pixels at the ends, the rest on either side of the middle, where a list of
    # classes with 255 as void has small numbers; or large ones too, but then a class covers more than the void does
    between = [value for value in values if 0 < value < 255]
    light = sum(value > 127 for value in between)
    edges = sum(totals[value] for value in between if 32 <= value < 224)
    ends = totals[0] + totals[255]
    soft = len(between) >= 4 and 3 * light >= len(between) and edges <= totals[255]
    if totals[0] and values[-1] == 255 and soft and ends >= 0.75 * sum(totals.values()):
        return [0, 255]
    return []


def _some_with_255(flat: list[Any]) -> list[Any]:
    """Masks of 0 and 255 among masks of 0 and 1, when no mask holds both: then 255 is no void."""
    kinds = Counter(tuple(mask.values) for mask in flat)
    both, ones = kinds[0, 255], kinds[0, 1]
    if both and ones and set(kinds) <= {(0, 255), (0, 1), (0,), (1,)}:
        return [mask for mask in flat if tuple(mask.values) == (0, 255)]
    return []


def _others(flat: list[Any], wrong: list[Any]) -> list[Any]:
    taken = {mask.path for mask in wrong}
    return [mask for mask in flat if mask.path not in taken and len(mask.values) > 1]


@check(
    "MSK003",
    Severity.ERROR,
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
    colour = [mask for mask in masks.where(masks.col.outcome == "decoded") if mask.grey is not None]
    if not colour:
        return
    examples = [mask.path for mask in colour[:5]]
    grey = [mask for mask in colour if mask.grey]
    if len(grey) == len(colour):
        values = sorted({value for mask in grey for value in mask.values})
        wide = len(values) == 2 and values[0] == 0 and values[1] >= 100
        yield Finding(
            _common_folder(grey),
            "{count} masks hold one grey channel three times (values {values})",
            count=len(grey),
            values=_listed(values),
            examples=examples,
            fix="mask = np.array(Image.open(path))[..., 0]" + (f"; mask = (mask > {values[1] // 2})" if wide else ""),
        )
        return
    totals: Counter[int] = Counter()
    for mask in colour:
        for value, count in zip(mask.values, mask.counts, strict=True):
            totals[value * 0x010101 if mask.grey else value] += count
    if len(totals) > _COLOURS or any(mask.distinct > _COLOURS for mask in colour):
        return  # a photograph, or an id spread over three channels: neither is a palette
    # a class is drawn in areas; a colour of a few pixels is what a lossy format or a soft edge left
    enough = sum(totals.values()) / 10_000
    palette = sorted(
        (value for value in totals if totals[value] >= enough or len(totals) <= 16),
        key=lambda value: (value != 0, -totals[value]),
    )
    if len(palette) < 2:
        return
    entries = ", ".join(
        f"({value >> 16}, {value >> 8 & 255}, {value & 255}): {n}" for n, value in enumerate(palette[:32])
    )
    rows = tuple(
        (n, f"({value >> 16}, {value >> 8 & 255}, {value & 255})", f"{totals[value]:,}")
        for n, value in enumerate(palette[:12])
    )
    yield Finding(
        _common_folder(colour),
        "{count} masks are RGB pictures of {colours} colours, not class indices",
        count=len(colour),
        colours=len(palette),
        examples=examples,
        palette=[f"#{value:06x}" for value in palette],
        show=Table(("index", "colour", "pixels"), rows),
        fix=Advice(
            f"index = {{{entries}}}; mask = np.zeros(rgb.shape[:2], np.uint8); "
            "for colour, i in index.items(): mask[(rgb == colour).all(-1)] = i"
        ),
    )


@check(
    "MSK004",
    Severity.ERROR,
    since="0.1",
    symptoms=(
        "input and target batch or spatial sizes don't match: target [{b}, {h}, {w}], input [{d}, {c}, {i}, {j}]",
        "input and target batch or spatial sizes don't match",
        "size mismatch (got input: [{b}, {c}, {h}, {w}] , target: [{d}, {i}, {j}]",
        "The size of tensor a ({a}) must match the size of tensor b ({b}) at non-singleton dimension 3 & dice",
    ),
)
def mask_size_mismatch(masks: MaskTable) -> Iterator[Finding]:
    """A mask and its image differ in size.

    The loss compares them pixel by pixel; resizing both hides that they may not show the same part of the scene.

    Fix: make the mask from the image at its own size, or resize the mask with nearest-neighbour interpolation.
    """
    differ = (masks.col.width != masks.col.image_width) | (masks.col.height != masks.col.image_height)
    for mask in masks.where(masks.col.outcome == "decoded", masks.col.image_width.is_not_null(), differ):
        if not _is_map(mask):
            continue
        sizes: dict[str, Any] = {
            "width": mask.width,
            "height": mask.height,
            "image_width": mask.image_width,
            "image_height": mask.image_height,
            "image": mask.image,
        }
        turned = (mask.image_orientation or 1) >= 5 and (mask.width, mask.height) == (
            mask.image_height,
            mask.image_width,
        )
        if turned:
            yield Finding(
                mask.path,
                "is {width} x {height}, its image is stored as {image_width} x {image_height} and turned "
                "by EXIF: the mask was drawn on the turned picture",
                **sizes,
                fix="PIL.ImageOps.exif_transpose(image) in the loader; the mask is right",
            )
        else:
            yield Finding(
                mask.path,
                "is {width} x {height}, its image {image} is {image_width} x {image_height}",
                **sizes,
                fix="export the mask at the image's size, or resize it with InterpolationMode.NEAREST",
            )


@check("MSK005", Severity.ERROR, Severity.WARNING, since="0.1")
def unpaired_mask(masks: MaskTable) -> Iterator[Finding]:
    """An image has no mask, or a mask has no image.

    Two sorted lists of files then pair every image behind the gap with its neighbour's mask, and nothing raises.

    Fix: add what is missing, or move the lone file out of the dataset.
    """
    for mask in masks.where(masks.col.image.is_null()):
        yield Finding(mask.path, "has no image of that name", fix="add its image, or move the mask out of the dataset")
    lone = list(masks.where(masks.col.path.is_null()))
    pairs = sum(1 for _ in masks.where(masks.col.path.is_not_null(), masks.col.image.is_not_null()))
    if len(lone) > pairs:  # masks for a part of the images alone: by design as often as not
        yield Finding(
            ".",
            "{count} of {all} images have no mask",
            count=len(lone),
            all=len(lone) + pairs,
            examples=[image.image for image in lone[:5]],
            severity=Severity.WARNING,
            fix="list the images that have a mask, and read that list rather than the folder",
        )
        return
    for image in lone:
        yield Finding(image.image, "has no mask of that name", fix="add its mask, or move the image out of the dataset")


def _is_map(mask: Any) -> bool:
    """Whether the values are areas of classes rather than a photograph, the target of some other task."""
    if mask.grey is False:
        return bool(mask.distinct <= _COLOURS)
    two_largest = sum(sorted(mask.counts, reverse=True)[:2])
    return bool(mask.distinct <= _CLASSES or 2 * two_largest >= sum(mask.counts))


def _common_folder(masks: list[Any]) -> str:
    return os.path.commonpath([mask.path.rpartition("/")[0] for mask in masks]) or "."


def _listed(values: list[int]) -> str:
    shown = [str(value) for value in values[:10]]
    return ", ".join(shown) + (", ..." if len(values) > 10 else "")
