"""WebDataset: tar archives whose members share a key (0001.jpg, 0001.cls, 0001.seg.png)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from dldoctor.facts.dataset.annotated import Annotated, Fault, with_all_columns
from dldoctor.facts.dataset.files import STRAY, File, is_picture, shown
from dldoctor.facts.dataset.label_tables import LabelFile, LabelRow
from dldoctor.facts.dataset.layouts.recognition import Search, and_more, layout
from dldoctor.facts.dataset.lookup import folder_of
from dldoctor.facts.dataset.names import image_stem_of_mask, split_and_rest, split_of
from dldoctor.facts.dataset.pairing import MaskPair
from dldoctor.facts.dataset.reading.shards import Member, read_member, read_shard
from dldoctor.facts.dataset.samples import Contents, Picture

#: endings of a member that hold its class
_CLASS = ("cls", "cls.txt", "label", "class")
#: a class takes no more bytes than this
_SHORT = 256
#: json of one sample that is parsed to see whether it is whole
_LARGEST_JSON = 4 << 20
#: an ending that says mask: seg.png, mask.png, label.png
_MASK = re.compile(r"(seg|segmentation|mask|label|gt|annotation)\.\w+", re.I)


@dataclass
class _Sample:
    """The members of one key."""

    pictures: list[Member] = field(default_factory=list)
    mask: Member | None = None
    label: Member | None = None


@layout("webdataset", order=50, title="WebDataset", wants="tar archives that hold pictures")
def webdataset(search: Search) -> Contents | None:
    archives = [file for file in search.root.all_others if file.name.lower().endswith(".tar") and file.size >= 0]
    if not archives or (search.root.all_pictures and not search.told):
        return None  # archives beside what was unpacked from them
    pictures: list[Picture] = []
    pairs: list[MaskPair] = []
    labels: list[LabelFile] = []
    faults: list[Fault] = []
    for archive in archives:
        split = search.split_of_path.get(archive.path) or _split_of(archive)
        shard = read_shard(search.path / archive.path, archive.shown)
        samples = _samples(shard.members)
        faults += [*shard.faults, *_broken_json(search, archive, shard.members)]
        for sample in samples.values():
            pictures += [Picture(_file(archive, member), split) for member in sample.pictures]
            if sample.mask is not None and sample.pictures:
                pairs.append(MaskPair(split, _file(archive, sample.pictures[0]), _file(archive, sample.mask)))
        rows = list(_rows(search, archive, samples, split))
        if rows:
            labels.append(LabelFile(archive.shown, "cls", tuple(rows), named=True))
    if not pictures and not (faults and search.told):
        return None
    import polars

    return Contents(
        f"{archives[0].shown}{and_more(archives)}",
        tuple(pictures),
        tuple(pairs),
        label_files=tuple(labels),
        annotated=Annotated(
            with_all_columns(polars.DataFrame()),
            tuple(faults),
            sources=tuple((archive.shown, 1) for archive in archives),
            # samples without a class are samples all the same, unless others of the dataset have one
            named=frozenset() if labels else frozenset(picture.file.path for picture in pictures),
        ),
    )


def _split_of(archive: File) -> str | None:
    """`train` of train-0000.tar, imagenet-train-000123.tar, train/0000.tar."""
    stem = re.sub(r"[_\-.]?[\d{}.]+$", "", archive.stem)
    return split_of(stem) or split_and_rest(stem)[0] or split_of(folder_of(archive).rpartition("/")[2])


def _file(archive: File, member: Member) -> File:
    return File(f"{archive.path}/{member.name}", member.size, archive.mtime_ns, archive.path, member.offset)


def _samples(members: Iterable[Member]) -> dict[str, _Sample]:
    """Members by key: what stands before the first dot of the name, with its folders."""
    found: dict[str, _Sample] = {}
    for member in members:
        folder, slash, name = member.name.rpartition("/")
        stem, _, ending = name.partition(".")
        if not ending or STRAY.fullmatch(name):
            continue
        sample = found.setdefault(folder + slash + stem, _Sample())
        if is_picture(name):
            if _MASK.fullmatch(ending) or (sample.pictures and image_stem_of_mask(ending.partition(".")[0])):
                sample.mask = sample.mask or member
            else:
                sample.pictures.append(member)
        elif ending.lower() in _CLASS:
            sample.label = member
    return found


def _rows(search: Search, archive: File, samples: dict[str, _Sample], split: str | None) -> Iterator[LabelRow]:
    labelled = [(sample, sample.label) for sample in samples.values() if sample.label is not None]
    if not labelled:
        return
    texts = read_member(search.path / archive.path, [label for _, label in labelled], _SHORT)
    for (sample, label), data in zip(labelled, texts, strict=True):
        picture = _file(archive, sample.pictures[0]).path if sample.pictures else None
        text = data.decode("utf-8", "replace").strip()
        yield LabelRow(archive.shown, None, picture, split, text, "" if picture else shown(label.name))


def _broken_json(search: Search, archive: File, members: list[Member]) -> Iterator[Fault]:
    found = [member for member in members if member.name.lower().endswith(".json")]
    if not found:
        return
    import msgspec

    from dldoctor.facts.dataset.reading.places import cause_of_failure

    for member, data in zip(found, read_member(search.path / archive.path, found, _LARGEST_JSON), strict=True):
        if member.size > _LARGEST_JSON:
            continue
        try:
            msgspec.json.decode(data, type=msgspec.Raw)
        except msgspec.DecodeError as error:
            fault = cause_of_failure(data, f"{archive.shown}/{shown(member.name)}", str(error))
            if fault is not None:
                yield fault
