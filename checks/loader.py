"""Checks of `dldoctor loader`: what the user's own Dataset or DataLoader delivers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from dldoctor import (
    Advice,
    CodeFrame,
    Failure,
    Finding,
    Items,
    Leaf,
    Place,
    Severity,
    StackFrame,
    Table,
    check,
)


def _place(failure: Failure, index: int | None) -> Place:
    inner = failure.stack[-1] if failure.stack else None
    return Place(inner.path if inner else None, inner.line if inner else None, index=index)


def _frame(failure: Failure) -> tuple[CodeFrame, ...]:
    if not failure.stack or not failure.text.strip():
        return ()
    inner: StackFrame = failure.stack[-1]
    return (CodeFrame.of_line(inner.path, inner.line, failure.text),)


def _is_negative_stride(failure: Failure) -> bool:
    return "stride" in failure.message and "negative" in failure.message


@check(
    "DAT001",
    Severity.ERROR,
    since="0.1",
    symptoms=(
        "At least one stride in the given numpy array is negative & collate",
        "At least one stride in the given numpy array is negative",
        "some of the strides of a given numpy array are negative",
        "At least stride in the given numpy array is negative",
    ),
)
def negative_strides(items: Items) -> Iterator[Finding]:
    """An item holds a numpy array with negative strides.

    A flip by [::-1] or np.flip is a view that runs backwards through memory, and torch refuses it: in from_numpy, in
    ToTensor, or when the default collate makes the batch.

    Fix: copy after the flip: np.ascontiguousarray(image[:, ::-1]), or image[:, ::-1].copy().
    """
    cure = Advice("copy after the flip: np.ascontiguousarray(image[:, ::-1]), or image[:, ::-1].copy()")
    refused = [failure for failure in items.failures if _is_negative_stride(failure)]
    if refused:
        first = refused[0]
        yield Finding(
            _place(first, first.index),
            "item {index} raises: torch refuses an array with negative strides ({count} of {pulled} items)",
            index=first.index,
            count=len(refused),
            pulled=len(items.items) + len(items.failures),
            show=_frame(first),
            fix=cure,
        )
    if not items.collated_by_default:
        return
    found = [(item, leaf) for item in items.items for leaf in item.leaves if any(s < 0 for s in leaf.strides)]
    if found:
        item, leaf = found[0]
        yield Finding(
            Place(index=item.index),
            "{path} of item {index} has strides {strides}, which collate refuses ({count} of {pulled} items)",
            path=leaf.title,
            index=item.index,
            strides=list(leaf.strides),
            shape=list(leaf.shape),
            count=len({item.index for item, _ in found}),
            pulled=len(items.items),
            fix=cure,
        )


@check(
    "DAT002",
    Severity.ERROR,
    Severity.WARNING,
    since="0.1",
    symptoms=(
        (
            "stack expects each tensor to be equal size, but got {first} at entry 0 and {other} at entry {n}",
            "samples 0 and {n} of a batch are {first} and {other}: bring both to one size, or pad in a collate_fn",
        ),
        "each element in list of batch should be of equal size",
        "Sizes of tensors must match except in dimension 0",
        "Trying to resize storage that is not resizable",
        "KeyError: {key} & default_collate",
    ),
)
def inconsistent_items(items: Items) -> Iterator[Finding]:
    """Items differ in structure, shape or dtype, so that they can't be stacked to a batch.

    The default collate fails at the first batch that holds two of them, which may be late in an epoch.

    Fix: bring all items to one shape in the Dataset (Resize, CenterCrop, padding), or give the DataLoader a collate_fn
    that pads.
    """
    if not items.collated_by_default or len(items.items) < 2:
        return
    if not items.collate and not _are_labelled_pictures(items):
        return  # a Dataset alone may well be meant for a collate_fn that pads
    severity = Severity.ERROR if items.collate else Severity.WARNING
    structures = Counter(item.structure for item in items.items)
    if len(structures) > 1:
        rows = [(form, count, _first(items, form)) for form, count in structures.most_common()]
        yield _differing(items, "the structure", rows, severity, _ONE_SHAPE)
        return
    by_leaf: dict[str, Counter[str]] = {}
    examples: dict[tuple[str, str], int] = {}
    for item in items.items:
        for leaf in item.leaves:
            text = leaf.form
            by_leaf.setdefault(leaf.path, Counter())[text] += 1
            examples.setdefault((leaf.path, text), item.index)
    for path, forms in by_leaf.items():
        rows = [(form, count, examples[path, form]) for form, count in forms.most_common()]
        if len({_stacked(form) for form in forms}) > 1:
            yield _differing(items, Leaf(path, "").title, rows, severity, _ONE_SHAPE)
        elif len(forms) > 1 and all(form.startswith(("tensor", "array")) for form in forms):
            # stacked all the same: promoted in the main process, cast or refused in a worker
            mixed = len({_is_floating(form) for form in forms}) > 1 and items.workers > 0
            worse = severity if mixed else Severity.WARNING
            yield _differing(items, Leaf(path, "").title, rows, worse, "one dtype for all: .float(), or .long()")


_ONE_SHAPE = "one shape for all in the Dataset (Resize and CenterCrop, or padding), or a collate_fn that pads"


def _are_labelled_pictures(items: Items) -> bool:
    """Whether each item is one picture and single numbers or names beside it: what the default collate is for."""

    def plain(leaf: Leaf) -> bool:
        return leaf.shape == () and leaf.kind in ("tensor", "array", "int", "float", "bool", "str")

    return all(
        sum(leaf.channel_axis is not None and leaf.kind != "picture" for leaf in item.leaves) == 1
        and sum(plain(leaf) for leaf in item.leaves) == len(item.leaves) - 1
        for item in items.items
    )


def _is_floating(form: str) -> bool:
    return "float" in form.split(" ")[1]


def _stacked(form: str) -> str:
    """What must agree: the shape, and the kind; numbers and strings of one kind always stack."""
    kind, _, rest = form.partition(" ")
    dtype, _, shape = rest.partition(" ")
    if kind in ("tensor", "picture") or (kind == "array" and shape):
        return f"{kind} {shape}"
    return "number" if dtype in ("int64", "float64", "bool") else kind


def _first(items: Items, structure: str) -> int:
    return next(item.index for item in items.items if item.structure == structure)


def _differing(items: Items, what: str, rows: list[tuple[str, int, int]], severity: Severity, fix: str) -> Finding:
    return Finding(
        Place(index=rows[1][2]),
        "{what} differs between items: {first} in {count} of {pulled}, {second} in item {index}",
        what=what,
        first=rows[0][0],
        count=rows[0][1],
        pulled=len(items.items),
        second=rows[1][0],
        index=rows[1][2],
        show=Table(("form", "items", "first index"), tuple(rows[:8])),
        fix=fix,
        severity=severity,
    )


@check(
    "DAT003",
    Severity.ERROR,
    since="0.1",
    unless=("DAT001",),
    symptoms=(
        "Caught {error} in DataLoader worker process {n}",
        "{error}: DataLoader worker (pid(s) {n}) exited unexpectedly",
        "batch must contain tensors, numpy arrays, numbers, dicts or lists; found <class 'NoneType'>",
    ),
)
def item_fails(items: Items) -> Iterator[Finding]:
    """An item can't be read: the Dataset raises, or dies, at this index.

    With shuffling the run stops at a random step, hours later, and the traceback of a worker does not say which item
    it was.

    Fix: repair or leave out the item named here; the line is the one in your Dataset that failed.
    """
    for failure in items.failures:
        if _is_negative_stride(failure):
            continue
        about = f", on {failure.file}" if failure.file else ""
        yield Finding(
            _place(failure, failure.index),
            "item {index} raises {error}: {words}{about}",
            index=failure.index,
            error=failure.error,
            words=_short(failure.message) or "no message",
            about=about,
            file=failure.file,
            shapes=failure.shapes or {},
            show=_frame(failure),
            fix="--memory-limit allows more; it is a limit of this examination"
            if failure.error == "MemoryError" or "can't allocate memory" in failure.message
            else "repair the item or leave it out",
        )
    if items.batch_failure is not None and not _explained(items):
        failure = items.batch_failure
        yield Finding(
            _place(failure, None),
            "the first batch can't be made: {error}: {words}",
            error=failure.error,
            words=_short(failure.message),
            show=_frame(failure),
            fix="the items can be read in the main process: look at what differs in a worker, such as open files"
            if "DataLoader worker" in failure.message
            else "every item can be read alone, so look at the collate_fn and at what the items hold",
        )
    if items.end.kind != "done":
        inner = items.end.innermost
        where = f"reading item {items.reading}" if items.reading is not None else "making the first batch"
        limited = items.end.kind in ("timeout", "memory")
        yield Finding(
            Place(inner.path if inner else None, inner.line if inner else None, index=items.reading),
            "{where}, the {kind} {how}",
            where=where if items.kind else "before the first item",
            kind=items.kind or "process",
            how=items.end.detail,
            index=items.reading,
            output=items.end.output[-800:],
            fix="read this item alone; --time-limit and --memory-limit raise the limits"
            if limited
            else _LEFT[items.end.kind == "exit"],
        )


#: what to do when the process ended by a signal, or because user code left it
_LEFT = (
    "the signal comes from a native library or the kernel: read this item alone",
    'put what only a run needs, such as argparse, under if __name__ == "__main__"; a Dataset raises, it does not exit',
)


def _short(message: str) -> str:
    line = " ".join(message.split())
    return line if len(line) <= 200 else f"{line[:197]}..."


def _explained(items: Items) -> bool:
    """Whether the items themselves already say why they can't be stacked."""
    failure = items.batch_failure
    negative = any(s < 0 for item in items.items for leaf in item.leaves for s in leaf.strides)
    return bool(
        failure and ((_is_negative_stride(failure) and negative) or any(True for _ in inconsistent_items(items)))
    )
