"""Loaders that are in order and loaders that are not, one line each."""

from typing import Any

import pytest
from dldoctor.checks import loader, pixels, targets

from dldoctor import LossAsked, Severity
from dldoctor.facts.live.items import Failure, Items, Leaf
from dldoctor.isolation import ChildEnd, StackFrame

from .facts import found, items, number, picture

ERROR, WARNING = Severity.ERROR, Severity.WARNING
ALONE: dict[str, Any] = {"kind": "Dataset", "collate": "", "batch_size": None}


def boxes(count: int) -> Leaf:
    return Leaf("1.boxes", "tensor", (count, 4), "float32")


def pil(height: int) -> Leaf:
    return Leaf("0", "picture", (height, 48, 3), "RGB")


@pytest.mark.parametrize(
    ("pulled", "severity"),
    [
        (items((picture(), number()), (picture(), number())), None),
        (items((picture(3, 40, 48), number()), (picture(3, 41, 48), number())), ERROR),
        (items((picture(3, 40, 48), number()), (picture(3, 41, 48), number()), collate="custom"), None),
        (items((picture(3, 40, 48), number()), (picture(3, 41, 48), number()), batch_size=1), None),
        (items((picture(3, 40, 48), number()), (picture(3, 41, 48), number()), **ALONE), WARNING),
        (items((picture(), boxes(2)), (picture(), boxes(3)), **ALONE), None),  # for a collate_fn of its own
        (items((pil(40), number()), (pil(41), number()), **ALONE), None),
        (items((Leaf("0", "tensor", (5,), "int64"), number()), (Leaf("0", "tensor", (9,), "int64"), number()), **ALONE),
         None),  # tokens to be padded
        (items((picture(), number()), (Leaf("item", "NoneType"),), **ALONE), None),
        (items((number("float64", "0"),), (number("int64", "0"),)), None),  # 3.5 and 3
        (items((number("int64"),), (Leaf("1", "array", (), "int64"),)), None),  # 3 and numpy's 3
        (items((picture(),), (picture(dtype="float64"),)), WARNING),
        (items((picture(),), (picture(dtype="uint8"),), workers=2), ERROR),
        (items((picture(),)), None),
    ],
)  # fmt: skip
def test_items_that_can_not_be_stacked(pulled: Items, severity: Severity | None) -> None:
    findings = found(loader.inconsistent_items, pulled)
    assert [finding.severity for finding in findings] == ([severity] if severity else [])


def test_negative_strides_matter_where_the_default_collate_stacks() -> None:
    turned = Leaf("x.y.0", "array", (5,), "int64", strides=(-8,))
    assert len(found(loader.negative_strides, items((turned,)))) == 1
    assert not found(loader.negative_strides, items((turned,), collate="custom"))


def failing(message: str, error: str = "ValueError", index: int | None = 7) -> Failure:
    return Failure(index, error, message, (StackFrame("data.py", 9, "__getitem__"),), "    raise ValueError")


@pytest.mark.parametrize(
    ("changes", "message", "fix"),
    [
        ({"failures": (failing("bad"),)}, "item 7 raises ValueError: bad", "repair the item"),
        ({"failures": (failing("", "MemoryError"),)}, "item 7 raises MemoryError: no message", "--memory-limit"),
        ({"batch_failure": failing("bad", index=None)}, "the first batch can't be made", "look at the collate_fn"),
        ({"batch_failure": failing("bad (in a DataLoader worker)", index=None)}, "can't be",
         "differs in a worker"),
        ({"end": ChildEnd("exit", "left the process with sys.exit(3)"), "reading": 3},
         "reading item 3, the DataLoader left the process with sys.exit(3)", "it does not exit"),
        ({"end": ChildEnd("timeout", "did not end within 20 s"), "reading": 3}, "reading item 3", "--time-limit"),
        ({"end": ChildEnd("signal", "was killed by SIGBUS"), "reading": None},
         "making the first batch, the DataLoader was killed by SIGBUS", "native"),
    ],
)  # fmt: skip
def test_an_item_or_a_batch_that_fails(changes: dict[str, Any], message: str, fix: str) -> None:
    finding = found(loader.item_fails, items((picture(), number()), **changes))[0]
    assert message in finding.message
    assert fix in str(finding.fix)


def test_a_killed_dataset_is_placed_in_the_users_own_line() -> None:
    stack = (StackFrame("data.py", 12, "__getitem__"), StackFrame("/lib/site-packages/numpy/core.py", 3, "ones"))
    end = ChildEnd("memory", "took more than 8 GiB", stack=stack)
    finding = found(loader.item_fails, items((picture(),), end=end, reading=0))[0]
    assert (finding.at.path, finding.at.line) == ("data.py", 12)


