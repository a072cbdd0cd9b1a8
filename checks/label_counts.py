"""LBL: how many samples each class has, and which classes have none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from statistics import median
from typing import Any

from dldoctor import (
    ClassCount,
    ClassFolder,
    DatasetFolder,
    Finding,
    Histogram,
    LabelTable,
    Layout,
    Severity,
    Table,
    check,
)

#: bars and weights shown before the rest is left to the evidence
_SHOWN = 12
#: weights to paste; of more classes they are better computed
_PASTED = 24
#: different whole numbers beyond which they are a quantity rather than classes, where no header says otherwise
_QUANTITY = 20


@check("LBL004", Severity.WARNING, Severity.INFO, unless=("LBL001", "LBL003"), since="0.1")
def label_gaps(
    labels: LabelTable, classes: ClassCount | None, layout: Layout | None, dataset: DatasetFolder | None
) -> Iterator[Finding]:
    """The class numbers skip some, or are not the indices that training will use.

    The output of a number that no label has never trains. Folders named by numbers are indexed in the order of their
    names as text, where 10 comes before 2.

    Fix: number the classes 0, 1, 2, ... without gaps, through one mapping that is kept with the model.
    """
    if layout is not None and layout.class_folders:
        yield from _numbered_folders(layout)
        return
    for source, rows in _by_source(labels).items():
        counts: Counter[int] = Counter()
        for row in rows:
            counts[int(row.value)] += row.count
        ignored = dataset.ignore_index if dataset else None
        counts.pop(ignored, None) if ignored is not None else None
        values = sorted(counts)
        if len(values) < 2 or values[0] not in (0, 1):
            continue
        top = max(values[-1], classes.count - 1 if classes is not None and values[-1] < classes.count else 0)
        missing = [value for value in range(values[0], top + 1) if value not in counts]
        # a list of classes has few holes and several samples of each; scores, ages and counts do not
        if not missing or len(missing) > max(1, len(values) // 10) or median(counts.values()) < 5:
            continue
        if len(values) > 2 * _QUANTITY and min(counts.values()) * 20 < median(counts.values()):
            continue
        yield Finding(
            source,
            "no label is {missing}; {count} classes are numbered {least} to {most}",
            missing=_few([str(value) for value in missing]),
            count=len(values),
            least=values[0],
            most=values[-1],
            numbers=missing,
            column=rows[0].column,
            said_by=classes.said_by if classes else None,
            fix="number the classes anew: "
            f'ids = sorted(df["{rows[0].column}"].unique()); df["{rows[0].column}"].map(ids.index)',
        )


def _by_source(labels: LabelTable) -> dict[str, list[Any]]:
    """The counted rows of each label column that holds class numbers throughout."""
    columns: dict[str, list[Any]] = {}
    for row in labels.counted():
        if row.listed and row.form != "blank":
            columns.setdefault(row.column, []).append(row)
    found: dict[str, list[Any]] = {}
    for rows in columns.values():
        if all(row.form == "index" and row.named for row in rows):
            files = sorted({row.source for row in rows})
            found[files[0] if len(files) == 1 else "."] = rows
    return found


def _numbered_folders(layout: Layout) -> Iterator[Finding]:
    """Folders whose names are whole numbers from 0 or 1, and are not the indices that ImageFolder gives them."""
    by_split: dict[str | None, list[ClassFolder]] = {}
    for folder in layout.class_folders:
        if not folder.stray and folder.loadable:
            by_split.setdefault(folder.split, []).append(folder)
    folders = by_split.get("train") or next(iter(by_split.values()), [])
    names = sorted(folder.name for folder in folders)
    if len(names) < 3 or not all(name.isdecimal() and name.isascii() for name in names):
        return
    numbers = sorted(map(int, names))
    if numbers[0] not in (0, 1) or numbers[-1] >= 2 * len(numbers) or len(set(numbers)) < len(numbers):
        return
    wrong = [(name, index) for index, name in enumerate(names) if int(name) - numbers[0] != index]
    if not wrong:
        return
    gaps = [number for number in range(numbers[0], numbers[-1]) if number not in numbers]
    where = folders[0].path.rpartition("/")[0] or "."
    rows = tuple((name, index) for name, index in wrong[:6])
    yield Finding(
        where,
        "folder {name} is class {index} for ImageFolder, as {why}",
        name=wrong[0][0],
        index=wrong[0][1],
        why=f"there is no folder {_few([str(number) for number in gaps])}" if gaps else "names are sorted as text",
        folders=len(names),
        indices=dict(wrong),
        missing=gaps,
        # numbers from 1 are no indices anyhow, and who reads them goes through class_to_idx
        severity=Severity.WARNING if numbers[0] == 0 else Severity.INFO,
        show=Table(("folder", "index"), rows),
        fix="dataset.class_to_idx tells them apart; or number the names with zeros before: 00, 01, ... 10",
    )


@check("LBL006", Severity.WARNING, unless=("LBL005",), since="0.1")
def too_few_samples(labels: LabelTable, classes: ClassCount | None, *, least: int = 10) -> Iterator[Finding]:
    """A class has a handful of samples where the others have many.

    What is learned of it is those few pictures by heart, and a score over two of them is luck.

    Fix: collect more, merge it with a class like it, or leave it out and say so.
    """
    counts = _counts(labels, classes)
    few = {name: count for name, count in counts.items() if count < least}
    others = [count for count in counts.values() if count >= least]
    # where many classes are small it is the nature of the set: few shots, a long tail
    if not few or len(few) > max(1, len(counts) // 5) or not others or median(others) < 2 * least:
        return
    ordered = sorted(few.items(), key=lambda item: (item[1], item[0]))
    typical = int(median(others))
    yield Finding(
        ".",
        "{names} {have} fewer than {least} samples, a typical class has {typical}",
        names=_few([f"{name} ({count})" for name, count in ordered]),
        have="has" if len(few) == 1 else "have",
        least=least,
        typical=typical,
        counts=dict(ordered),
        fix="collect more, merge the class with one like it, or leave it out; weights make no new pictures",
    )


def _few(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _counts(labels: LabelTable, classes: ClassCount | None) -> Counter[str]:
    """Samples per class in the training split, in the order of the class indices; empty where labels are quantities.
    A label that can't be one, a word among numbers or a number that no class has, is another fault."""
    rows = [row for row in labels.counted() if row.form != "blank"]
    if sum(row.count for row in rows if row.form == "index") * 10 > sum(row.count for row in rows) * 9:
        rows = [row for row in rows if row.form == "index"]
        if classes is not None:
            inside = [row for row in rows if not row.listed or 0 <= row.value < classes.count]
            rows = inside if sum(row.count for row in inside) * 10 > sum(row.count for row in rows) * 9 else rows
    if any(row.form == "box" and row.name for row in rows):
        rows = [row for row in rows if row.name]  # a box of no declared class is another fault
    training = [row for row in rows if row.split == "train"] or rows
    samples = sum(row.count for row in training)
    counts: Counter[str] = Counter()
    if sum(row.count for row in training if row.form == "number") * 2 > samples:
        return counts  # a regression target
    for row in sorted(training, key=_class_order):
        counts[row.name or row.text] += row.count
    listed = all(row.listed and row.form == "index" for row in training)
    if listed and len(counts) > _QUANTITY and not all(row.named for row in training):
        return Counter()
    return counts


