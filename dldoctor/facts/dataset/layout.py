"""How a dataset is laid out: recognised by what lies where, or told by --layout."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from dldoctor.fact import BadInput, Fact
from dldoctor.facts.dataset.annotations import LabelFile, LabelRow, label_files
from dldoctor.facts.dataset.files import LOADABLE, File, Folder, Listing
from dldoctor.facts.dataset.names import is_images, is_masks, is_numbered, is_part, split_folders
from dldoctor.facts.dataset.pairing import MaskPair, find_pairs, only_listed
from dldoctor.facts.subjects import DatasetFolder


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
class Layout(Fact):
    """What kind of dataset this is, and by what it was recognised."""

    waiting_for: ClassVar[str] = "the list of files"

    kind: str
    by: str
    splits: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    pictures: int = 0
    masks: int = 0
    #: files that are no pictures by their names: README, labels, hidden files
    sidecars: int = 0
    class_folders: tuple[ClassFolder, ...] = ()

    @property
    def said(self) -> str:
        """`ImageFolder with train and val, 5 classes, 4,212 pictures`."""
        parts = [TITLES[self.kind] + (f" with {_listed(self.splits)}" if self.splits else "")]
        if self.classes:
            parts.append(f"{len(self.classes)} class{'es' * (len(self.classes) != 1)}")
        parts.append(f"{self.pictures:,} picture{'s' * (self.pictures != 1)}")
        if self.masks:
            parts.append(f"{self.masks:,} mask{'s' * (self.masks != 1)}")
        return ", ".join(parts)

    @classmethod
    def gather(cls, inventory: Inventory) -> Self:
        rows = [row for file in inventory.label_files for row in file.rows]
        names = sorted(
            {folder.name for folder in inventory.class_folders if not folder.stray and folder.pictures}
            or {row.text for row in rows if row.text}
        )
        return cls(
            inventory.kind,
            inventory.by,
            inventory.splits,
            tuple(names),
            len(inventory.pictures),
            len(inventory.masks),
            inventory.sidecars,
            inventory.class_folders,
        )


@dataclass(frozen=True)
class Inventory(Fact):
    """Every picture, mask and label file, sorted by what it is for."""

    saved: ClassVar[bool] = False
    waiting_for: ClassVar[str] = "the list of files"

    kind: str
    by: str
    pictures: tuple[Picture, ...] = ()
    pairs: tuple[MaskPair, ...] = ()
    class_folders: tuple[ClassFolder, ...] = ()
    label_files: tuple[LabelFile, ...] = ()
    sidecars: int = 0

    @property
    def masks(self) -> tuple[File, ...]:
        return tuple({pair.mask.path: pair.mask for pair in self.pairs if pair.mask}.values())

    @property
    def splits(self) -> tuple[str, ...]:
        order = ["train", "val", "test"]
        found = dict.fromkeys(picture.split for picture in self.pictures if picture.split)
        return tuple(sorted(found, key=lambda name: (order.index(name) if name in order else len(order), name)))

    @classmethod
    def gather(cls, listing: Listing, dataset: DatasetFolder) -> Self:
        if dataset.layout is not None and dataset.layout not in LAYOUTS:
            raise BadInput(f"--layout {dataset.layout}: write one of {', '.join(LAYOUTS)}")
        if not listing.root.all_pictures:
            raise BadInput(
                f"{dataset.shown}: no picture in it or below "
                f"({_counted(listing.root)}); point at the folder that holds the pictures"
            )
        splits = []
        for name, path in dataset.splits:
            folder = listing.root.find(path)
            if folder is None or not folder.all_pictures:
                raise BadInput(f"--split {name}={path}: no picture in that folder")
            splits.append((name, folder))
        chosen = {dataset.layout: LAYOUTS[dataset.layout]} if dataset.layout else LAYOUTS
        for name, recognise in chosen.items():
            found = recognise(listing.root, splits, dataset)
            if found is not None:
                counted = replace(found, sidecars=len(listing.root.all_others))
                return cls(**{**vars(counted), "by": "--layout " + name if dataset.layout else found.by})
        raise BadInput(
            f"{dataset.shown}: is not laid out as --layout {dataset.layout} ({_WANTS[dataset.layout or '']})"
        )


def _counted(root: Folder) -> str:
    others = len(root.all_others)
    return f"{others} other file{'s' * (others != 1)}" if others else "the folder is empty"


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _inward(root: Folder) -> Folder:
    """Past folders that hold nothing but one folder: an archive unpacked into a folder of its own name."""
    while (
        len(root.bearing) == 1
        and not root.pictures
        and not split_folders(root)
        and len(root.bearing[0].bearing) > 0
        and not is_images(root.bearing[0].name)
    ):
        root = root.bearing[0]
    return root


def _bases(root: Folder, splits: list[tuple[str, Folder]]) -> list[tuple[str | None, Folder]]:
    found: list[tuple[str | None, Folder]] = list(splits or split_folders(root))
    if not found and len(root.bearing) == 1 and is_images(root.bearing[0].name):
        inner = root.bearing[0]
        found = list(split_folders(inner))  # images/train, images/val
        if not found and len(inner.bearing) > 1 and not all(is_numbered(folder.name) for folder in inner.bearing):
            return [(None, inner)]  # images/cat, images/dog
    return found or [(None, root)]


def _pairs(root: Folder, splits: list[tuple[str, Folder]], dataset: DatasetFolder) -> Inventory | None:
    root = _inward(root)
    found = find_pairs(root, splits, dataset.layout is not None)
    if found is None:
        return None
    if found.partial:
        found = only_listed(found, root, dataset.path)
    images = {pair.image.path: Picture(pair.image, pair.split) for pair in found.pairs if pair.image}
    loose = [Picture(file, None) for file in found.unmasked if file.path not in images]
    return Inventory("pairs", found.by, (*images.values(), *loose), found.pairs)


def _csv(root: Folder, splits: list[tuple[str, Folder]], dataset: DatasetFolder) -> Inventory | None:
    inner = _inward(root)
    found: list[LabelFile] = []
    for base in dict.fromkeys((root, inner)):
        found += label_files(base, dataset.path, root.all_pictures)
    bases = _bases(inner, splits)
    for split, base in bases:
        if split is not None:
            found += label_files(base, dataset.path, base.all_pictures, split)
    if not found:
        return None
    in_split = {file.path: split for split, base in bases for file in base.all_pictures}
    named = {row.picture: row for label_file in found for row in label_file.rows if row.picture}
    if dataset.layout is None and _repeats_folders(named, bases):
        return None
    pictures = []
    for file in root.all_pictures:
        row = named.get(file.path)
        pictures.append(
            Picture(file, in_split.get(file.path) or (row.split if row else None), row.text if row else None)
        )
    found = [
        replace(
            label_file,
            rows=tuple(replace(row, split=row.split or in_split.get(row.picture or "")) for row in label_file.rows),
        )
        for label_file in found
    ]
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return Inventory(
        "csv",
        f"{found[0].path}, whose column {found[0].column!r} labels the pictures{more}",
        tuple(pictures),
        label_files=tuple(found),
    )


def _repeats_folders(named: Mapping[str, LabelRow], bases: list[tuple[str | None, Folder]]) -> bool:
    """Whether the label file only says again what the class folders say: each folder has one label of its own."""
    labels: dict[str, list[str]] = {}
    for _, base in bases:
        for folder in base.bearing:
            rows = (named.get(file.path) for file in folder.all_pictures)
            labels.setdefault(folder.name, []).extend(row.text for row in rows if row is not None)
    said = [set(texts) for texts in labels.values() if texts]
    one_each = all(len(texts) == 1 for texts in said) and len(set().union(*said)) == len(said)
    # with one picture in each folder any table would do that
    return len(said) > 1 and one_each and sum(map(len, labels.values())) >= 2 * len(said)


def _image_folder(root: Folder, splits: list[tuple[str, Folder]], dataset: DatasetFolder) -> Inventory | None:
    root = _inward(root)
    bases = _bases(root, splits)
    labelled = [(split, base) for split, base in bases if dataset.layout or _holds_classes(base)]
    names = {folder.name for _, base in labelled for folder in base.bearing}
    enough = len(names) > 1 or len(labelled) > 1
    if not (names and (enough or dataset.layout)):
        return None
    beside = [folder for _, base in labelled for folder in base.folders if not folder.all_pictures]
    if dataset.layout is None and any(is_masks(folder.name) and folder.all_others for folder in beside):
        return None  # annotations/ or labels/ beside them: these folders are parts, not classes
    pictures: list[Picture] = []
    classes: list[ClassFolder] = []
    for split, base in bases:
        if (split, base) not in labelled:
            pictures += [Picture(file, split) for file in base.all_pictures]
            continue
        classes += [_class_folder(split, folder, stray=False) for folder in base.folders]
        classes += [_class_folder(split, folder, stray=True) for folder in base.strays]
        for folder in base.folders:
            pictures += [Picture(file, split, folder.name) for file in folder.all_pictures]
    where = f"each of {_listed([base.shown for _, base in labelled])}" if labelled[0][0] else labelled[0][1].shown
    return Inventory(
        "imagefolder",
        f"{len(names)} folders of pictures in {where}",
        (*pictures, *_rest(root, pictures, bases)),
        class_folders=tuple(classes),
    )


def _holds_classes(base: Folder) -> bool:
    inside = sum(len(folder.all_pictures) for folder in base.bearing)
    names = [folder.name for folder in base.bearing]
    return inside > len(base.pictures) and not all(map(is_part, names)) and not all(map(is_images, names))


def _class_folder(split: str | None, folder: Folder, stray: bool) -> ClassFolder:
    files = (*folder.all_pictures, *folder.all_others)
    endings: dict[str, int] = {}
    for file in files:
        ending = file.name.rpartition(".")[2].lower() if "." in file.name[1:] else ""
        endings[ending] = endings.get(ending, 0) + 1
    return ClassFolder(
        folder.shown,
        split,
        folder.name,
        len(folder.all_pictures),
        sum(file.name.lower().endswith(LOADABLE) for file in files),
        tuple(sorted(endings, key=lambda ending: -endings[ending])),
        stray,
    )


def _plain(root: Folder, splits: list[tuple[str, Folder]], dataset: DatasetFolder) -> Inventory | None:
    bases = _bases(_inward(root), splits)
    pictures = [Picture(file, split) for split, base in bases for file in base.all_pictures]
    return Inventory("pictures", "pictures without labels", (*pictures, *_rest(root, pictures, bases)))


def _rest(root: Folder, pictures: Iterable[Picture], bases: Iterable[tuple[str | None, Folder]]) -> list[Picture]:
    """Pictures beside the splits: damaged ones matter all the same. None where the root is the only base."""
    if any(split is None for split, _ in bases):
        return []
    known = {picture.file.path for picture in pictures}
    return [Picture(file, None) for file in root.all_pictures if file.path not in known]


#: in the order they are tried
LAYOUTS: dict[str, Callable[[Folder, list[tuple[str, Folder]], DatasetFolder], Inventory | None]] = {
    "pairs": _pairs,
    "csv": _csv,
    "imagefolder": _image_folder,
    "pictures": _plain,
}
TITLES = {
    "pairs": "image/mask pairs",
    "csv": "pictures with a label file",
    "imagefolder": "ImageFolder",
    "pictures": "pictures",
}
_WANTS = {
    "pairs": "folders such as images/ and masks/, or names ending in _mask, whose names match",
    "csv": "a table with a column that names the pictures and a column label, class or target",
    "imagefolder": "one folder of pictures for each class, perhaps inside train/ and val/",
    "pictures": "pictures",
}
