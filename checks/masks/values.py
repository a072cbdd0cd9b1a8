"""MSK: the values of masks: grey levels for class indices, and indices beyond the classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from dldoctor import (
    Advice,
    ClassCount,
    ClassesAsked,
    DatasetFolder,
    Finding,
    MaskTable,
    Severity,
    Table,
    check,
)

from .maps import home, indexed, listed, maps, of_classes

#: the values that stand for "no class" where nobody says another
_VOIDS = frozenset({255, 65535})
#: files named one by one; a fault of more than this share of the masks is one of all
_FEW, _SOME = 20, 0.2


@check(
    "MSK001",
    Severity.ERROR,
    unless=("MSK006", "MSK007"),
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
    flat = indexed(masks)
    totals = flat.totals()
    if ignored is not None:
        totals.pop(ignored, None)
    values = sorted(totals)
    if not values or (classes is not None and values[-1] < classes.count):
        return
    if levels := _grey_levels(totals):
        yield _levels_finding(home(masks), flat, totals, levels)
    elif values in ([0, 1, 255], [1, 255]) and (wrong := _some_with_255(list(flat.where()))):
        yield Finding(
            home(masks),
            "{count} of {all} masks mark the foreground by 255, the others by 1",
            count=len(wrong),
            all=len(flat),
            examples=[mask.path for mask in wrong[:5]],
            show=Table(
                ("mask", "values"), tuple((m.path, listed(m.values)) for m in (*wrong[:3], *_others(flat, wrong)))
            ),
            fix="(mask > 0).long() makes both kinds alike",
        )


def _levels_finding(place: str, flat: MaskTable, totals: Counter[int], levels: list[int]) -> Finding:
    affected = flat.only(flat.col("values").list.max() > 0)
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
        place,
        "{count} masks hold the grey levels {levels}"
        + (" and a few between" if smooth else "")
        + " where class indices 0 to {last} belong",
        count=len(affected),
        levels=listed(levels),
        last=len(levels) - 1,
        pixels={str(value): totals[value] for value in levels},
        examples=affected.frame["path"].head(5).to_list(),
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


def _others(flat: MaskTable, wrong: list[Any]) -> list[Any]:
    """Two of the masks that are not wrong and hold more than one value."""
    taken = {mask.path for mask in wrong}
    return [mask for mask in flat.where(flat.col.distinct > 1) if mask.path not in taken][:2]


@check(
    "MSK002",
    Severity.ERROR,
    unless=("MSK001", "MSK006", "MSK007"),
    since="0.1",
    symptoms=(
        "Target {n} is out of bounds",
        "device-side assert triggered & nll_loss2d",
        "Assertion `t >= 0 && t < n_classes` failed & nll_loss2d",
        "Assertion `cur_target >= 0 && cur_target < n_classes` failed & nll_loss2d",
    ),
)
def mask_value_out_of_range(masks: MaskTable, classes: ClassCount, dataset: DatasetFolder | None) -> Iterator[Finding]:
    """A mask holds a value that is no class index and not the ignored one.

    The loss looks for an output of that number: on a GPU the process ends with a device-side assert.

    Fix: map the value to a class or to the ignored index where the mask is read, or give the network one more output.
    """
    ignored = dataset.ignore_index if dataset else None
    # one output is a probability: its masks hold 0 and 1
    count = max(classes.count, 2)
    void = _VOIDS if ignored is None else frozenset({ignored})
    flat = of_classes(maps(masks))
    totals = flat.totals()
    values = sorted(value for value in totals if not 0 <= value < count and value not in void)
    if not values:
        return
    wrong = list(flat.holding(values).where())
    about: dict[str, Any] = {"classes": count, "said_by": classes.said_by}
    if len(wrong) <= min(_FEW, _SOME * len(flat)):
        for mask in wrong:
            outside = _outside(mask, count, void)
            pixels = sum(n for value, n in zip(mask.values, mask.counts, strict=True) if value in outside)
            yield Finding(
                mask.path,
                "holds {values} in {pixels:,} pixels; {classes} classes have the indices 0 to {last}",
                values=listed(outside),
                pixels=pixels,
                last=count - 1,
                **about,
                fix=_cure(totals, values, count, ignored),
            )
        return
    rows = tuple((value, f"{totals[value]:,}", sum(value in mask.values for mask in wrong)) for value in values[:8])
    yield Finding(
        home(masks),
        "{count} of {all} masks hold the value{s} {values}; {classes} classes have the indices 0 to {last}",
        count=len(wrong),
        all=len(flat),
        values=listed(values),
        s="s" if len(values) > 1 else "",
        last=count - 1,
        **about,
        examples=[mask.path for mask in wrong[:5]],
        show=Table(("value", "pixels", "masks"), rows),
        fix=_cure(totals, values, count, ignored),
    )


def _outside(mask: Any, count: int, void: frozenset[int]) -> list[int]:
    return [value for value in mask.values if not 0 <= value < count and value not in void]


def _cure(totals: Counter[int], values: list[int], count: int, ignored: int | None) -> str:
    """What to do, by what the values look like."""
    present = sorted(value for value in totals if value not in _VOIDS)
    ignore = 255 if ignored is None else ignored
    if values == [count] and 0 not in totals:
        return "the masks count from 1: mask - 1 where they are read"
    if values == [count]:
        return (
            f"where 0 is no class: mask = np.where(mask == 0, {ignore}, mask - 1), with ignore_index={ignore}; "
            f"where it is one, the network needs {count + 1} outputs"
        )
    if values == [255] and ignored is not None:
        return "CrossEntropyLoss(ignore_index=255), or mask[mask == 255] = " + str(ignored)
    if len(present) <= count:
        return (
            f"the masks hold {len(present)} values that are not 0 to {count - 1}: "
            f"mask = np.searchsorted({present}, mask)"
            if len(present) <= 40
            else "map the values to 0, 1, ... through a lookup table where masks are read"
        )
    return (
        f"map what is no class to the ignored index: mask[mask >= {count}] = {ignore}, "
        f"CrossEntropyLoss(ignore_index={ignore}); or give the network {values[-1] + 1} outputs"
    )
