"""What a Dataset or DataLoader really delivers: its items leaf by leaf, its first batch, its failures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

from dldoctor.fact import Fact, Unavailable
from dldoctor.facts.subjects import ItemSource, LossAsked
from dldoctor.isolation import ChildEnd, StackFrame, run_child
from dldoctor.resources import Resources


@dataclass(frozen=True)
class Leaf:
    """One tensor, array or number inside an item or a batch, reached by `path` such as `0` or `image`."""

    path: str
    #: "tensor", "array", "picture" (PIL), "int", "float", "bool", "str", or the type's name
    kind: str
    shape: tuple[int, ...] = ()
    #: as torch's default collate would make it, such as float64 for a Python float
    dtype: str = ""
    #: numpy's strides in bytes; empty for anything else
    strides: tuple[int, ...] = ()
    low: float | None = None
    high: float | None = None
    #: mean and standard deviation per channel of a picture-like leaf, along `channel_axis`
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    channel_axis: int | None = None
    #: correlation of neighbouring values along each of the first three axes
    smoothness: tuple[float, ...] = ()
    #: whether every value is a whole number
    whole: bool = False
    finite: bool = True

    @property
    def title(self) -> str:
        """The leaf in a sentence: `element 1`, `the item`, `image`."""
        return f"element {self.path}" if self.path.isdecimal() else "the item" if self.path == "item" else self.path

    @property
    def form(self) -> str:
        """Kind, dtype and shape, such as `tensor float32 3 x 40 x 48`; a Python number's kind is its dtype."""
        shape = " x ".join(str(side) for side in self.shape)
        dtype = "" if self.dtype == self.kind else self.dtype
        return " ".join(part for part in (self.kind, dtype, shape) if part)


@dataclass(frozen=True)
class Item:
    """One item as the Dataset returned it."""

    index: int
    #: nesting without values, such as `(_, _)` or `{image, label}`
    structure: str
    leaves: tuple[Leaf, ...]


@dataclass(frozen=True)
class Failure:
    """An index (or the collation of a batch) that raised."""

    index: int | None
    error: str
    message: str
    #: the user's frames, innermost last
    stack: tuple[StackFrame, ...] = ()
    #: the line of the innermost of them
    text: str = ""
    #: a file named by the variables of that frame or by the message
    file: str | None = None
    #: shapes of the variables of that frame
    shapes: dict[str, str] | None = None


@dataclass(frozen=True)
class Items(Fact):
    """A sample of the items, one batch, and everything that went wrong on the way."""

    waiting_for: ClassVar[str] = "the items of your Dataset"

    #: "Dataset", "IterableDataset" or "DataLoader"
    kind: str
    #: the class of the dataset
    dataset: str
    length: int | None
    items: tuple[Item, ...]
    failures: tuple[Failure, ...]
    #: "default", "custom", or "" when the target is a Dataset alone
    collate: str
    batch_size: int | None
    drop_last: bool
    workers: int
    #: the leaves of one real batch of the DataLoader
    batch: tuple[Leaf, ...]
    batch_failure: Failure | None
    seconds: float
    end: ChildEnd
    #: the index that was being read when the child ended
    reading: int | None = None
    #: the function of torch that --loss means; "" when it is the user's own or not given
    loss: str = ""

    @property
    def said(self) -> str:
        length = "" if self.length is None else f" of {self.length:,}"
        loader = f", DataLoader with batch_size={self.batch_size}" if self.collate else ""
        pulled = f"{len(self.items):,}{length} items pulled"
        return f"{self.dataset}, {pulled}{loader}"

    @property
    def collated_by_default(self) -> bool:
        """Whether torch's default collate stacks several items: certain for a DataLoader, likely for a Dataset."""
        return self.collate == "" or (self.collate == "default" and (self.batch_size or 0) > 1)

    @classmethod
    def gather(cls, source: ItemSource, loss: LossAsked | None, resources: Resources) -> Self:
        import msgspec

        from dldoctor.fileform import to_plain

        arguments = {"target": source.target, "folder": str(source.folder), "init": dict(source.init),
                     "items": source.items, "loss": loss.name if loss else None}  # fmt: skip
        run = run_child("dldoctor.facts.live.pull:pull", arguments, resources, cwd=source.folder)
        if run.end.kind == "exception":
            raise RuntimeError(run.end.detail)  # what user code raises is caught: this is a defect of ours
        sent = run.facts.get("items")
        if sent is None and run.end.kind == "done":
            raise Unavailable("the items could not be read")
        empty: dict[str, Any] = {"kind": "", "dataset": source.target, "length": None, "failures": [], "collate": ""}
        empty |= {"batch_size": None, "drop_last": False, "workers": 0, "batch": [], "batch_failure": None}
        partial = {**empty, **run.facts.get("about", {}), "items": run.facts.get("pulled", [])}
        plain = {**(sent or partial), "seconds": run.seconds}
        plain |= {"end": to_plain(run.end), "reading": run.facts.get("reading")}
        return msgspec.convert(plain, cls)


_INPUT_NAMES = ("image", "images", "img", "pixel_values", "input", "inputs", "x")


def input_leaf(leaves: tuple[Leaf, ...]) -> Leaf | None:
    """The leaf that goes into the network: the entry called image, ..., else the first one with three axes or more."""
    by_path = {leaf.path: leaf for leaf in leaves if len(leaf.shape) >= 3 and leaf.path not in _TARGET_NAMES}
    return next((by_path[name] for name in _INPUT_NAMES if name in by_path), next(iter(by_path.values()), None))


_TARGET_NAMES = ("target", "targets", "label", "labels", "y", "mask", "masks", "class", "category")


def target_leaf(leaves: tuple[Leaf, ...]) -> Leaf | None:
    """The leaf that goes into the loss: the second element of a pair, or the entry called label, target, mask, ..."""
    by_path = {leaf.path: leaf for leaf in leaves}
    if set(by_path) == {"0", "1"}:
        return by_path["1"]
    return next((by_path[name] for name in _TARGET_NAMES if name in by_path), None)
