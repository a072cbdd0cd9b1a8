"""COCO's json files, wherever they lie: train2017/ beside annotations/, or one in each split's folder."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dldoctor.facts.dataset.annotated import Annotated, CategoryList, Fault, Missing, with_all_columns
from dldoctor.facts.dataset.files import File
from dldoctor.facts.dataset.label_tables import LabelFile, LabelRow
from dldoctor.facts.dataset.layouts.recognition import Search, and_more, layout
from dldoctor.facts.dataset.lookup import Lookup, folder_of
from dldoctor.facts.dataset.names import is_masks, split_and_rest, split_of
from dldoctor.facts.dataset.samples import Contents, Picture

if TYPE_CHECKING:
    import polars

    from dldoctor.facts.dataset.reading.coco import CocoFile

#: names that promise COCO, whatever the file holds
_NAMED = re.compile(
    r"(instances|(person_)?keypoints|panoptic_|stuff_|image_info_|captions_|lvis_|coco|_?annotations?).*\.json|"
    r".*[._]coco\.json",
    re.I,
)
#: json of any name makes the dataset COCO's when it names one of so many pictures
_PART = 10
#: a folder with more json files holds one for each picture (labelme, Supervisely)
_MANY = 48
_LARGEST = 4 << 30


@dataclass
class _Source:
    file: File
    split: str | None
    read: CocoFile


@layout("coco", order=10, title="COCO", wants="a json file with the keys images, annotations and categories")
def coco(search: Search) -> Contents | None:
    sources = [source for file in _candidates(search) if (source := _read(search, file)) is not None]
    if not sources:
        return None
    lookup = Lookup(search.root.all_pictures)
    splits = dict(search.split_of_path)
    boxes: list[polars.DataFrame] = []
    faults: list[Fault] = []
    missing: list[Missing] = []
    named: dict[str, str | None] = {}
    classes = _classes(sources)
    tables: list[LabelFile] = []
    for source in sources:
        found = lookup.find_all(source.read.names, folder_of(source.file), splits, source.split)
        faults += source.read.faults
        if source.read.dangling:
            what = f"has annotations for the image_id {source.read.dangling_id}, which no image has"
            faults.append(Fault(source.file.shown, what, count=source.read.dangling, mild=True))
        missing += _missing(source, found, lookup)
        for file in found:
            if file is not None:
                named.setdefault(file.path, source.split or splits.get(file.path))
        boxes.append(_boxes(source, found, named, classes))
        tables += _table(source, found, named)
    promised = any(_NAMED.fullmatch(source.file.name) for source in sources)
    if not search.told and not faults and len(named) < (1 if promised else len(search.root.all_pictures) / _PART):
        return None  # json about pictures that lie elsewhere, or about a few of these
    import polars

    labels = {row.picture: row.text for table in tables for row in table.rows}
    pictures = [
        Picture(file, named.get(file.path) or splits.get(file.path), labels.get(file.path))
        for file in search.root.all_pictures
        if file.path in named or not _of_masks(file)
    ]
    annotated = Annotated(
        polars.concat(boxes),
        tuple(faults),
        tuple(missing),
        tuple((source.file.shown, len(source.read.names)) for source in sources),
        frozenset(named),
        tuple(classes.values()),
        next((source.file.shown for source in sources if source.read.categories), ""),
        tuple(
            CategoryList(source.file.shown, source.split, tuple(source.read.categories.items()))
            for source in sources
            if source.split is not None and source.read.boxes.height
        ),
    )
    return Contents(f"{sources[0].file.shown}{and_more(sources)}", tuple(pictures), (), (), tuple(tables), annotated)


def _candidates(search: Search) -> Iterator[File]:
    for folder in search.root.within():
        files = [file for file in folder.others if file.name.lower().endswith(".json") and file.size <= _LARGEST]
        for file in files:
            if len(files) <= _MANY or _NAMED.fullmatch(file.name):
                yield file


def _read(search: Search, file: File) -> _Source | None:
    split = split_and_rest(file.stem)[0] or split_of(folder_of(file).rpartition("/")[2])
    promised = _NAMED.fullmatch(file.name) is not None
    try:
        data = (search.path / file.path).read_bytes()
    except OSError as error:
        if not promised:
            return None
        return _Source(file, split, _only_fault(Fault(file.shown, f"can't be read: {error.strerror}")))
    from dldoctor.facts.dataset.reading.coco import is_coco, read_coco
    from dldoctor.facts.dataset.reading.places import cause_of_failure

    if is_coco(data):
        read = read_coco(data, file.shown)
        return _Source(file, split, read) if read is not None else None
    fault = cause_of_failure(data, file.shown, "") if promised else None
    return _Source(file, split, _only_fault(fault)) if fault is not None else None


def _only_fault(fault: Fault) -> CocoFile:
    from dldoctor.facts.dataset.reading.coco import CocoFile

    return CocoFile(faults=[fault])


def _classes(sources: list[_Source]) -> dict[int, str]:
    """Categories by id over all files. Files for other tasks (stuff, panoptic) number theirs from the same ids."""
    found: dict[int, str] = {}
    for source in sorted(sources, key=lambda source: -source.read.boxes.height):
        if source.read.boxes.height or not found:
            for number, name in source.read.categories.items():
                found.setdefault(number, name)
    return dict(sorted(found.items()))


def _missing(source: _Source, found: list[File | None], lookup: Lookup) -> list[Missing]:
    """What a file names in vain. One none of whose pictures are here is for a part that was never fetched."""
    entries = []
    for name, file in zip(source.read.names, found, strict=True):
        if file is None or "\\" in name:
            near = lookup.near(name) if file is None else file.shown
            entries.append(Missing(source.file.shown, None, name, near, source.split))
    return entries if any(found) or any(entry.near for entry in entries) else []


def _boxes(
    source: _Source, found: list[File | None], named: dict[str, str | None], classes: dict[int, str]
) -> polars.DataFrame:
    import polars

    read = source.read
    if not read.boxes.height:
        return with_all_columns(polars.DataFrame())
    images = polars.DataFrame(
        {
            "image": polars.Series(range(len(found)), dtype=polars.UInt32),
            "picture": polars.Series([file and file.shown for file in found], dtype=polars.String),
            "split": polars.Series([file and named.get(file.path) for file in found], dtype=polars.String),
        }
    )
    own = list(read.categories)
    indices: dict[str, Any] = {
        "class_id": polars.Series(own, dtype=polars.Int64),
        "class_index": polars.Series([_index(classes, number) for number in own], dtype=polars.Int64),
        "name": polars.Series(list(read.categories.values()), dtype=polars.String),
    }
    frame = read.boxes.join(images, on="image", how="left", maintain_order="left").join(
        polars.DataFrame(indices), on="class_id", how="left", maintain_order="left"
    )
    return with_all_columns(
        frame.with_columns(polars.lit(source.file.shown).alias("source"), polars.lit("xywh").alias("kind"))
    )


def _table(source: _Source, found: list[File | None], named: dict[str, str | None]) -> Iterator[LabelFile]:
    """The labels of a file that classifies whole pictures."""
    names = source.read.categories
    rows = []
    for number, label in source.read.labels.items():
        file = found[number]
        if file is not None:
            text = names.get(label, str(label))
            rows.append(LabelRow(source.file.shown, None, file.path, named.get(file.path), text))
    if rows:
        yield LabelFile(source.file.shown, "category_id", tuple(rows), named=True)


def _index(classes: dict[int, str], number: int) -> int:
    return list(classes).index(number) if number in classes else number


def _of_masks(file: File) -> bool:
    """Whether a picture that no json names lies in a folder of masks: panoptic_train2017, stuffthingmaps, ..."""
    return any(
        is_masks(split_and_rest(part)[1]) or part.lower().startswith(("panoptic", "stuff", "sem_seg"))
        for part in folder_of(file).split("/")
    )
