"""IMG, LBL, SPL: what it means that one picture stands in several places."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dldoctor import (
    Advice,
    Finding,
    ImageTable,
    LabelTable,
    Layout,
    NearDuplicates,
    Place,
    Severity,
    Table,
    check,
    leave_out,
)

_ORDER = ("train", "val", "test")
#: pictures with several labels that are named one by one, and the share of all from which on that seems to be meant
_NAMED, _MEANT = 10, 0.2
#: pictures with several rows, as a share of all, that are slips
_RARE = 0.05
#: groups that are listed, and shown
_LISTED, _SHOWN = 200, 4


@check("LBL009", Severity.ERROR, Severity.WARNING, since="0.1")
def conflicting_labels(images: ImageTable, labels: LabelTable | None) -> Iterator[Finding]:
    """The same picture has two different labels.

    One of them is wrong, whatever the network answers; in validation it bounds the score that can be reached. Where
    many pictures stand in several class folders, several labels for each may be meant: cross-entropy can't learn those.

    Fix: look which label is right, keep that one.
    """
    if labels is not None:
        yield from _rows_apart(labels)
    groups = images.identical()
    given = _given(labels, groups)
    conflicts: list[tuple[list[str], dict[str, str]]] = []
    for group in groups:
        by_label = _by_label(group, given)
        if len(by_label) > 1:
            conflicts.append(([image.path for image in group], by_label))
    affected = sum(len(copies) for copies, _ in conflicts)
    if len(conflicts) > _NAMED and affected > _MEANT * len(images):
        yield Finding(
            ".",
            "{pictures} of {all} pictures stand under more than one label, such as {example}",
            pictures=affected,
            all=len(images),
            example=" and ".join(conflicts[0][1].values()),
            groups=[by_label for _, by_label in conflicts[:_LISTED]],
            severity=Severity.WARNING,
            fix="if several labels for one picture are meant: one row of zeros and ones for each picture, and "
            "BCEWithLogitsLoss; else keep the right one of each",
        )
        return
    for copies, by_label in conflicts:
        first, *others = by_label.items()
        yield Finding(
            first[1],
            "is labelled {label}; the same picture as {other} is labelled {other_label}",
            label=first[0],
            other=others[0][1],
            other_label=others[0][0],
            labels=by_label,
            copies=copies,
            fix="look which label is right, keep that one and take the other away",
        )


def _rows_apart(labels: LabelTable) -> Iterator[Finding]:
    """Rows of one file that give a picture two labels, where nearly all pictures have one row."""
    rows = labels.frame.filter(
        labels.col.line.is_not_null(), labels.col.picture.is_not_null(), labels.col.form.is_in(["index", "name"])
    )
    repeated = rows.filter(rows.select("source", "picture").is_duplicated())
    if repeated["picture"].n_unique() > _RARE * rows["picture"].n_unique():
        return  # several labels for a picture are meant, or several people's
    found: dict[tuple[str, str], list[Any]] = {}
    for row in labels.rows(repeated):
        found.setdefault((row.source, row.picture), []).append(row)
    for (source, picture), twice in found.items():
        if len({row.text for row in twice}) > 1:
            yield Finding(
                Place(source, twice[-1].line),
                "labels {picture} {labels}",
                picture=picture,
                labels=" and ".join(f"{row.text} (line {row.line})" for row in twice[:4]),
                lines=[row.line for row in twice],
                fix="look which label is right, and keep that row alone",
            )


def _by_label(copies: list[Any], given: dict[str, str]) -> dict[str, str]:
    """The labels that copies of one picture have, each with the first of them."""
    found: dict[str, str] = {}
    for image in copies:
        label = given.get(image.path, image.label)
        if label is not None:
            found.setdefault(label, image.path)
    return found


def _given(labels: LabelTable | None, groups: list[list[Any]]) -> dict[str, str]:
    """The labels that files give, of pictures that have one alone; several are attributes, or several people's."""
    paths = {image.path for group in groups for image in group}
    found: dict[str, set[str]] = {}
    if labels is not None and paths:
        listed = labels.where(labels.col.line.is_not_null(), labels.col.form.is_in(["index", "name"]))
        for row in listed:
            if row.picture in paths:
                found.setdefault(row.picture, set()).add(row.text)
    return {path: texts.pop() for path, texts in found.items() if len(texts) == 1}


