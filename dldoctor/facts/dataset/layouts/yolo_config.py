"""YOLO's data.yaml (or darknet's obj.names): the names of the classes, and which pictures are in which split."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from dldoctor.facts.dataset.annotated import Fault, Missing
from dldoctor.facts.dataset.files import File, Folder
from dldoctor.facts.dataset.layouts.recognition import Search
from dldoctor.facts.dataset.lookup import Lookup, folder_of

_YAML = re.compile(r".+\.ya?ml", re.I)
_NAMES = re.compile(r"classes\.txt|(obj|.*[._-])?\.?names(\.txt)?|labels\.txt", re.I)
_SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_ALIAS = re.compile(rb"[\s\[,]\*\w")
#: aliases in a file that merges tables; tables of tables merged grow by a power of it
_MOST_ALIASES = 32
#: splits without which a training fails; test is often named and not there
_NEEDED = ("train", "val")


@dataclass
class YoloConfig:
    """What one file declares; `pictures` are the splits by path."""

    shown: str
    names: tuple[str, ...] = ()
    keypoints: tuple[int, int] | None = None
    pictures: dict[str, str] = field(default_factory=dict)
    #: splits with pictures, of their own or shared
    splits: set[str] = field(default_factory=set)
    missing: list[Missing] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    def elsewhere(self, file: File, labels: Mapping[str, File]) -> bool:
        """Whether a picture is no part of the dataset: neither in a split nor labelled (plots of earlier runs)."""
        return bool(self.pictures) and file.path not in self.pictures and file.path not in labels


def find_config(search: Search) -> YoloConfig | None:
    """The data.yaml of a dataset, or the list of names that darknet and labelImg keep."""
    found = [config for file in _files(search.root, _YAML) if (config := _read_yaml(search, file)) is not None]
    if found:
        return max(found, key=lambda config: (len(config.pictures), bool(config.names)))
    for file in _files(search.root, _NAMES):
        names = _lines(search, file)
        if names and all(len(name) < 60 for name in names):
            return YoloConfig(file.shown, tuple(names)) if _beside_labels(search, file) else None
    return None


def _files(root: Folder, pattern: re.Pattern[str], depth: int = 2) -> Iterator[File]:
    yield from (file for file in root.others if pattern.fullmatch(file.name))
    if depth:
        for folder in root.folders:
            yield from _files(folder, pattern, depth - 1)


def _lines(search: Search, file: File) -> list[str]:
    try:
        data = (search.path / file.path).read_bytes()[: 1 << 20]
    except OSError:
        return []
    return [line.strip() for line in data.decode("utf-8-sig", "replace").splitlines() if line.strip()]


def _beside_labels(search: Search, file: File) -> bool:
    """Whether the names stand in a folder, or above folders, where label files are."""
    home = folder_of(file)
    folder = search.root.find(home)
    others = folder.all_others if folder else ()
    return sum(other.name.lower().endswith(".txt") for other in others) > 1


def _read_yaml(search: Search, file: File) -> YoloConfig | None:
    import yaml

    if file.size > 1 << 20:
        return None
    try:
        data = (search.path / file.path).read_bytes()
    except OSError:
        return None
    config = YoloConfig(file.shown)
    if b"<<" in data and len(_ALIAS.findall(data)) > _MOST_ALIASES:
        config.faults.append(Fault(file.shown, "merges so many aliases that it can grow without end"))
        return config
    try:
        found = yaml.safe_load(data)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        if not re.search(rb"^(names|nc|train)\s*:", data, re.M):
            return None
        what = f"does not parse: {error.problem}"
        line = mark.line + 1 if mark else None
        text = data.decode("utf-8", "replace").splitlines()[mark.line : mark.line + 1] if mark else []
        config.faults.append(Fault(file.shown, what, line, mark.column + 1 if mark else None, "".join(text)))
        return config
    except (yaml.YAMLError, RecursionError):  # bytes that are no text
        return None
    if not isinstance(found, dict) or not ({"names", "nc"} & found.keys() and {"train", "val", "path"} & found.keys()):
        return None
    _take_names(config, found)
    shape = found.get("kpt_shape")
    if isinstance(shape, list) and len(shape) == 2 and all(type(value) is int for value in shape):
        config.keypoints = (shape[0], shape[1])
    _take_splits(config, found, search, file)
    return config


def _take_names(config: YoloConfig, found: Mapping[str, Any]) -> None:
    names, count = found.get("names"), found.get("nc")
    listed = list(names.values()) if isinstance(names, dict) else names
    if isinstance(listed, list) and any(isinstance(name, list | dict) for name in listed):
        # not written out: a few aliases of aliases hold more names than there is memory
        config.faults.append(
            Fault(config.shown, "has a list or a table among its names, where each is the name of a class")
        )
        return
    if isinstance(names, dict):
        if sorted(names, key=str) != sorted(range(len(names)), key=str):
            config.faults.append(
                Fault(config.shown, f"numbers {len(names)} names otherwise than 0 to {len(names) - 1}")
            )
        config.names = tuple(
            str(names[key]) for key in sorted(names, key=lambda key: (type(key) is not int, str(key).zfill(9)))
        )
    elif isinstance(names, list):
        config.names = tuple(map(str, names))
    if type(count) is int and config.names and count != len(config.names):
        config.faults.append(Fault(config.shown, f"gives {len(config.names)} names for nc: {count}"))


def _take_splits(config: YoloConfig, found: Mapping[str, Any], search: Search, file: File) -> None:
    base = folder_of(file)
    top = found.get("path") if isinstance(found.get("path"), str) else ""
    unresolved: list[Missing] = []
    for key, split in _SPLITS.items():
        value = found.get(key)
        for entry in value if isinstance(value, list) else [value]:
            if not isinstance(entry, str) or not entry.strip():
                continue
            pictures, missing = _resolve(search, base, str(top), entry)
            config.splits.update([split] if pictures else [])
            config.pictures.update((picture, split) for picture in pictures if picture not in config.pictures)
            config.missing += [Missing(source, line, name, near, split) for source, line, name, near in missing]
            if not pictures and split in _NEEDED and not entry.startswith(("/", "http")) and ":" not in entry:
                unresolved.append(Missing(config.shown, None, entry, None, split))
    if config.pictures and not str(top).startswith("/"):
        config.missing += unresolved  # with none found, the file may be meant for another place


def _resolve(
    search: Search, base: str, top: str, entry: str
) -> tuple[list[str], list[tuple[str, int, str, str | None]]]:
    """The pictures of a folder or of a list; the folder may be named from places that are not this machine's."""
    wanted = entry.replace("\\", "/").rstrip("/")
    parts = [part for part in wanted.split("/") if part not in ("", ".", "..")]
    above = [part for part in top.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    for start in [*(base.split("/") + above[n:] for n in range(len(above) + 1)), above, []]:
        for first in range(len(parts)):
            path = "/".join(part for part in (*start, *parts[first:]) if part)
            folder = search.root.find(path)
            if folder is not None and folder.all_pictures:
                return [picture.path for picture in folder.all_pictures], []
            listed = _file_at(search.root, path)
            if listed is not None and listed.name.lower().endswith(".txt"):
                return _listed(search, listed)
    if (len(parts) == 1 and parts[0] == search.path.name) or not parts:
        return [picture.path for picture in search.root.all_pictures], []
    return [], []


def _file_at(root: Folder, path: str) -> File | None:
    folder = root.find(path.rpartition("/")[0])
    name = path.rpartition("/")[2]
    return next((file for file in folder.others if file.name == name), None) if folder else None


def _listed(search: Search, file: File) -> tuple[list[str], list[tuple[str, int, str, str | None]]]:
    """The pictures that the lines of train.txt name."""
    names = _lines(search, file)
    lookup = Lookup(search.root.all_pictures)
    found = lookup.find_all(names, folder_of(file))
    missing = [
        (file.shown, line, name, lookup.near(name))
        for line, (name, picture) in enumerate(zip(names, found, strict=True), 1)
        if picture is None
    ]
    return [picture.path for picture in found if picture is not None], missing
