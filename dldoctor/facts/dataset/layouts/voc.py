"""Pascal VOC: an xml for each picture, in Annotations/ beside JPEGImages/, in another folder, or beside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from dldoctor.facts.dataset.annotated import Annotated, Fault, Missing, with_all_columns
from dldoctor.facts.dataset.files import File, Folder
from dldoctor.facts.dataset.layouts.recognition import Search, and_more, layout
from dldoctor.facts.dataset.lookup import Lookup, folder_of
from dldoctor.facts.dataset.names import split_of
from dldoctor.facts.dataset.pairing import MaskPair, find_pairs, only_listed
from dldoctor.facts.dataset.samples import Contents, Picture

if TYPE_CHECKING:
    from dldoctor.facts.dataset.reading.voc import VocFile

#: files of a folder looked at to know them
_SAMPLE = 20


@layout("voc", order=30, title="Pascal VOC", wants="an .xml with the root annotation for each picture")
def voc(search: Search) -> Contents | None:
    files = [file for folder in search.root.within() for file in _annotations_in(folder, search)]
    if not files:
        return None
    from dldoctor.facts.dataset.reading.voc import read_voc

    lookup = Lookup(search.root.all_pictures)
    read: list[tuple[File, VocFile]] = []
    faults: list[Fault] = []
    for file in files:
        try:
            found = read_voc((search.path / file.path).read_bytes(), file.shown)
        except OSError as error:
            faults.append(Fault(file.shown, f"can't be read: {error.strerror}"))
            continue
        read.append((file, found))
        faults += found.faults
    pictures, missing = _pictures(read, search.root.all_pictures, lookup)
    if not pictures and not search.told:
        return None  # annotations of pictures that lie elsewhere
    splits = dict(search.split_of_path)
    listed, unlisted = _lists(search, {file.stem: file for file in files})
    splits |= {file.path: listed[file.stem] for file in search.root.all_pictures if file.stem in listed}
    companions = {picture.path: file for file, picture in pictures.items()}
    pairs = _pairs(search)
    masks = {pair.mask.path for pair in pairs if pair.mask}
    homes = {folder_of(picture) for picture in pictures.values()} | {folder_of(p.image) for p in pairs if p.image}
    annotated = Annotated(
        with_all_columns(_boxes(read, pictures, splits)),
        tuple(faults),
        (*missing, *unlisted),
        tuple((file.shown, 1) for file in files),
        frozenset(companions),
        tuple(sorted({found.name for _, voc_file in read for found in voc_file.objects if found.name})),
    )
    places = list(dict.fromkeys(folder_of(file) or "." for file in files))
    return Contents(
        f"{len(files):,} xml files in {places[0]}{and_more(places)}",
        tuple(
            Picture(file, splits.get(file.path), companion=companions.get(file.path))
            for file in search.root.all_pictures
            if folder_of(file) in homes and file.path not in masks
        ),
        pairs,
        annotated=annotated,
    )


def _annotations_in(folder: Folder, search: Search) -> Sequence[File]:
    """The xml files of a folder when most of those looked at are VOC's."""
    files = [file for file in folder.others if file.name.lower().endswith(".xml")]
    if not files:
        return ()
    from dldoctor.facts.dataset.reading.voc import is_voc

    looked_at = files[:: max(1, len(files) // _SAMPLE)]
    known = 0
    for file in looked_at:
        try:
            with open(search.path / file.path, "rb") as opened:
                known += is_voc(opened.read(1 << 14))
        except OSError:
            continue
    return files if 2 * known > len(looked_at) else ()


def _pictures(
    read: Iterable[tuple[File, VocFile]], pictures: Sequence[File], lookup: Lookup
) -> tuple[dict[File, File], list[Missing]]:
    """The picture of each annotation: of the same name without its ending, in the same folder or in the one that holds
    most of the others; else the one that `filename` names."""
    read = list(read)
    stems = Lookup([File(file.path.rpartition(".")[0] or file.path, 0, 0) for file in pictures])
    by_stem = {file.path.rpartition(".")[0] or file.path: file for file in pictures}
    found: dict[File, File] = {}
    missing = []
    homes: dict[str, list[tuple[File, VocFile]]] = {}
    for file, voc_file in read:
        homes.setdefault(folder_of(file), []).append((file, voc_file))
    for home, files in homes.items():
        by_name = stems.find_all([file.stem for file, _ in files], _beside(home))
        by_filename = lookup.find_all([voc_file.filename for _, voc_file in files], _beside(home))
        for (file, voc_file), stem, named in zip(files, by_name, by_filename, strict=True):
            picture = by_stem[stem.path] if stem is not None else named
            if picture is not None:
                found[file] = picture
            else:
                name = voc_file.filename or f"{file.stem}.jpg"
                missing.append(Missing(file.shown, voc_file.filename_line, name, lookup.near(name)))
    return found, missing


def _beside(home: str) -> str:
    """Where the pictures of a folder of annotations are likely to be: in it, or below the folder that holds both."""
    name = home.rpartition("/")[2]
    return home.rpartition("/")[0] if name.lower().startswith(("annot", "xml", "label")) else home


def _lists(search: Search, annotations: dict[str, File]) -> tuple[dict[str, str], list[Missing]]:
    """ImageSets/Main: which stems are in which split, and what the lists name that has no annotation."""
    listed: dict[str, str] = {}
    missing: list[Missing] = []
    for folder in search.root.within():
        if folder.name != "Main" or "ImageSets" not in folder.path.split("/"):
            continue
        lists = {file.stem.lower(): file for file in folder.others if split_of(file.stem)}
        for name in sorted(lists, key=lambda name: (name == "trainval", name)):
            file, split = lists[name], split_of(name)
            try:
                lines = (search.path / file.path).read_text("utf-8", "replace").splitlines()
            except OSError:
                continue
            for line, text in enumerate(lines, 1):
                stem = text.split()[0] if text.split() else ""
                if not stem or split is None:
                    continue
                if stem not in listed and stem not in annotations and split != "test":
                    missing.append(Missing(file.shown, line, f"{stem}.xml", None, split))
                listed.setdefault(stem, split)
    return listed, missing


def _pairs(search: Search) -> tuple[MaskPair, ...]:
    found = find_pairs(search.inner, list(search.splits))
    if found is not None and found.partial:
        found = only_listed(found, search.inner, search.path)
    return found.pairs if found is not None else ()


def _boxes(read: Iterable[tuple[File, VocFile]], pictures: dict[File, File], splits: dict[str, str]) -> Any:
    import polars

    rows = list(_rows(read, pictures, splits))
    names = {name: number for number, name in enumerate(sorted({row["name"] for row in rows}))}
    frame = polars.DataFrame(rows, infer_schema_length=None)
    return frame.with_columns(polars.Series("class_index", [names[row["name"]] for row in rows], dtype=polars.Int64))


def _rows(
    read: Iterable[tuple[File, VocFile]], pictures: dict[File, File], splits: dict[str, str]
) -> Iterator[dict[str, Any]]:
    for file, voc_file in read:
        picture = pictures.get(file)
        for found in voc_file.objects:
            if found.name and len(found.corners) == 4:
                yield {
                    "source": file.shown,
                    "line": found.line,
                    "picture": picture and picture.shown,
                    "split": picture and splits.get(picture.path),
                    "name": found.name,
                    "kind": "xyxy",
                    "a": found.corners["xmin"],
                    "b": found.corners["ymin"],
                    "c": found.corners["xmax"],
                    "d": found.corners["ymax"],
                    "declared_width": voc_file.width,
                    "declared_height": voc_file.height,
                }