@check("IMG013", Severity.WARNING, since="0.1")
def duplicate_image(images: ImageTable, labels: LabelTable | None, layout: Layout | None) -> Iterator[Finding]:
    """The same picture stands more than once in a split.

    It weighs as often as it stands there, and a random split of the folder puts copies on both sides.

    Fix: keep one of each group.
    """
    groups = images.identical()
    given = _given(labels, groups)
    for group in groups:
        here: dict[str | None, list[Any]] = {}
        for image in group:
            here.setdefault(image.split, []).append(image)
        for copies in here.values():
            if len(copies) < 2 or len(_by_label(copies, given)) > 1:
                continue  # with two labels, those are what is to be said of it
            # the copy has the longer name: `cat (1).jpg`, `cat_copy.jpg`
            paths = sorted((image.path for image in copies), key=lambda path: (len(path), path))
            loose = layout is None or layout.kind in ("imagefolder", "pictures")
            fix = leave_out(tuple(paths[1:]), "keep one, move the rest out of the way", safe=False)
            yield Finding(
                paths[0],
                "stands {times} times: also as {others}",
                times=len(paths),
                others=_some(paths[1:]),
                paths=paths,
                fix=fix if loose else "keep one, and take the others out of the dataset with their masks or rows",
            )


def _some(paths: list[str]) -> str:
    return ", ".join(paths[:3]) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")


@check("IMG020", Severity.INFO, since="0.1")
def near_duplicate_image(alike: NearDuplicates) -> Iterator[Finding]:
    """Pictures are the same but for their size, their encoding or a small crop.

    They weigh as often as they stand there, and a random split puts them on both sides. Frames of a film are so by
    nature: split those by film, never by frame.

    Fix: keep the largest of each group, or split so that a group stays together.
    """
    groups = [rows for rows in alike.groups() if len(rows) > len({row.split for row in rows})]
    if not groups:
        return
    groups.sort(key=len, reverse=True)
    yield Finding(
        ".",
        "{pictures} pictures look alike, in groups of up to {largest}",
        pictures=sum(len(rows) for rows in groups),
        groups=len(groups),
        largest=len(groups[0]),
        members=[[row.path for row in rows[:_LISTED]] for rows in groups[:_LISTED]],
        show=_table(groups),
        fix=Advice("keep the largest of each group; where they are frames of a film, split by film and not by frame"),
    )


@check("SPL006", Severity.WARNING, since="0.1")
def near_duplicate_leak(alike: NearDuplicates) -> Iterator[Finding]:
    """Pictures in two splits are the same but for their size, their encoding or a small crop.

    The validation score then measures memory in part. Frames of one film on both sides of a random split are the usual
    cause.

    Fix: split by film, patient or place, so that what looks alike stays on one side.
    """
    groups = [rows for rows in alike.groups() if len({row.split for row in rows if row.split}) > 1]
    if not groups:
        return
    splits = sorted({row.split for rows in groups for row in rows if row.split}, key=_rank)
    last = splits[-1]
    leaked = [row.path for rows in groups for row in rows if row.split == last]
    pairs = [_across(rows) for rows in groups]
    yield Finding(
        ".",
        "pictures of {split} that look like one of another split: {count}",
        count=len(leaked),
        split=last,
        groups=len(groups),
        splits=splits,
        members=[[row.path for row in rows[:_LISTED]] for rows in groups[:_LISTED]],
        show=_table(pairs),
        fix=Advice(
            "split by film, patient or place (--group-by REGEX shows what is torn apart), or take the copies out"
        ),
    )


def _rank(split: str) -> tuple[int, str]:
    return (_ORDER.index(split) if split in _ORDER else len(_ORDER), split)


def _across(rows: list[Any]) -> list[Any]:
    """One row of each split."""
    return list({row.split: row for row in reversed(rows) if row.split}.values())


def _table(groups: list[list[Any]]) -> Table:
    shown = (
        (f"{row.path} ({row.width}x{row.height})", f"{other.path} ({other.width}x{other.height})", other.distance)
        for row, other in (sorted(rows, key=lambda row: row.path)[:2] for rows in groups[:_SHOWN])
    )
    return Table(("picture", "looks like", "bits of 64 apart"), tuple(shown))
