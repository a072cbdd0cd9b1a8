"""LBL: folders that are taken for classes."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

from dldoctor import Advice, CategoryList, ClassFolder, Finding, Layout, Severity, Table, check


@check(
    "LBL010",
    Severity.ERROR,
    since="0.1",
    symptoms=(
        "Found no valid file for the classes .ipynb_checkpoints. Supported extensions are: .jpg, .jpeg, .png, .ppm, "
        ".bmp, .pgm, .tif, .tiff, .webp",
        "Found no valid file for the classes {names}",
        "Couldn't find any class folder in {folder}",
    ),
)
def stray_class_folder(layout: Layout) -> Iterator[Finding]:
    """A folder among the class folders is no class.

    torchvision's ImageFolder makes a class of every folder, hidden ones too: one without pictures stops it, one with
    pictures becomes a class and moves the indices of those behind it.

    Fix: move the folder out of the dataset.
    """
    by_split: dict[str | None, list[ClassFolder]] = {}
    for folder in layout.class_folders:
        by_split.setdefault(folder.split, []).append(folder)
    for folders in by_split.values():
        names = sorted(folder.name for folder in folders)
        for folder in folders:
            moved = len(names) - 1 - names.index(folder.name)
            evidence: dict[str, Any] = {"index": names.index(folder.name), "moved": moved, "pictures": folder.loadable}
            command = "" if folder.endings else f"rmdir {shlex.quote(folder.path)}"
            out = "move it out of the dataset" + (f": {command}" if command else "")
            if folder.stray and folder.loadable:
                yield Finding(
                    folder.path,
                    "is taken for class {index}, and moves the indices of {moved} classes",
                    **evidence,
                    fix=out,
                )
            elif folder.loadable == 0:
                held = ", ".join(f".{ending}" if ending else "files without ending" for ending in folder.endings[:3])
                template = (
                    "holds no file that ImageFolder reads (only {endings}), which then stops"
                    if held
                    else "is empty: ImageFolder stops at a class without files"
                )
                unread = folder.pictures > 0
                yield Finding(
                    folder.path,
                    template,
                    **evidence,
                    endings=held,
                    fix="convert its pictures to PNG or JPEG, or pass is_valid_file= to ImageFolder"
                    if unread
                    else f"{out}; or ImageFolder(..., allow_empty=True) where the class is real",
                )


@check("LBL011", Severity.ERROR, Severity.WARNING, since="0.1")
def split_class_mismatch(layout: Layout) -> Iterator[Finding]:
    """Two splits do not have the same class folders, or give one category id to different classes.

    ImageFolder numbers the folders of each split by itself, a json of COCO its categories: the same number then means
    different classes in training and validation, and nothing raises.

    Fix: give each split the same class folders, or map names to indices once, from the training split.
    """
    yield from _renumbered(layout)
    classes: dict[str, list[str]] = {}
    where: dict[str, str] = {}
    for folder in layout.class_folders:
        if folder.split is not None and folder.loadable and not folder.stray:
            classes.setdefault(folder.split, []).append(folder.name)
            where.setdefault(folder.split, folder.path.rpartition("/")[0])
    if len(classes) < 2:
        return
    base = "train" if "train" in classes else next(iter(classes))
    train = sorted(classes[base])
    for split, names in classes.items():
        other = sorted(names)
        if split == base or other == train:
            continue
        missing, extra = sorted(set(train) - set(other)), sorted(set(other) - set(train))
        alike = {name.strip().casefold() for name in extra} & {name.strip().casefold() for name in missing}
        if split == "test" and len(train) == 1 and not missing:
            continue  # one class, `good`, to learn what is usual from, and what is not among the test pictures
        if not set(train) & set(other) and not alike:
            continue  # other classes by design (few-shot), or one folder of unlabelled pictures
        shift = next((n for n, name in enumerate(other) if n >= len(train) or train[n] != name), None)
        evidence: dict[str, Any] = {"split": split, "base": base, "missing": missing, "extra": extra}
        rows = tuple(
            (n, train[n] if n < len(train) else "", other[n] if n < len(other) else "")
            for n in range(
                max(0, (shift if shift is not None else len(other)) - 1),
                min(max(len(train), len(other)), (shift or 0) + 4),
            )
        )
        show = Table(("index", base, split), rows)
        fix = Advice(
            "give each split the same class folders (an empty one needs allow_empty=True), or pass one "
            "class_to_idx, made from " + base
        )
        if shift is None:
            yield Finding(
                where[split],
                "{split} lacks the last classes of {base}: {names}",
                **evidence,
                names=_few(missing),
                severity=Severity.WARNING,
                show=show,
                fix=fix,
            )
        elif shift < len(train):
            yield Finding(
                where[split],
                "from index {shift} on, {split} and {base} mean different classes: {theirs} and {ours}",
                **evidence,
                shift=shift,
                theirs=other[shift],
                ours=train[shift],
                show=show,
                fix=fix,
            )
        else:
            yield Finding(
                where[split],
                "{split} has classes that {base} has not: {names}",
                **evidence,
                names=_few(extra),
                show=show,
                fix=fix,
            )


def _renumbered(layout: Layout) -> Iterator[Finding]:
    """Ids that stand for one class in one split's json and for another in another's."""
    first: dict[str, CategoryList] = {}
    for categories in sorted(layout.categories, key=lambda found: (found.split != "train", found.source)):
        base = next(iter(first.values()), categories)
        first.setdefault(categories.split, categories)
        if categories.split == base.split:
            continue
        names = dict(base.names)
        differ = [
            (number, names[number], name)
            for number, name in categories.names
            if number in names and names[number].strip().casefold() != name.strip().casefold()
        ]
        if differ:
            yield Finding(
                categories.source,
                "category {id} is {theirs} here and {ours} in {base}",
                id=differ[0][0],
                theirs=differ[0][2],
                ours=differ[0][1],
                base=base.source,
                ids=[number for number, _, _ in differ],
                show=Table(("id", base.split, categories.split), tuple(differ[:6])),
                fix="map the categories by their names: {c['id']: ids_of_train[c['name']] for c in coco['categories']}",
            )


def _few(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
