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
    LossAsked,
    Place,
    Severity,
    StackFrame,
    Table,
    check,
    input_leaf,
    target_leaf,
)


def _place(failure: Failure, index: int | None) -> Place:
    inner = failure.stack[-1] if failure.stack else None
    return Place(inner.path if inner else None, inner.line if inner else None, index=index)


def _frame(failure: Failure, label: str = "") -> tuple[CodeFrame, ...]:
    if not failure.stack or not failure.text.strip():
        return ()
    inner: StackFrame = failure.stack[-1]
    start = len(failure.text) - len(failure.text.lstrip())
    return (CodeFrame(inner.path, inner.line, failure.text, start + 1, len(failure.text.rstrip()) + 1, label),)


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
            path=_named(leaf),
            index=item.index,
            strides=list(leaf.strides),
            shape=list(leaf.shape),
            count=len({item.index for item, _ in found}),
            pulled=len(items.items),
            fix=cure,
        )


def _named(leaf: Leaf) -> str:
    return f"element {leaf.path}" if leaf.path.isdecimal() else "the item" if leaf.path == "item" else leaf.path


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
    severity = Severity.ERROR if items.collate else Severity.WARNING
    structures = Counter(item.structure for item in items.items)
    if len(structures) > 1:
        rows = [(form, count, _first(items, form)) for form, count in structures.most_common()]
        yield _differing(items, "the structure", rows, severity)
        return
    by_leaf: dict[str, Counter[str]] = {}
    examples: dict[tuple[str, str], int] = {}
    for item in items.items:
        for leaf in item.leaves:
            text = _form(leaf)
            by_leaf.setdefault(leaf.path, Counter())[text] += 1
            examples.setdefault((leaf.path, text), item.index)
    for path, forms in by_leaf.items():
        if len({_stacked(form) for form in forms}) > 1:
            rows = [(form, count, examples[path, form]) for form, count in forms.most_common()]
            yield _differing(items, _named(Leaf(path, "")), rows, severity)


def _form(leaf: Leaf) -> str:
    shape = " x ".join(str(side) for side in leaf.shape)
    return f"{leaf.kind} {leaf.dtype} {shape}".strip()


def _stacked(form: str) -> str:
    """What must agree: the shape, and the kind; numbers and strings of one kind always stack."""
    kind, _, rest = form.partition(" ")
    dtype, _, shape = rest.partition(" ")
    if kind in ("tensor", "array", "picture"):
        return f"{kind} {shape}"
    return "number" if dtype in ("int64", "float64", "bool") else kind


def _first(items: Items, structure: str) -> int:
    return next(item.index for item in items.items if item.structure == structure)


