"""Pictures and nothing else."""

from __future__ import annotations

from collections.abc import Iterator

from dldoctor.facts.dataset.annotated import Annotated, Fault, with_all_columns
from dldoctor.facts.dataset.layouts.recognition import Search, layout
from dldoctor.facts.dataset.reading.places import foreign
from dldoctor.facts.dataset.samples import Contents, Picture

#: a pointer or a web page in place of a table takes no more
_LARGEST = 1 << 20


@layout("pictures", order=90, title="pictures", wants="pictures")
def plain(search: Search) -> Contents | None:
    pictures = [
        Picture(file, split)
        for split, base in search.bases
        for file in base.all_pictures
        if file.path not in search.masked
    ]
    found = (*pictures, *search.beside(pictures))
    faults = tuple(_pointers(search))
    if not faults:
        return Contents("pictures without labels", found)
    import polars

    annotated = Annotated(
        with_all_columns(polars.DataFrame()), faults, named=frozenset(picture.file.path for picture in found)
    )
    return Contents("pictures without labels", found, annotated=annotated)


def _pointers(search: Search) -> Iterator[Fault]:
    """Tables that would hold the labels, had they been downloaded: pointers of git-lfs, web pages."""
    for folder in dict.fromkeys((search.root, search.inner)):
        for file in folder.others:
            if file.name.lower().endswith((".csv", ".tsv", ".json", ".xlsx")) and 0 < file.size < _LARGEST:
                try:
                    what = foreign((search.path / file.path).read_bytes())
                except OSError:
                    continue
                if what is not None:
                    yield Fault(file.shown, what)
