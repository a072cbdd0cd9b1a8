"""What folder names and file names mean to people who lay out datasets."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from dldoctor.facts.dataset.files import File, Folder

_SPLIT = re.compile(
    r"(?:(?:images?|imgs?|data|set|split)[ _\-]?)?"
    r"(?P<split>train(?:ing|val)?|val(?:id(?:ation)?)?|dev|test(?:ing)?|eval(?:uation)?|hold[_\-]?out)"
    r"(?:[ _\-]?(?:images?|imgs?|data(?:set)?|set|split|\d+))*",
    re.I,
)
_CANONICAL = {"tr": "train", "va": "val", "de": "val", "te": "test", "ev": "test", "ho": "test"}
_IMAGES = re.compile(
    r"(?:jpeg|png|color|raw|input|rgb)?[ _\-]?(?:images?|imgs?)|leftImg8bit|inputs?|photos?|pictures?|pics|rgb|frames?|"
    r"data|x",
    re.I,
)
_MASKS = re.compile(
    r"(?:[a-z]+[ _\-])?(?:masks?|segmentation[ _\-]?class(?:es)?|seg(?:mentation)?s?[ _\-]?(?:masks?|maps?|labels?)?|"
    r"labels?|label[ _\-]?(?:masks?|maps?|images?)|annotations?|annots?|gt|gt[ _\-]?fine|ground[ _\-]?truths?|"
    r"trimaps?|targets?|mattes?|y)",
    re.I,
)
_MASK_ENDING = re.compile(
    r"(?P<image>.+?)[ _\-.](?:masks?|seg|segmentation|labels?|gt|ground_?truth|matte|annotation|trimap)(?:[ _\-]?\d+)?",
    re.I,
)
_PART = re.compile(
    r"(?:folds?|parts?|batch|chunk|shard|split|video|vid|seq|sequence|frames?|scene|session|patient|subject|day|dir)"
    r"[ _\-]?\d+",
    re.I,
)
_VIEW = re.compile(
    r"(?:rgb|colou?rs?|images?|depth|disp(?:arity)?|normals?|thermal|infrared|n?ir|flow|edges?|hr|lr|gt|inputs?|targets?|"
    r"clean|noisy|blur(?:red|ry)?|sharp|degraded|haz[ey]|rainy?|low|high|source|(?:train|test|val)_?[ab]|left|right)"
    r"(?:[ _\-]?x?\d+)?",
    re.I,
)
_JOINED = re.compile(r"(train|val|test)(annot|annotations?|masks?|labels?|gt)", re.I)
_MASK_HINT = re.compile("mask|seg|label|gt|truth|matte|annotation|trimap", re.I)
_MASK_BEGINNING = re.compile(r"(?:masks?|seg|gt|label)[_\-](?P<image>.+)", re.I)


def split_of(name: str) -> str | None:
    """`train`, `val` or `test` when a folder or file name means one."""
    match = _SPLIT.fullmatch(name)
    return _CANONICAL[match["split"][:2].lower()] if match else None


def is_images(name: str) -> bool:
    """Whether a folder of this name holds pictures of no class in particular."""
    return _IMAGES.fullmatch(name) is not None


def is_masks(name: str) -> bool:
    """Whether a folder of this name holds masks, when it stands beside a folder of pictures."""
    return _MASKS.fullmatch(name) is not None


def is_part(name: str) -> bool:
    """Whether a folder's name counts portions (`fold1`, `part_2`, `video003`) rather than naming a class."""
    return _PART.fullmatch(name) is not None


def is_view(name: str) -> bool:
    """Whether a folder of this name may hold one of several pictures of each scene."""
    return _VIEW.fullmatch(name) is not None


def is_numbered(name: str) -> bool:
    """Whether a name is a number, with letters before it or not."""
    return re.fullmatch(r"[A-Za-z_\- ]*\d+", name) is not None


def split_and_rest(name: str) -> tuple[str | None, str]:
    """`train_masks` -> (`train`, `masks`); `masks` -> (None, `masks`); `train` -> (`train`, "")."""
    if joined := _JOINED.fullmatch(name):
        return split_of(joined[1]), joined[2]
    parts = [part for part in re.split(r"[ _\-]", name) if part]
    for at in (0, -1):
        split = split_of(parts[at]) if parts else None
        if split is not None:
            rest = parts[1:] if at == 0 else parts[:-1]
            return split, "_".join(rest)
    return None, name


def image_stem_of_mask(stem: str) -> str | None:
    """`cat_mask` -> `cat`, `mask_cat` -> `cat`; None for a name that is no mask's."""
    match = _MASK_ENDING.fullmatch(stem) or _MASK_BEGINNING.fullmatch(stem)
    return match["image"] if match else None


def hints_at_mask(name: str) -> bool:
    """Whether `image_stem_of_mask` could find anything in a name; a tenth of its time."""
    return _MASK_HINT.search(name) is not None


def split_folders(base: Folder) -> list[tuple[str, Folder]]:
    """The folders directly below that are splits. One alone may be a class of that name (a train among cars)."""
    found = [(split, folder) for folder in base.bearing if (split := split_of(folder.name))]
    if len({split for split, _ in found}) > 1:
        return found
    same_rest: dict[str, list[tuple[str, Folder]]] = {}
    for folder in base.bearing:
        split, rest = split_and_rest(folder.name)
        if split is not None and not is_masks(rest):
            same_rest.setdefault(rest, []).append((split, folder))
    for group in same_rest.values():  # bounding_box_train, bounding_box_test
        if len({split for split, _ in group}) > 1:
            return group
    siblings = [folder for folder in base.bearing if folder not in [f for _, f in found]]
    if found and (not siblings or any(len(folder.bearing) > 1 for _, folder in found)):
        return found
    return []


def keys(files: Sequence[File], base: str, bare: bool) -> dict[str, File]:
    """Files by what their partner's name must share: the path below `base` without its ending; `bare` drops the
    folders and the affixes that all names have in common (`img_001`, `001_leftImg8bit`)."""
    if not bare:
        return {_below(file, base): file for file in files}
    stems = [file.stem for file in files]
    before, after = common_affixes(stems)
    found: dict[str, File] = {}
    doubled: Counter[str] = Counter()
    for file, stem in zip(files, stems, strict=True):
        key = image_stem_of_mask(stem) or stem
        if len(stem) > before + after and (before or after):
            key = stem[before : len(stem) - after]
        doubled[key] += 1
        found[key] = file
    return {key: file for key, file in found.items() if doubled[key] == 1}


def common_affixes(stems: Iterable[str]) -> tuple[int, int]:
    """Lengths of the beginning and the end that all names share, digits not counted."""
    names = list(dict.fromkeys(stems))
    if len(names) < 2:
        return 0, 0
    shared = _beginning(names)
    before = re.sub(r"[^_\-. ]*$", "", shared) or _letters(shared, names)
    after = re.sub(r"[^_\-. ]*$", "", _beginning([name[::-1] for name in names]))
    return len(before), len(after)


def _beginning(names: Sequence[str]) -> str:
    """What all names begin with: what the first and the last in order do."""
    least, most = min(names), max(names)
    return least[: next((n for n, (a, b) in enumerate(zip(least, most, strict=False)) if a != b), len(least))]


def _letters(prefix: str, names: list[str]) -> str:
    """`img` of `img1`, `img2`: a common beginning counts when digits follow it everywhere."""
    letters = prefix.rstrip("0123456789")
    return letters if all(name[len(letters) :].isdigit() for name in names) else ""


def _below(file: File, base: str) -> str:
    path = file.path[len(base) + 1 :] if base else file.path
    return path.rpartition(".")[0] or path
