"""YOLO: a .txt for each picture, in labels/ beside images/ or next to it; data.yaml names classes and splits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dldoctor.facts.dataset.annotated import Annotated, Fault, Missing, with_all_columns
from dldoctor.facts.dataset.files import File, shown
from dldoctor.facts.dataset.layouts.recognition import Search, layout
from dldoctor.facts.dataset.layouts.yolo_config import YoloConfig, find_config
from dldoctor.facts.dataset.lookup import Lookup, folder_of
from dldoctor.facts.dataset.names import split_of
from dldoctor.facts.dataset.samples import Contents, Picture

if TYPE_CHECKING:
    import polars

#: label files looked at to know them for YOLO's
_SAMPLE = 40
#: splits of fewer pictures may be all background
_FEW = 10


@layout("yolo", order=20, title="YOLO", wants="images/ and labels/ with a .txt of the same name for each picture")
def yolo(search: Search) -> Contents | None:
    config = find_config(search)
    texts = {file.path: file for file in search.root.all_others if file.name.lower().endswith(".txt")}
    if config is None and not texts:
        return None
    stems = {file.stem for file in texts.values()}
    labels = {
        file.path: text
        for file in search.root.all_pictures
        if file.stem in stems and (text := _label_of(file, texts)) is not None
    }
    if config is None and not _hold_objects(search.path, list(labels.values())):
        return None
    if not labels and not (config and config.pictures):
        return None
    pictures = [file for file in search.root.all_pictures if config is None or not config.elsewhere(file, labels)]
    splits = _splits(search, config, pictures)
    order = [file for file in pictures if file.path in labels]
    boxes, faults, empty = _read(search.path, [labels[file.path] for file in order], config)
    annotated = Annotated(
        _named(boxes, order, labels, splits, config),
        (*(config.faults if config else ()), *faults),
        (*_unlabelled_splits(config, labels), *_without_picture(search, texts, labels)),
        tuple((labels[file.path].shown, 1) for file in order),
        # a picture without a file is background, unless background is written as empty files here
        frozenset(labels) if empty else frozenset(file.path for file in pictures),
        config.names if config else (),
        config.shown if config and config.names else "",
    )
    where = folder_of(labels[order[0].path]) if order else ""
    by = config.shown if config else f"{len(labels):,} label files in {where or '.'}"
    return Contents(
        by,
        tuple(Picture(file, splits.get(file.path), companion=labels.get(file.path)) for file in pictures),
        annotated=annotated,
        declared=tuple(sorted(config.splits)) if config else (),
    )


def _label_of(picture: File, texts: dict[str, File]) -> File | None:
    """The picture's label file: the last images/ of its path is labels/, else it lies beside."""
    stem = "/" + (picture.path.rpartition(".")[0] or picture.path)
    before, images, after = stem.rpartition("/images/")
    for path in ((f"{before}/labels/{after}.txt",) if images else ()) + (f"{stem}.txt",):
        if path[1:] in texts:
            return texts[path[1:]]
    return None


def _hold_objects(root: Path, labels: Sequence[File]) -> bool:
    """Whether most of some label files hold boxes; empty ones say nothing."""
    from dldoctor.facts.dataset.reading.yolo import is_yolo

    filled = [file for file in labels if file.size > 0]
    found = [is_yolo(_bytes(root, file)[0] or b"") for file in filled[:: max(1, len(filled) // _SAMPLE)]]
    return 2 * sum(found) > len(found)


def _bytes(root: Path, file: File) -> tuple[bytes | None, Fault | None]:
    try:
        return (root / file.path).read_bytes(), None
    except OSError as error:
        return None, Fault(file.shown, f"can't be read: {error.strerror}")


def _read(root: Path, labels: list[File], config: YoloConfig | None) -> tuple[polars.DataFrame, list[Fault], bool]:
    """The boxes of all label files, the faults, and whether some of the files are empty."""
    from dataclasses import replace

    from dldoctor.facts.dataset.reading.yolo import read_yolo

    read = [_bytes(root, file) for file in labels]
    boxes, faults = read_yolo([data for data, _ in read], config.keypoints if config else None)
    named = [replace(fault, path=labels[int(fault.path)].shown) for fault in faults]
    unread = [fault for _, fault in read if fault is not None]
    return boxes, [*unread, *named], any(data is not None and not data.strip() for data, _ in read)


def _named(
    boxes: polars.DataFrame,
    order: list[File],
    labels: dict[str, File],
    splits: dict[str, str],
    config: YoloConfig | None,
) -> polars.DataFrame:
    import polars

    files = polars.DataFrame(
        {
            "file": polars.Series(range(len(order)), dtype=polars.Int64),
            "source": polars.Series([labels[file.path].shown for file in order], dtype=polars.String),
            "picture": polars.Series([file.shown for file in order], dtype=polars.String),
            "split": polars.Series([splits.get(file.path) for file in order], dtype=polars.String),
        }
    )
    names = config.names if config else ()
    classes = polars.DataFrame(
        {
            "class_index": polars.Series(range(len(names)), dtype=polars.Int64),
            "name": polars.Series(list(names), dtype=polars.String),
        }
    )
    frame = boxes.join(files, on="file", how="left", maintain_order="left")
    return with_all_columns(frame.join(classes, on="class_index", how="left", maintain_order="left"))


def _splits(search: Search, config: YoloConfig | None, pictures: Sequence[File]) -> dict[str, str]:
    """By hand, by data.yaml, by the folders of the search, or by any folder of a picture's path that is called so."""
    found = dict(search.split_of_path)
    if config is not None and not search.splits:
        found |= config.pictures
    for file in pictures:
        if file.path not in found:
            split = next((s for part in folder_of(file).split("/") if (s := split_of(part)) is not None), None)
            if split is not None:
                found[file.path] = split
    return found


def _unlabelled_splits(config: YoloConfig | None, labels: dict[str, File]) -> Iterator[Missing]:
    """What data.yaml names in vain, and splits none of whose pictures has a label file where it is looked for."""
    if config is None:
        return
    yield from {(entry.source, entry.line, entry.name): entry for entry in config.missing}.values()
    for split in ("train", "val"):
        pictures = [path for path, of in config.pictures.items() if of == split]
        if len(pictures) >= _FEW and not any(path in labels for path in pictures):
            before, images, after = f"/{pictures[0]}".rpartition("/images/")
            stem = f"{before}/labels/{after}" if images else f"/{pictures[0]}"
            yield Missing(config.shown, None, shown(stem[1:].rpartition(".")[0] + ".txt"), None, split)


def _without_picture(search: Search, texts: dict[str, File], labels: dict[str, File]) -> Iterator[Missing]:
    """Label files whose picture is not there, in folders that hold label files."""
    from dldoctor.facts.dataset.reading.yolo import is_yolo

    used = {file.path for file in labels.values()}
    homes = {folder_of(file) for file in labels.values()}
    lookup: Lookup | None = None
    for path, file in texts.items():
        if path not in used and folder_of(file) in homes and is_yolo(_bytes(search.path, file)[0] or b""):
            lookup = lookup or Lookup(search.root.all_pictures)
            yield Missing(file.shown, None, file.stem, lookup.near(file.stem + ".jpg"))
