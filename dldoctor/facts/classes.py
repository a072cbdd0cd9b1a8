"""How many classes there are, and who says so: the network's last layer, `--classes`, or the annotations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from dldoctor.fact import Fact, Unavailable
from dldoctor.facts.dataset.layout import Layout
from dldoctor.facts.model.head import ModelHead
from dldoctor.facts.subjects import ClassesAsked


@dataclass(frozen=True)
class ClassCount(Fact):
    """The number of classes that labels must stay below."""

    flag: ClassVar[str] = "--classes N"

    count: int
    #: "--classes", the layer as `fc2, Linear(128, 4)`, or the file that declares them, such as data.yaml
    said_by: str
    #: the last layer, when it was the one to say it
    head: ModelHead | None = None

    @classmethod
    def gather(cls, asked: ClassesAsked | None, head: ModelHead | None, layout: Layout | None) -> Self:
        if head is not None:
            return cls(head.width, f"{head.layer}, {head.what}", head)
        if asked is not None:
            return cls(asked.count, "--classes")
        if layout is not None and layout.declared_in:
            return cls(len(layout.classes), layout.declared_in)
        raise Unavailable("needs --classes N or a model")


@dataclass(frozen=True)
class KnownClasses(Fact):
    """The number of classes that the user or the dataset says, whatever the network says."""

    flag: ClassVar[str] = "--classes N, or a dataset (--data FOLDER)"

    count: int
    #: "--classes", the file that declares them, or "" for the folders of a dataset
    said_by: str = "--classes"

    @classmethod
    def gather(cls, asked: ClassesAsked | None, layout: Layout | None) -> Self:
        if asked is not None:
            return cls(asked.count)
        if layout is not None and layout.classes and (layout.declared_in or layout.class_folders):
            return cls(len(layout.classes), layout.declared_in)
        raise Unavailable("needs --classes N, or a dataset with classes (--data FOLDER)")
