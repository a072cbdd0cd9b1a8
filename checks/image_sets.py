"""IMG: what the pictures of one dataset are to each other."""

from __future__ import annotations

from collections.abc import Iterator

from dldoctor import Advice, Finding, ImageTable, Layout, Severity, Table, check
from dldoctor.facts.dataset.names import is_images, is_view

#: folders that one scene may have pictures in: colour, depth, mask, ...; more are classes
_VIEWS = 4
_GROUPS = {
    "1": "grey (L)",
    "L": "grey (L)",
    "I": "grey (L)",
    "I;16": "grey (L)",
    "I;16B": "grey (L)",
    "F": "grey (L)",
    "P": "palette (P)",
    "PA": "palette (P)",
    "LA": "grey + alpha (LA)",
    "RGB": "RGB",
    "YCbCr": "RGB",
    "LAB": "RGB",
    "RGBA": "RGBA",
    "RGBX": "RGBA",
    "CMYK": "CMYK",
}
_TURNS = {
    2: "mirrored",
    3: "turned by 180°",
    4: "mirrored upside down",
    5: "mirrored, turned by 90°",
    6: "turned by 90°",
    7: "mirrored, turned by 270°",
    8: "turned by 270°",
}


@check(
    "IMG006",
    Severity.ERROR,
    Severity.WARNING,
    since="0.1",
    symptoms=(
        "stack expects each tensor to be equal size, but got [3, {h}, {w}] at entry 0 and [1, {i}, {j}] at entry {n}",
        "stack expects each tensor to be equal size, but got [3, {h}, {w}] at entry 0 and [4, {i}, {j}] at entry {n}",
        "stack expects each tensor to be equal size, but got [1, {h}, {w}] at entry 0 and [3, {i}, {j}] at entry {n}",
        "stack expects each tensor to be equal size, but got [4, {h}, {w}] at entry 0 and [3, {i}, {j}] at entry {n}",
        "Sizes of tensors must match except in dimension 0. Got 3 and 1 in dimension 1",
        "Sizes of tensors must match except in dimension 0. Got 1 and 3 in dimension 1",
        "Sizes of tensors must match except in dimension 0. Got 3 and 4 in dimension 1",
        "expected input[{b}, 1, {h}, {w}] to have 3 channels, but got 1 channels instead",
        "expected input[{b}, 4, {h}, {w}] to have 3 channels, but got 4 channels instead",
        "output with shape [1, {h}, {w}] doesn't match the broadcast shape [3, {h}, {w}]",
        "The size of tensor a (4) must match the size of tensor b (3) at non-singleton dimension 0 & normalize",
    ),
)
def mixed_channels(images: ImageTable, layout: Layout | None) -> Iterator[Finding]:
    """The pictures differ in their number of channels.

    A batch can't be stacked from tensors of one, three and four channels. torchvision's ImageFolder converts to RGB on
    its own; any other loader has to.

    Fix: `Image.open(path).convert("RGB")` in the dataset's `__getitem__`.
    """
    counts: dict[str, int] = {}
    examples: dict[str, str] = {}
    folders: dict[str | None, set[str]] = {}
    for mode in images.modes():
        group = _GROUPS.get(mode.mode, mode.mode)
        folders.setdefault(mode.folder, set()).add(group)
        counts[group] = counts.get(group, 0) + mode.count
        examples.setdefault(group, mode.path)
    if len(counts) < 2 or _views(folders):
        return
    ordered = sorted(counts, key=lambda group: -counts[group])
    by_itself = layout is not None and layout.kind == "imagefolder"
    target = "L" if ordered[0].startswith("grey") and sum(counts.values()) < 2 * counts[ordered[0]] else "RGB"
    yield Finding(
        ".",
        "pictures of {kinds} kinds of channels: {summary}",
        kinds=len(counts),
        summary=", ".join(f"{counts[group]:,} {group}" for group in ordered),
        counts={g: counts[g] for g in ordered},
        show=Table(("channels", "pictures", "for instance"), tuple((g, counts[g], examples[g]) for g in ordered)),
        severity=Severity.WARNING if by_itself else Severity.ERROR,
        fix=Advice(
            f'Image.open(path).convert("{target}") in the loader'
            + ("; ImageFolder's own loader converts to RGB, one of your own or OpenCV may not" if by_itself else "")
        ),
    )


def _views(folders: dict[str | None, set[str]]) -> bool:
    """Whether folders of one kind each hold views of the same scenes (`rgb/`, `depth/`): no batch mixes those."""
    one_each = 1 < len(folders) <= _VIEWS and all(len(groups) == 1 for groups in folders.values())
    names = [name or "" for name in folders]
    return one_each and (any(is_images(name.rstrip("_0123456789")) for name in names) or all(map(is_view, names)))


@check("IMG008", Severity.WARNING, since="0.1")
def exif_orientation(images: ImageTable) -> Iterator[Finding]:
    """EXIF says that pictures are to be turned before they are shown.

    Pillow and torchvision leave them as they are, OpenCV and every viewer turn them: labels drawn in a viewer, or
    inference by another library, then see another picture than training does.

    Fix: `ImageOps.exif_transpose(image)` right after `Image.open`, in training and inference alike.
    """
    counts: dict[int, int] = {}
    examples: dict[int, str] = {}
    for image in images.where(images.col.outcome == "decoded", images.col.orientation > 1):
        counts[image.orientation] = counts.get(image.orientation, 0) + 1
        examples.setdefault(image.orientation, image.path)
    if counts:
        rows = tuple((value, _TURNS[value], counts[value], examples[value]) for value in sorted(counts))
        yield Finding(
            ".",
            "{pictures} of {all} pictures are stored turned and say so in EXIF alone",
            pictures=sum(counts.values()),
            all=len(images),
            counts={str(value): counts[value] for value in sorted(counts)},
            show=Table(("orientation", "shown", "pictures", "for instance"), rows),
            fix="PIL.ImageOps.exif_transpose(Image.open(path)) in the loader, before any crop or resize",
        )
