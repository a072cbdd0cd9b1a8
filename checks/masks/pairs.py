"""MSK: masks and their images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dldoctor import Finding, MaskTable, Severity, check

from .maps import is_map


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
        if not is_map(mask):
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
