"""Images and masks in sibling folders, or told apart by endings."""

from __future__ import annotations

from dldoctor.facts.dataset.layouts.recognition import Search, layout
from dldoctor.facts.dataset.pairing import find_pairs, only_listed
from dldoctor.facts.dataset.samples import Contents, Picture


@layout(
    "pairs",
    order=40,
    title="image/mask pairs",
    wants="folders such as images/ and masks/, or names ending in _mask, whose names match",
)
def pairs(search: Search) -> Contents | None:
    found = find_pairs(search.inner, list(search.splits), search.told)
    if found is None:
        return None
    if found.partial:
        found = only_listed(found, search.inner, search.path)
    images = {pair.image.path: Picture(pair.image, pair.split) for pair in found.pairs if pair.image}
    loose = [Picture(file, None) for file in found.unmasked if file.path not in images]
    return Contents(found.by, (*images.values(), *loose), found.pairs)
