"""Pictures with a table of labels: CSV and its kin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from dldoctor.facts.dataset.label_tables import LabelFile, LabelRow, label_files
from dldoctor.facts.dataset.layouts.recognition import Base, Search, and_more, layout
from dldoctor.facts.dataset.samples import Contents, Picture


@layout(
    "csv",
    order=60,
    title="pictures with a label file",
    wants="a table with a column that names the pictures and a column label, class or target",
)
def label_file(search: Search) -> Contents | None:
    found: list[LabelFile] = []
    for base in dict.fromkeys((search.root, search.inner)):
        found += label_files(base, search.path, search.root.all_pictures)
    for split, base in search.bases:
        if split is not None:
            found += label_files(base, search.path, base.all_pictures, split)
    if not found:
        return None
    in_split = search.split_of_path
    named = {row.picture: row for table in found for row in table.rows if row.picture}
    if not search.told and _repeats_folders(named, search.bases):
        return None
    pictures = []
    for file in search.root.all_pictures:
        row = named.get(file.path)
        pictures.append(
            Picture(file, in_split.get(file.path) or (row.split if row else None), row.text if row else None)
        )
    found = [
        replace(
            table, rows=tuple(replace(row, split=row.split or in_split.get(row.picture or "")) for row in table.rows)
        )
        for table in found
    ]
    return Contents(
        f"{found[0].path}, whose column {found[0].column!r} labels the pictures{and_more(found)}",
        tuple(pictures),
        label_files=tuple(found),
    )


def _repeats_folders(named: Mapping[str, LabelRow], bases: Sequence[Base]) -> bool:
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
