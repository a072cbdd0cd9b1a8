"""LBL: class labels, by folders or by a label file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from dldoctor import (
    Advice,
    ClassCount,
    DatasetFolder,
    Finding,
    LabelTable,
    Place,
    Severity,
    Table,
    check,
)


@check(
    "LBL001",
    Severity.ERROR,
    unless=("LBL003",),
    since="0.1",
    symptoms=(
        "device-side assert triggered & !srcSelectDim & !index out of bounds & !input_val & !idx_dim & !index_size",
        (
            "Target {n} is out of bounds",
            "a label is {n}: class indices run from 0 to the outputs of the last layer minus one",
        ),
        "Assertion `t >= 0 && t < n_classes` failed",
        "Assertion `cur_target >= 0 && cur_target < n_classes` failed",
        "IndexError: Target {n} is out of bounds.",
        "Class values must be smaller than num_classes",
        "Class values must be non-negative",
        "ignoring corrupt image/label: Label class {n} exceeds dataset class count {m}",
    ),
)
def label_out_of_range(labels: LabelTable, classes: ClassCount, dataset: DatasetFolder | None) -> Iterator[Finding]:
    """A label is below 0 or not below the number of classes.

    On a GPU the loss stops the whole process with a device-side assert, far from the cause.

    Fix: make the last layer as wide as the largest label plus one, or correct the labels.
    """
    yield from _undeclared(labels)
    values = _indices(labels, dataset)
    named = [] if values else _names(labels)
    if not values and not named:
        return
    least, largest = (min(values), max(values)) if values else (0, len(named) - 1)
    if least >= 0 and largest < classes.count:
        return
    col = labels.col
    outside_rows = labels.where(col.form == "box", (col.value < 0) | (col.value >= classes.count))
    boxed = tuple((row.picture or "", row.text) for row, _ in zip(outside_rows, range(12), strict=False))
    source = next(labels.where((col.value < 0) | (col.value >= classes.count)), next(labels.where())).source
    needed = largest + 1
    evidence: dict[str, Any] = {
        "least": least,
        "largest": largest,
        "classes": classes.count,
        "said_by": classes.said_by,
    }
    if classes.head is not None and least >= 0:
        head = classes.head
        yield Finding(
            Place(head.path, head.line, layer=head.layer),
            "labels go up to {largest}, {said_by} answers {classes} classes",
            labels=source,
            **evidence,
            fix=Advice(f"write {needed} there: {needed} outputs for the labels 0 to {largest}"),
        )
        return
    outside = {value: count for value, count in values.items() if not 0 <= value < classes.count}
    wrong = sorted(outside) or [largest]
    yield Finding(
        source,
        "labels go from {least} to {largest}; {classes} classes are 0 to {last} ({said_by})",
        **evidence,
        last=classes.count - 1,
        wrong=wrong[:20],
        samples=sum(outside.values()),
        show=Table(("picture", "class"), boxed) if boxed else (),
        fix=Advice(
            "pass ignore_index=-1 to the loss, or leave those samples out"
            if wrong == [-1]
            else f"correct those labels, or declare {needed} classes in {classes.said_by}"
            if boxed and least >= 0
            else f"{needed} classes in all: write {needed} where {classes.count} stands"
            if least >= 0
            else "correct the labels below 0"
        ),
    )


@check(
    "LBL002",
    Severity.ERROR,
    Severity.WARNING,
    since="0.1",
    symptoms=(
        "expected scalar type Long but found Float",
        "expected scalar type Long but found Double",
        "too many dimensions 'str'",
        "new(): invalid data type 'str'",
        "can't convert np.ndarray of type numpy.object_",
        "can't convert np.ndarray of type numpy.str_",
        "expected target dtype to be Long or Byte, but got {dtype} & read_csv",
        "\"nll_loss_forward_reduce_cuda_kernel_2d_index\" not implemented for 'Float'",
    ),
)
def label_not_an_index(labels: LabelTable) -> Iterator[Finding]:
    """A label is a fraction, a word or a blank where a class index belongs.

    One blank cell makes pandas read the whole column as floats, and the loss then refuses every label.

    Fix: fill or drop those rows, then `df["label"].astype("int64")`.
    """
    groups: dict[str, list[Any]] = {}
    for row in labels.counted():
        if row.listed:
            groups.setdefault(row.source, []).append(row)
    for source, rows in groups.items():
        unlabelled = {row.split for row in rows if row.split} - {row.split for row in rows if row.form != "blank"}
        labelled = [row for row in rows if row.split not in unlabelled]
        forms: Counter[str] = Counter()
        for row in labelled:
            forms[row.form] += row.count
        all_labels = sum(forms.values())
        odd = ["blank", "number", "name"]
        if forms["name"] * 10 > all_labels and forms["name"] >= forms["index"] / 9:
            odd = ["blank"]  # class names, some of which may be digits
        if forms["number"] and not forms["index"] and not forms["name"]:
            yield from _whole_floats(source, labelled)
            odd = ["blank"]
        elif forms["number"] * 2 > all_labels:
            odd = ["blank"]  # a regression target
        if any(forms[form] for form in odd):
            column = rows[0].column
            wrong = [
                row
                for row in labels.where(labels.col.source == source, labels.col.form.is_in(odd))
                if row.split not in unlabelled
            ]
            shown = tuple((row.line, row.picture or "", row.text or "(blank)") for row in wrong[:5])
            yield Finding(
                source,
                "{count} of {all} labels in column {column} are no class index: {kinds}",
                count=len(wrong),
                all=all_labels,
                column=column,
                kinds=_kinds(wrong),
                lines=[row.line for row in wrong[:100]],
                show=Table(("line", "picture", "label"), shown),
                fix=f'label those rows or drop them (df.dropna(subset=["{column}"]))'
                + ("" if forms["name"] > forms["index"] else ', then .astype("int64")'),
            )


def _kinds(wrong: list[Any]) -> str:
    """`2 blank, 3 times 'cat'`."""
    blank = sum(row.form == "blank" for row in wrong)
    words = Counter(row.text for row in wrong if row.form != "blank").most_common(3)
    said = [f"{count} times {text!r}" if count > 1 else repr(text) for text, count in words]
    return ", ".join([f"{blank} blank"] * bool(blank) + said)


def _whole_floats(source: str, rows: list[Any]) -> Iterator[Finding]:
    """Labels written 0.0, 1.0, 2.0 throughout. Two of them may be meant for BCEWithLogitsLoss, which wants floats."""
    values = {row.value for row in rows if row.value is not None}
    if (
        rows[0].named
        and len(values) > 2
        and all(value == int(value) for value in values)
        and (max(values) - min(values) < 2 * len(values))
    ):
        yield Finding(
            source,
            "all labels in column {column} are written as floats, such as {example}",
            column=rows[0].column,
            example=rows[0].text,
            severity=Severity.WARNING,
            fix=f'df["{rows[0].column}"].astype("int64"); CrossEntropyLoss takes no float index',
        )


@check(
    "LBL003",
    Severity.ERROR,
    Severity.WARNING,
    since="0.1",
    symptoms=(
        "Target {n} is out of bounds",
        "device-side assert triggered & !srcSelectDim & !index out of bounds & !input_val & !idx_dim & !index_size",
        "Class values must be smaller than num_classes",
    ),
)
def labels_start_at_one(
    labels: LabelTable, classes: ClassCount | None, dataset: DatasetFolder | None
) -> Iterator[Finding]:
    """The labels count from 1, class indices count from 0.

    The largest label is out of bounds for the loss; with one output too many, output 0 never trains.

    Fix: subtract one where labels are read.
    """
    rows = labels.counted()
    if not all(row.listed and row.form in ("index", "blank") for row in rows):
        return
    found = sorted(set(_indices(labels, dataset)))
    if len(found) < 2 or found != list(range(1, len(found) + 1)):
        return
    if classes is None and not rows[0].named and not rows[0].column.startswith("column "):
        return  # a header such as score or rating: the numbers may be amounts
    if classes is not None and classes.count != len(found):
        return  # with one class more, 0 is a class that happens to be absent
    yield Finding(
        rows[0].source,
        "labels are 1 to {largest}, {classes} classes have the indices 0 to {last}",
        largest=found[-1],
        classes=len(found),
        last=found[-1] - 1,
        column=rows[0].column,
        said_by=classes.said_by if classes else None,
        severity=Severity.ERROR if classes else Severity.WARNING,
        fix=f'df["{rows[0].column}"] - 1, or target_transform=lambda label: label - 1',
    )


def _undeclared(labels: LabelTable) -> Iterator[Finding]:
    """COCO: a category_id of no category. Ids need no order and may skip numbers, so that this is all they can be."""
    by_source: dict[str, dict[str, int]] = {}
    for row in labels.counted():
        if row.form == "box" and row.value is None:
            of_source = by_source.setdefault(row.source, {})
            of_source[row.text] = of_source.get(row.text, 0) + row.count
    for source, counts in by_source.items():
        yield Finding(
            source,
            "{count} annotations have a category_id that no category has: {ids}",
            count=sum(counts.values()),
            ids=", ".join(sorted(counts, key=lambda text: (len(text), text))[:10]),
            counts=counts,
            fix="add the category, or take those annotations out",
        )


def _indices(labels: LabelTable, dataset: DatasetFolder | None) -> dict[int, int]:
    """How often each class index stands as a label, the ignored one left out."""
    ignored = dataset.ignore_index if dataset else None
    counts: dict[int, int] = {}
    for row in labels.counted():
        if row.form in ("index", "box") and row.value is not None and row.value != ignored:
            counts[int(row.value)] = counts.get(int(row.value), 0) + row.count
    return counts


def _names(labels: LabelTable) -> list[str]:
    """The class names of label files that hold names throughout."""
    rows = [row for row in labels.counted() if row.form != "blank"]
    return sorted({row.text for row in rows}) if all(row.form == "name" for row in rows) else []
