"""Checks of `dldoctor loader`: the targets as the loss would get them."""

from __future__ import annotations

from collections.abc import Iterator

from dldoctor import Finding, Items, Leaf, LossAsked, Place, Severity, check, input_leaf, target_leaf

_INDEXED = ("cross_entropy", "nll_loss")
_OF_LOGITS = "binary_cross_entropy_with_logits"
#: they take the outputs' own dtype and no other
_STRICT = ("binary_cross_entropy", "huber_loss")
#: what a bare Items of --facts, which holds no function's name, may be asked with
_SHORT = {"ce": "cross_entropy", "nll": "nll_loss", "bce": "binary_cross_entropy", "bce_with_logits": _OF_LOGITS,
          "huber": "huber_loss"}  # fmt: skip


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
    pairs = [(item, leaf) for item in items.items if (leaf := target_leaf(item.leaves))]
    if not pairs or items.collate == "custom":
        return
    item, leaf = pairs[0]
    name = items.loss or _SHORT.get(loss.name, loss.name)
    if name in _INDEXED:
        if leaf.kind == "str" and any(other.dtype == "int64" and not other.shape for other in item.leaves):
            return  # the index has an entry of its own
        wrong, cure = _wrong_index([target for _, target in pairs], input_leaf(item.leaves))
    elif name == _OF_LOGITS or name in _STRICT:
        wrong, cure = _wrong_float(leaf, name)
    else:
        return
    if wrong:
        yield Finding(
            Place(index=item.index),
            "{name} is {form}: {loss} {wrong}",
            name=leaf.title,
            form=leaf.form,
            loss=loss.name,
            wrong=wrong,
            shape=list(leaf.shape),
            dtype=leaf.dtype,
            fix=cure,
        )


def _wrong_index(targets: list[Leaf], picture: Leaf | None) -> tuple[str, str]:
    leaf = targets[0]
    if leaf.kind == "str":
        return "takes class indices, not names", "map the names to indices: self.index = {name: i for i, name in ...}"
    is_mask = len(leaf.shape) == 2 and picture is not None and leaf.shape == _sides(picture)
    if leaf.dtype in ("int32", "int16", "int8", "bool") or (leaf.dtype == "uint8" and len(leaf.shape) >= 2):
        return f"takes int64 class indices, not {leaf.dtype}", _to_int64(leaf)
    whole = all(target.whole for target in targets)
    # floats of one shape with the output are class probabilities, which it takes
    if leaf.dtype.startswith("float") and whole and (not leaf.shape or is_mask):
        return f"takes int64 class indices, not {leaf.dtype}", _to_int64(leaf)
    if leaf.shape == (1,) and whole:
        return "takes one index per sample, not an axis of one", "label.squeeze(), or int(label)"
    if picture is not None and leaf.dtype == "int64" and _is_one_hot(targets):
        return "takes one index per sample, or class probabilities as floats", "label.argmax(), or label.float()"
    return "", ""


def _sides(picture: Leaf) -> tuple[int, ...]:
    return picture.shape[:2] if picture.channel_axis == 2 else picture.shape[-2:]


def _is_one_hot(targets: list[Leaf]) -> bool:
    return all(len(leaf.shape) == 1 and leaf.shape[0] > 2 and (leaf.low, leaf.high) == (0, 1) for leaf in targets)


def _to_int64(leaf: Leaf) -> str:
    if not leaf.shape:
        return "int(label)"
    return "label.astype(np.int64)" if leaf.kind == "array" else "label.long()"


def _wrong_float(leaf: Leaf, name: str) -> tuple[str, str]:
    whole = ("int64", "int32", "int16", "int8", "uint8", "bool")
    if leaf.dtype in whole or (leaf.dtype == "float64" and name in _STRICT):
        wants = "floating point" if leaf.dtype in whole else "float32"
        return f"takes {wants} targets, not {leaf.dtype}", "torch.tensor(label, dtype=torch.float32)"
    return "", ""