def _differing(items: Items, what: str, rows: list[tuple[str, int, int]], severity: Severity) -> Finding:
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
        fix="one shape for all in the Dataset (Resize and CenterCrop, or padding), or a collate_fn that pads",
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
            words=_short(failure.message),
            about=about,
            file=failure.file,
            shapes=failure.shapes or {},
            show=_frame(failure),
            fix="repair the item or leave it out",
        )
    if items.batch_failure is not None and not _explained(items):
        failure = items.batch_failure
        yield Finding(
            _place(failure, None),
            "the first batch can't be made: {error}: {words}",
            error=failure.error,
            words=_short(failure.message),
            show=_frame(failure),
            fix="every item can be read alone, so look at the collate_fn and at what the items hold",
        )
    if items.end.kind != "done":
        stack = items.end.stack
        yield Finding(
            Place(stack[-1].path if stack else None, stack[-1].line if stack else None, index=items.reading),
            "the process {how} {when}",
            how=items.end.detail,
            when="before the first item" if items.reading is None else f"reading item {items.reading}",
            index=items.reading,
            output=items.end.output[-800:],
            fix="read this item alone; --time-limit and --memory-limit raise the limits",
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


@check("DAT006", Severity.WARNING, since="0.1", unless=("DAT007",))
def unnormalised_input(items: Items) -> Iterator[Finding]:
    """The pictures arrive as floats from 0 to 255.

    A network that was initialised or trained for values around 0 with deviation 1 learns slowly from them or not at
    all: the first layer's outputs are a hundred times too large.

    Fix: scale to 0-1 (v2.ToDtype(torch.float32, scale=True)) and normalise with the mean and deviation measured here.
    """
    found = [leaf for item in items.items if (leaf := input_leaf(item.leaves)) and _is_raw(leaf)]
    pictures = [item for item in items.items if input_leaf(item.leaves)]
    if not found or len(found) < 0.9 * len(pictures):
        return
    channels = len(found[0].mean)
    mean = [round(sum(leaf.mean[c] for leaf in found) / len(found) / 255, 3) for c in range(channels)]
    std = [round((sum(leaf.std[c] ** 2 for leaf in found) / len(found)) ** 0.5 / 255, 3) for c in range(channels)]
    low = min(leaf.low for leaf in found if leaf.low is not None)
    high = max(leaf.high for leaf in found if leaf.high is not None)
    yield Finding(
        Place(index=items.items[0].index),
        "{name} is {dtype} from {low:g} to {high:g} in all {count} pictures pulled",
        name=_named(found[0]),
        dtype=found[0].dtype,
        low=low,
        high=high,
        count=len(found),
        mean=mean,
        std=std,
        fix=Advice(
            "scale, then normalise with what was measured on these items:",
            (
                "v2.ToDtype(torch.float32, scale=True),  # of the uint8 picture",
                f"v2.Normalize(mean={mean}, std={std}),",
            ),
        ),
    )


def _is_raw(leaf: Leaf) -> bool:
    floating = leaf.dtype.startswith("float")
    in_range = leaf.low is not None and leaf.high is not None and leaf.low >= 0 and 32 < leaf.high <= 255
    return bool(floating and in_range and leaf.channel_axis is not None)


@check(
    "DAT007",
    Severity.ERROR,
    Severity.WARNING,
    since="0.1",
    symptoms=("expected input[{b}, {h}, {w}, 3] to have 3 channels, but got {h} channels instead",),
)
def channels_last_input(items: Items, *, smooth: float = 0.6) -> Iterator[Finding]:
    """The pictures arrive as height x width x channels; torch's layers want channels x height x width.

    A convolution either refuses the shape or takes the height for its channels.

    Fix: image.permute(2, 0, 1) for a tensor, image.transpose(2, 0, 1) for an array (never reshape or view, which
    scramble the picture).
    """
    if items.collate == "custom":
        return  # the collate_fn may turn them
    leaves = [leaf for item in items.items if (leaf := input_leaf(item.leaves))]
    turned = [leaf for leaf in leaves if _is_turned(leaf, smooth)]
    if not turned or len(turned) < len(leaves):
        return
    leaf = turned[0]
    whole = all(other.dtype == "uint8" for other in turned)
    yield Finding(
        Place(index=items.items[0].index),
        "{name} is {shape}, height x width x channels, in all {count} pictures pulled",
        name=_named(leaf),
        shape=" x ".join(map(str, leaf.shape)),
        count=len(turned),
        smoothness=list(leaf.smoothness),
        fix=f".permute(2, 0, 1) makes it {leaf.shape[2]} x {leaf.shape[0]} x {leaf.shape[1]}"
        if leaf.kind == "tensor"
        else f".transpose(2, 0, 1) makes it {leaf.shape[2]} x {leaf.shape[0]} x {leaf.shape[1]}",
        # bytes are often turned and scaled on the GPU
        severity=Severity.WARNING if whole else Severity.ERROR,
    )


def _is_turned(leaf: Leaf, smooth: float) -> bool:
    """Channels stand last, and both other axes are smooth as the sides of a picture are (landmarks are not)."""
    if leaf.channel_axis != 2 or leaf.kind not in ("tensor", "array"):
        return False
    return len(leaf.smoothness) == 3 and min(leaf.smoothness[:2]) >= smooth


_INDEX_LOSSES = ("cross_entropy", "nll", "nll_loss", "crossentropyloss", "nllloss")
_FLOAT_LOSSES = ("bce", "bce_with_logits", "bcewithlogitsloss", "bceloss", "binary_cross_entropy",
                 "binary_cross_entropy_with_logits")  # fmt: skip


@check(
    "DAT008",
    Severity.ERROR,
    since="0.1",
    symptoms=(
        "expected scalar type Long but found",
        "result type Float can't be cast to the desired output type",
        "target tensor expected, multi-target not supported",
    ),
)
def wrong_target_type(items: Items, loss: LossAsked) -> Iterator[Finding]:
    """The targets that the loader delivers are of a shape or dtype that the loss refuses.

    A Python float becomes float64 in a batch, an int32 array stays int32: cross-entropy takes neither as class
    indices.

    Fix: return the class index as a Python int or an int64 tensor without extra axes; for binary cross-entropy a
    float32 of the output's shape.
    """
    name = loss.name.lower().rpartition(".")[2]
    targets = [(item, leaf) for item in items.items if (leaf := target_leaf(item.leaves))]
    if not targets or items.collate == "custom":
        return
    item, leaf = targets[0]
    if name in _INDEX_LOSSES:
        wrong, cure = _wrong_index(leaf)
    elif name in _FLOAT_LOSSES:
        wrong, cure = _wrong_float(leaf)
    else:
        return
    if wrong:
        yield Finding(
            Place(index=item.index),
            "{name} is {form}: {loss} {wrong}",
            name=_named(leaf),
            form=_form(leaf),
            loss=loss.name,
            wrong=wrong,
            shape=list(leaf.shape),
            dtype=leaf.dtype,
            fix=cure,
        )


def _wrong_index(leaf: Leaf) -> tuple[str, str]:
    if leaf.kind == "str":
        return "takes class indices, not names", "map the names to indices: self.index = {name: i for i, name in ...}"
    if leaf.dtype in ("int32", "int16", "int8", "bool") or (leaf.dtype.startswith("float") and leaf.whole
                                                            and len(leaf.shape) != 1):  # fmt: skip
        return f"takes int64 class indices, not {leaf.dtype}", "int(label), or label.long()"
    if leaf.shape == (1,) and leaf.whole:
        return "takes one index per sample, not an axis of one", "label.squeeze(), or int(label)"
    return "", ""


def _wrong_float(leaf: Leaf) -> tuple[str, str]:
    if leaf.dtype in ("int64", "int32", "int16", "int8", "uint8", "bool"):
        return f"takes floating point targets, not {leaf.dtype}", "float(label), or label.float()"
    return "", ""
