"""torchvision's ImageFolder: one folder of pictures for each class."""

from __future__ import annotations

import re
from collections import Counter

from dldoctor.facts.dataset.files import LOADABLE, Folder
from dldoctor.facts.dataset.layouts.recognition import Search, layout, listed
from dldoctor.facts.dataset.names import is_images, is_masks, is_part, is_view
from dldoctor.facts.dataset.samples import ClassFolder, Contents, Picture

#: what names of smaller copies end in: `0001x4`
_SCALE = re.compile(r"x\d$")


@layout(
    "imagefolder",
    order=70,
    title="ImageFolder",
    wants="one folder of pictures for each class, perhaps inside train/ and val/",
)
def class_folders(search: Search) -> Contents | None:
    labelled = [(split, base) for split, base in search.bases if search.told or _holds_classes(base)]
    names = {folder.name for _, base in labelled for folder in base.bearing}
    enough = len(names) > 1 or (
        len(labelled) > 1 and not any(is_images(name.rstrip("_0123456789")) for name in names)  # KITTI's image_2
    )
    if not (names and (enough or search.told)):
        return None
    if not search.told and any(_are_views(base) for _, base in labelled):
        return None
    beside = [folder for _, base in labelled for folder in base.folders if not folder.all_pictures]
    if not search.told and any(is_masks(folder.name) and folder.all_others for folder in beside):
        return None  # annotations/ or labels/ beside them: these folders are parts, not classes
    pictures: list[Picture] = []
    classes: list[ClassFolder] = []
    for split, base in search.bases:
        if (split, base) not in labelled:
            pictures += [Picture(file, split) for file in base.all_pictures]
            continue
        classes += [_class_folder(split, folder, stray=False) for folder in base.folders]
        classes += [_class_folder(split, folder, stray=True) for folder in base.strays]
        for folder in base.folders:
            pictures += [Picture(file, split, folder.name) for file in folder.all_pictures]
    where = f"each of {listed([base.shown for _, base in labelled])}" if labelled[0][0] else labelled[0][1].shown
    return Contents(
        f"{len(names)} folders of pictures in {where}",
        (*pictures, *search.beside(pictures)),
        class_folders=tuple(classes),
    )


def _holds_classes(base: Folder) -> bool:
    inside = sum(len(folder.all_pictures) for folder in base.bearing)
    names = [folder.name for folder in base.bearing]
    return inside > len(base.pictures) and not all(map(is_part, names)) and not all(map(is_images, names))


def _are_views(base: Folder) -> bool:
    """Whether the folders hold views of the same scenes, file by file: `rgb` and `depth`, `HR` and `LR`, `trainA` and
    `trainB`. Classes may be numbered alike, so the names must say so, too."""
    if len(base.bearing) < 2 or not all(is_view(folder.name) for folder in base.bearing):
        return False
    scenes = [{_SCALE.sub("", file.stem) for file in folder.all_pictures} for folder in base.bearing]
    return len(set.intersection(*scenes)) >= 0.9 * min(map(len, scenes))


def _class_folder(split: str | None, folder: Folder, stray: bool) -> ClassFolder:
    named = Counter(file.path.rpartition(".")[2].lower() for file in (*folder.all_pictures, *folder.all_others))
    endings: Counter[str] = Counter()
    for ending, count in named.items():
        endings["" if "/" in ending else ending] += count  # a slash: the last dot is a folder's
    return ClassFolder(
        folder.shown,
        split,
        folder.name,
        len(folder.all_pictures),
        sum(count for ending, count in endings.items() if f".{ending}" in LOADABLE),
        tuple(ending for ending, _ in endings.most_common()),
        stray,
    )
