"""Pictures and nothing else."""

from __future__ import annotations

from dldoctor.facts.dataset.layouts.recognition import Search, layout
from dldoctor.facts.dataset.samples import Contents, Picture


@layout("pictures", order=90, title="pictures", wants="pictures")
def plain(search: Search) -> Contents | None:
    pictures = [Picture(file, split) for split, base in search.bases for file in base.all_pictures]
    found = (*pictures, *search.beside(pictures))
    return Contents("pictures without labels", found) if found else None
