"""Pairs of image and mask: which folders or endings hold them, and which mask belongs to which image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from dldoctor.facts.dataset.files import File, Folder
from dldoctor.facts.dataset.names import (
    hints_at_mask,
    image_stem_of_mask,
    is_images,
    is_masks,
    keys,
    split_and_rest,
    split_folders,
    split_of,
    stem_without_ending,
)


@dataclass(frozen=True)
class MaskPair:
    """A mask with its image, or one of them alone."""

    split: str | None
    image: File | None
    mask: File | None


@dataclass(frozen=True)
class Pairing:
    """All pairs of a dataset, and by what they were recognised. `partial` says that masks are known to exist for a part
    of the images alone; those without one are `unmasked` then."""

    pairs: tuple[MaskPair, ...]
    by: str
    partial: bool = False
    unmasked: tuple[File, ...] = ()


def find_pairs(root: Folder, splits: list[tuple[str, Folder]], forced: bool = False) -> Pairing | None:
    """The pairs of a dataset laid out in sibling folders or by endings; None when too few names match."""
    bases: list[tuple[str | None, Folder]] = list(splits) or [*split_folders(root), (None, root)]
    for found in (_by_folders(bases), _by_endings(bases), _by_endings_beside(bases)):
        if found is None:
            continue
        paired = sum(1 for pair in found.pairs if pair.image and pair.mask)
        masks = sum(1 for pair in found.pairs if pair.mask)
        images = sum(1 for pair in found.pairs if pair.image)
        if paired and (forced or 2 * paired >= min(masks, images)):
            return found
    return None


def only_listed(found: Pairing, root: Folder, path: Path) -> Pairing:
    """Pascal VOC: ImageSets/Segmentation lists the images that have masks, a list for each split; without the lists,
    an image without a mask is one for another task."""
    lists = root.find("ImageSets/Segmentation")
    members: dict[str, str | None] = {}
    for file in lists.others if lists else ():
        split = split_of(file.stem)
        if split is not None and file.stem.lower() != "trainval":
            text = (path / file.path).read_text(encoding="utf-8", errors="replace")
            members.update(dict.fromkeys(text.split(), split))
    pairs, unmasked = [], []
    for pair in found.pairs:
        stem = (pair.image or pair.mask or File("", 0, 0)).stem
        if pair.image is not None and stem not in members and (members or pair.mask is None):
            unmasked.append(pair.image)
        else:
            pairs.append(replace(pair, split=members.get(stem, pair.split)))
    return replace(found, pairs=tuple(pairs), unmasked=tuple(unmasked))


def _by_folders(bases: list[tuple[str | None, Folder]]) -> Pairing | None:
    pairs: list[MaskPair] = []
    names: list[str] = []
    partial = False
    taken: set[str] = set()
    for split, base in bases:
        for found_split, images, masks in _sibling_folders(base):
            if images.path in taken:
                continue
            taken.add(images.path)
            pairs += _match(found_split or split, images, masks)
            names.append(f"{images.shown} and {masks.shown}")
            partial = partial or images.name == "JPEGImages"
    if not pairs:
        return None
    more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
    return Pairing(tuple(pairs), f"folders {names[0]}{more}", partial)


def _sibling_folders(base: Folder) -> Iterator[tuple[str | None, Folder, Folder]]:
    """(split, images, masks) for folders side by side, each perhaps with folders of splits below."""
    named = [(folder, *split_and_rest(folder.name)) for folder in base.bearing]
    for images, split, rest in named:
        if not (is_images(rest) or (split is not None and not rest)):
            continue
        masks = [
            folder
            for folder, other, kind in named
            if folder is not images and other == split and is_masks(kind) and not (is_images(kind) and kind == rest)
        ]
        if not masks:
            continue
        # several kinds of mask may lie side by side (SegmentationClass, SegmentationObject): the one that says class
        chosen = min(masks, key=lambda folder: ("class" not in folder.name.lower(), "mask" not in folder.name.lower()))
        inner = [(split_of(below.name), below) for below in images.bearing if split_of(below.name)]
        partners = {split_of(below.name): below for below in chosen.bearing}
        if inner and all(name in partners for name, _ in inner):
            for name, below in inner:
                yield name, below, partners[name]
        else:
            yield split, images, chosen


def _match(split: str | None, images: Folder, masks: Folder) -> Iterator[MaskPair]:
    image_files, mask_files = images.all_pictures, _of_one_kind(masks.all_pictures, len(images.all_pictures))
    best: tuple[dict[str, File], dict[str, File]] = ({}, {})
    for bare_images, bare_masks in ((False, False), (False, True), (True, True)):
        left, right = keys(image_files, images.path, bare_images), keys(mask_files, masks.path, bare_masks)
        if len(left.keys() & right.keys()) > len(best[0].keys() & best[1].keys()):
            best = (left, right)
    left, right = best
    used = {right[key].path for key in left.keys() & right.keys()}
    by_image = {left[key].path: right[key] for key in left.keys() & right.keys()}
    for image in image_files:
        yield MaskPair(split, image, by_image.get(image.path))
    for mask in mask_files:
        if mask.path not in used:
            yield MaskPair(split, None, mask)


def _of_one_kind(masks: tuple[File, ...], images: int) -> tuple[File, ...]:
    """Where each image has several masks (Cityscapes: labelIds, instanceIds, color), those that hold class indices."""
    kinds: dict[str, list[File]] = {}
    for mask in masks:
        kinds.setdefault(mask.stem.rpartition("_")[2], []).append(mask)
    if len(kinds) < 2 or any(len(files) != images for files in kinds.values()):
        return masks
    order = ("labeltrainids", "labelids", "label", "mask")
    chosen = min(kinds, key=lambda kind: (order.index(kind.lower()) if kind.lower() in order else len(order), kind))
    return tuple(kinds[chosen]) if chosen.lower() in order else masks


def _by_endings(bases: list[tuple[str | None, Folder]]) -> Pairing | None:
    pairs: list[MaskPair] = []
    seen: set[str] = set()
    example = ""
    for split, base in bases:
        for folder in _folders(base):
            if folder.path in seen:
                continue
            seen.add(folder.path)
            if not any(hints_at_mask(file.name) for file in folder.pictures):
                pairs += [MaskPair(split, file, None) for file in folder.pictures]
                continue
            stems = {stem_without_ending(file.stem): file for file in folder.pictures}
            stems |= {file.stem: file for file in folder.pictures}
            partner = {
                file.path: stems[stem]
                for file in folder.pictures
                if (stem := image_stem_of_mask(file.stem)) is not None and stem in stems
            }
            with_mask = {image.path for image in partner.values()}
            example = example or next((file.name for file in folder.pictures if file.path in partner), "")
            for file in folder.pictures:
                if file.path in partner:
                    pairs.append(MaskPair(split, partner[file.path], file))
                elif file.path not in with_mask:
                    lone = image_stem_of_mask(file.stem) is not None
                    pairs.append(MaskPair(split, None if lone else file, file if lone else None))
    return Pairing(tuple(pairs), f"file names such as {example}") if example else None


def _by_endings_beside(bases: list[tuple[str | None, Folder]]) -> Pairing | None:
    """Folders of any name, all files of one of which are masks of the other's: `7.jpg` and `7_segmentation.png`."""
    pairs: list[MaskPair] = []
    names: list[str] = []
    for split, base in bases:
        for masks in base.bearing:
            stems = {image_stem_of_mask(file.stem) for file in masks.pictures if hints_at_mask(file.name)} - {None}
            if len(stems) < len(masks.pictures) or not stems:
                continue
            partners = (other for other in base.bearing if other is not masks)
            for images in partners:
                if 10 * len(stems & {file.stem for file in images.pictures}) >= 9 * len(stems):
                    pairs += _match(split or split_and_rest(images.name)[0], images, masks)
                    names.append(f"{images.shown} and {masks.shown}")
    return Pairing(tuple(pairs), f"file names in folders {names[0]}") if names else None


def _folders(base: Folder) -> Iterator[Folder]:
    yield base
    for folder in base.folders:
        yield from _folders(folder)