def _class_order(row: Any) -> tuple[int, float, str]:
    """Folders as ImageFolder numbers them, numbers by value, names as text."""
    return (0, row.value, "") if row.form in ("index", "box") and row.value is not None else (1, 0, row.text)


@check("LBL005", Severity.WARNING, Severity.INFO, since="0.1")
def class_imbalance(labels: LabelTable, classes: ClassCount | None, *, ratio: float = 10) -> Iterator[Finding]:
    """One class has many times the samples of another.

    The network gains most by answering the large class, and accuracy hides that the small ones are never found.

    Fix: weigh the loss or the sampler by the classes' frequencies, and look at recall per class.
    """
    counts = _counts(labels, classes)
    if len(counts) < 2:
        return
    samples = sum(counts.values())
    ordered = counts.most_common()
    (largest, most), (smallest, least) = ordered[0], ordered[-1]
    if most <= ratio * least or (len(counts) > 50 and least == 1 and len(counts) * 2 > samples):
        return
    weights = {name: round(samples / (len(counts) * count), 3) for name, count in counts.items()}
    bars = ordered if len(ordered) <= _SHOWN else [*ordered[: _SHOWN // 2], *ordered[-_SHOWN // 2 :]]
    boxed = any(row.form == "box" for row in labels.counted())
    yield Finding(
        ".",
        "{largest} has {times:g} times the samples of {smallest}",
        largest=largest,
        smallest=smallest,
        times=round(most / least, 1),
        counts=dict(ordered),
        weights=weights,
        show=Histogram(tuple((name, float(count)) for name, count in bars), "samples"),
        # objects are never as even as pictures of one class each: a person is in every street
        severity=Severity.INFO if boxed else Severity.WARNING,
        fix="draw pictures with rare classes more often (a WeightedRandomSampler over pictures), and look at the "
        "average precision of each class"
        if boxed
        else _balanced(labels, weights),
    )


def _balanced(labels: LabelTable, weights: dict[str, float]) -> str:
    """The weights to paste where they are few and stand in the order of the class indices, else how to compute them."""
    sampler = "WeightedRandomSampler(weight[torch.tensor(labels)], len(labels))"
    numbers = [int(row.value) for row in labels.counted() if row.listed and row.form == "index"]
    if len(weights) <= _PASTED and sorted(set(numbers)) in ([], list(range(len(weights)))):
        shown = ", ".join(f"{weight:g}" for weight in weights.values())
        return (
            f"weight = torch.tensor([{shown}]), in the order of the class indices: CrossEntropyLoss(weight=weight), "
            f"or {sampler}"
        )
    return (
        "weight = len(labels) / (torch.bincount(torch.tensor(labels)).clamp(min=1) * "
        f"{len(weights)}): CrossEntropyLoss(weight=weight), or {sampler}"
    )
