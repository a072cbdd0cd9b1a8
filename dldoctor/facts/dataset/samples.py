"""What a dataset is made of, once its layout is known: pictures, class folders, pairs, label files."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from dldoctor.facts.dataset.annotated import Annotated
from dldoctor.facts.dataset.files import File, shown
from dldoctor.facts.dataset.label_tables import LabelFile, form_of
from dldoctor.facts.dataset.pairing import MaskPair


@dataclass(frozen=True)
class ClassFolder:
    """A folder that torchvision's ImageFolder takes for a class; `loadable` are the files it would load."""

    path: str
    split: str | None
    name: str
    pictures: int
    loadable: int
    #: endings of its files, most frequent first
    endings: tuple[str, ...] = ()
    stray: bool = False


@dataclass(frozen=True)
class Picture:
    """A picture file with its split and, by its folder, its class."""

    file: File
    split: str | None
    label: str | None = None
    #: the annotation file of this picture alone (YOLO's .txt, Pascal VOC's .xml), which goes where the picture goes
    companion: File | None = None


@dataclass(frozen=True)
class Contents:
    """All that a layout makes of a folder, and by what it was recognised."""

    by: str
    pictures: tuple[Picture, ...] = ()
    pairs: tuple[MaskPair, ...] = ()
    class_folders: tuple[ClassFolder, ...] = ()
    label_files: tuple[LabelFile, ...] = ()
    annotated: Annotated | None = None
    #: splits that are told of, whether or not they have pictures of their own (YOLO's `val: images/train`)
    declared: tuple[str, ...] = ()

    @property
    def masks(self) -> tuple[File, ...]:
        return tuple({pair.mask.path: pair.mask for pair in self.pairs if pair.mask}.values())

    @property
    def splits(self) -> tuple[str, ...]:
        order = ["train", "val", "test"]
        found = {*self.declared, *(picture.split for picture in self.pictures if picture.split)}
        return tuple(sorted(found, key=lambda name: (order.index(name) if name in order else len(order), name)))

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes in the order of their indices: as annotations say, or by the names of folders and rows."""
        if self.annotated is not None and self.annotated.classes:
            return self.annotated.classes
        folders = {folder.name for folder in self.class_folders if not folder.stray and folder.pictures}
        if folders:
            return tuple(sorted(folders))
        texts = Counter(row.text for file in self.label_files for row in file.rows)
        forms = {text: form_of(text) for text in texts}
        if 2 * sum(count for text, count in texts.items() if forms[text] == "number") > texts.total():
            return ()  # a quantity
        return tuple(sorted(text for text, form in forms.items() if form != "blank"))


def readable(contents: Contents) -> Contents:
    """The same with names of classes that any table and screen can hold, where folders have others."""
    folders = tuple(
        replace(folder, name=shown(folder.name), endings=tuple(map(shown, folder.endings)))
        for folder in contents.class_folders
    )
    if folders == contents.class_folders:
        return contents  # as nearly always; then there is no need to look at each picture
    pictures = tuple(
        replace(picture, label=shown(picture.label)) if picture.label is not None else picture
        for picture in contents.pictures
    )
    return replace(contents, class_folders=folders, pictures=pictures)