def raw(high: float = 255, **changes: Any) -> Leaf:
    return picture(low=0.0, high=high, **changes)


@pytest.mark.parametrize(
    ("pulled", "count"),
    [
        (items((raw(),)), 1), (items((raw(whole=True),)), 1), (items((picture(),)), 0),
        (items((raw(mean=(90.0,), std=(9.0,)),)), 0),  # a spectrogram's decibels
        (items((raw(mean=(90.0,), std=(9.0,), whole=True),)), 1),
        (items((raw(80),)), 0),  # metres
        (items((raw(dtype="uint8"),)), 0), (items((raw(13000),)), 0),
        (items((raw(channel_axis=None),)), 0),
        (items((raw(),), collate="custom", batch=(picture(4, 3, 40, 48, channel_axis=None),)), 0),
        (items((raw(),), collate="custom", batch=(raw(channel_axis=None),)), 1),
    ],
)  # fmt: skip
def test_pictures_that_are_not_scaled(pulled: Items, count: int) -> None:
    assert len(found(pixels.unnormalised_input, pulled)) == count


def turned(*shape: int, smoothness: tuple[float, ...] = (0.9, 0.9, 0.8), **changes: Any) -> Leaf:
    return picture(*(shape or (40, 48, 3)), smoothness=smoothness, **{"channel_axis": 2, **changes})


@pytest.mark.parametrize(
    ("pulled", "severity"),
    [
        (items((turned(),)), ERROR), (items((turned(dtype="uint8"),)), WARNING), (items((turned(),), **ALONE), WARNING),
        (items((turned(),), collate="custom"), None),
        (items((picture(smoothness=(0.8, 0.9, 0.9)),)), None),
        (items((turned(smoothness=(0.9, 0.9, 0.0)),)), None),  # x, y and z of a grid
        (items((turned(smoothness=(0.9, 0.2, 0.9)),)), None),  # joints over time
        (items((turned(12, 207, 1),)), None),  # sensors over time
        (items((turned(40, 48, 1),)), ERROR), (items((turned(40, 48, 1, low=-3.0),)), None),
        (items((turned(path="mask"),)), None),
    ],
)  # fmt: skip
def test_channels_that_stand_last(pulled: Items, severity: Severity | None) -> None:
    findings = found(pixels.channels_last_input, pulled)
    assert [finding.severity for finding in findings] == ([severity] if severity else [])


def label(*shape: int, dtype: str = "float32", **changes: Any) -> Leaf:
    return Leaf("1", "tensor", shape, dtype, **changes)


@pytest.mark.parametrize(
    ("leaf", "loss", "words"),
    [
        (number(), "cross_entropy", None), (label(dtype="uint8", whole=True), "cross_entropy", None),
        (label(3, low=0.1, high=0.7), "cross_entropy", None),  # mixup
        (label(3, whole=True, high=1.0), "cross_entropy", None),  # one-hot floats
        (label(3, 40, 48, whole=True), "cross_entropy", None),  # one-hot masks
        (label(40, 48, dtype="int64", whole=True), "cross_entropy", None),
        (number("float64"), "mse", None), (number("float64"), "bce_with_logits", None),
        (label(3), "bce_with_logits", None), (number("float64"), "losses.py:criterion", None),
        (number("float64"), "cross_entropy", "not float64"), (number("int32"), "nll", "not int32"),
        (label(40, 48, dtype="uint8", whole=True), "cross_entropy", "not uint8"),
        (label(40, 48, whole=True), "cross_entropy", "not float32"),
        (label(1, dtype="int64", whole=True), "cross_entropy", "not an axis of one"),
        (label(5, dtype="int64", whole=True, low=0.0, high=1.0), "cross_entropy", "class probabilities as floats"),
        (number("str"), "cross_entropy", "not names"), (number(), "bce_with_logits", "not int64"),
        (number("float64"), "bce", "takes float32"), (number("float64"), "huber", "takes float32"),
    ],
)  # fmt: skip
def test_targets_that_the_loss_refuses(leaf: Leaf, loss: str, words: str | None) -> None:
    findings = found(targets.wrong_target_type, items((picture(), leaf)), LossAsked(loss))
    assert len(findings) == (words is not None)
    assert all(words in finding.message for finding in findings if words)


def test_an_index_beside_the_name_is_enough() -> None:
    leaves = (picture(path="image"), number("str", "label"), number("int64", "label_id"))
    assert not found(targets.wrong_target_type, items(leaves), LossAsked("cross_entropy"))
