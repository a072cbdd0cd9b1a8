"""MSK: what masks show: classes that are missing or next to nothing, masks of background alone."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from dldoctor import ClassCount, ClassesAsked, DatasetFolder, Finding, MaskTable, Severity, Table, check

from .maps import home, maps, of_classes

#: masks, and masks for each class, below which one may be missing by chance
_ENOUGH, _EACH = 10, 3
#: names of what is no class to be learned
_NO_CLASS = re.compile(r"(?:un(?:known|labell?ed|defined)|void|ignored?|none|other|out[ _-]?of[ _-]?roi)", re.I)
_VOIDS = frozenset({255, 65535})


@check("MSK008", Severity.WARNING, Severity.INFO, unless=("MSK001", "MSK002", "MSK006", "MSK007"), since="0.1")
def missing_class(
    masks: MaskTable,
    classes: ClassCount,
    asked: ClassesAsked | None,
    dataset: DatasetFolder | None,
    *,
    share: float = 0.001,
) -> Iterator[Finding]:
    """A class stands in no mask, or in next to none of the pixels.

    Its output never learns anything, and its IoU is 0 or undefined, which lowers the mean over the classes.

    Fix: take the class out of the list, add masks that show it, or weigh the loss.
    """
    flat = of_classes(maps(masks))
    train = flat.only(flat.col.split == "train")
    training = train if len(train) else flat
    totals = training.totals()
    ignored = dataset.ignore_index if dataset else None
    names = asked.names if asked is not None and len(asked.names) == classes.count else ()
    enough = max(_ENOUGH, _EACH * classes.count)
    if len(training) < enough or classes.count < 2 or not any(0 <= value < classes.count for value in totals):
        return
    wanted = [
        index
        for index in range(classes.count)
        if index != ignored and not (names and _NO_CLASS.fullmatch(names[index].strip()))
    ]
    pixels = sum(totals[index] for index in range(classes.count))
    absent = [index for index in wanted if not totals[index]]
    # of many classes each has less
    least = min(share, 1 / (50 * classes.count))
    rare = [index for index in wanted if 0 < totals[index] < least * pixels]

    def named(index: int) -> str:
        return names[index] if names else str(index)

    if absent and 2 * len(absent) <= classes.count:
        yield Finding(
            home(masks),
            "{what} {names} stand{s} in none of {masks} masks",
            what="class" if len(absent) == 1 else "classes",
            s="s" if len(absent) == 1 else "",
            names=", ".join(map(named, absent[:8])) + (", ..." if len(absent) > 8 else ""),
            classes=classes.count,
            masks=len(training),
            missing=absent,
            present=[index for index in range(classes.count) if totals[index]],
            fix="take what is not there out of the classes, or add masks that show it",
        )
    if rare:
        smallest = sorted(rare, key=lambda index: totals[index])[:12]
        rows = tuple((n, named(n), f"{totals[n]:,}", f"{100 * totals[n] / pixels:.2g} %") for n in smallest)
        yield Finding(
            home(masks),
            "{count} of {classes} classes cover less than {percent:.2g} % of the pixels",
            count=len(rare),
            classes=classes.count,
            percent=100 * least,
            shares={named(index): totals[index] / pixels for index in rare},
            show=Table(("index", "class", "pixels", "share"), rows),
            severity=Severity.INFO,
            fix="a loss over regions (Dice, Lovasz), or CrossEntropyLoss(weight=...); look at the IoU of each",
        )


@check("MSK009", Severity.WARNING, unless=("MSK001", "MSK006", "MSK007"), since="0.1")
def empty_mask(masks: MaskTable) -> Iterator[Finding]:
    """Masks hold background alone where the others hold objects.

    What was never drawn teaches the network that there is nothing, and Dice of nothing is 0 or 1 by convention.

    Fix: draw them or take them out; a test split whose masks are withheld can't be evaluated.
    """
    flat = maps(masks)
    background = _background(flat)
    if background is None:
        return
    alone = (flat.col.distinct == 1) & (flat.col("values").list.first() == background)
    empty, shown = list(flat.where(alone)), flat.only(~alone)
    if not empty or not len(shown):
        return
    split = _withheld(flat, empty)
    if split is not None:
        here = [mask for mask in empty if mask.split == split]
        yield Finding(
            home(masks),
            "all {count} masks of {split} are background alone, {share:.0%} of the others are",
            count=len(here),
            split=split,
            share=(len(empty) - len(here)) / (len(flat) - len(here)),
            examples=[mask.path for mask in here[:5]],
            fix="evaluate on a part of the training set: masks that are withheld tell nothing",
        )
        return
    if len(shown) < 20 or len(empty) > max(1, len(shown) // 50):
        return
    # where objects are never small, an image without one is out of the ordinary
    parts = sorted(1 - share for share in shown.shares_of(background))
    least = parts[len(parts) // 20]
    if least < 0.01:
        return
    for mask in empty:
        yield Finding(
            mask.path,
            "is {value} throughout; in the other masks objects cover {least:.0%} and more",
            value=background,
            least=least,
            fix="draw it, or move it out with its image",
        )


def _background(masks: MaskTable) -> int | None:
    """The value that most masks hold: 0 nearly always; none where the masks have little in common."""
    totals = masks.totals()
    if len(masks) < 4 or not totals:
        return None
    value = 0 if 0 in totals else totals.most_common(1)[0][0]
    return value if value not in _VOIDS and 10 * len(masks.holding([value])) >= 9 * len(masks) else None


def _withheld(masks: MaskTable, empty: list[Any]) -> str | None:
    """The split whose masks are all empty while few of the others are."""
    sizes = Counter(split for split in masks.frame["split"] if split is not None)
    blank = Counter(mask.split for mask in empty if mask.split)
    for split, size in sizes.items():
        others, other_blank = len(masks) - size, len(empty) - blank[split]
        # by chance: the share among the others to the power of the size
        if size >= 4 and blank[split] == size and others and (other_blank / others) ** size < 1e-6:
            return str(split)
    return None
