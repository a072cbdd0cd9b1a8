"""LBL: annotation files as files: what doesn't parse, what they name in vain, what they leave out."""

from __future__ import annotations

from collections.abc import Iterator

from dldoctor import (
    Advice,
    AnnotationFiles,
    CodeFrame,
    Exhibit,
    Fault,
    Finding,
    Missing,
    Place,
    Severity,
    Table,
    check,
)

#: examples shown before the rest is left to the evidence
_SHOWN = 5
#: as many files with the same fault, and most of all, have it from the tool that wrote them
_SAME = 10
#: folders with fewer pictures tell too little of what was meant
_FEW = 10


@check(
    "LBL007",
    Severity.ERROR,
    Severity.WARNING,
    since="0.1",
    symptoms=("train: No labels found in {path}, can not start training",),
)
def missing_file(annotations: AnnotationFiles) -> Iterator[Finding]:
    """An annotation names a file that is not there.

    The loader raises when it comes to that sample, perhaps hours into the first epoch; or it drops it in silence.

    Fix: fetch the file, correct its name (case and ending count on Linux), or take the entry out.
    """
    by_source: dict[str, list[Missing]] = {}
    for missing in annotations.missing:
        by_source.setdefault(missing.source, []).append(missing)
    named = dict(annotations.named)
    for source, all_missing in by_source.items():
        slashes = [entry for entry in all_missing if _backslashes(entry)]
        gone = [entry for entry in all_missing if not _backslashes(entry)]
        if slashes:
            yield Finding(
                source,
                "writes {count} paths with backslashes, such as {example}, which Windows alone opens",
                count=len(slashes),
                example=slashes[0].name,
                names=[entry.name for entry in slashes[:100]],
                severity=Severity.WARNING,
                fix=r'file_name.replace("\\", "/") where names are read, or export the annotations again',
            )
        if gone:
            yield _gone(annotations.kind, source, gone, named.get(source))


def _backslashes(missing: Missing) -> bool:
    """Whether the file is there, but for the slashes of its name."""
    return "\\" in missing.name and missing.near is not None and missing.near.endswith(
        missing.name.replace("\\", "/").rpartition("/")[2]
    )  # fmt: skip


def _gone(kind: str, source: str, gone: list[Missing], of: int | None) -> Finding:
    near = [entry for entry in gone if entry.near]
    template = (
        "is for {first}, which is not there"
        if of is None and len(gone) == 1
        else "names {count} files that are not there"
        if of is None
        else "names {count} files that are not there, of {all}"
    )
    if near:
        template += "; {near} of them but for case or ending" if len(gone) > 1 else "; {like} is"
    alone = kind == "yolo" and of is None and gone[0].line is None and source.endswith(".txt")
    columns: dict[str, list[str | int]] = {
        "line": [entry.line or "" for entry in (near or gone)[:_SHOWN]],
        "named": [entry.name for entry in (near or gone)[:_SHOWN]],
        "there is": [entry.near or "" for entry in (near or gone)[:_SHOWN]],
    }
    filled = {header: cells for header, cells in columns.items() if any(cells)}
    return Finding(
        Place(source, gone[0].line if len(gone) == 1 else None),
        template,
        count=len(gone),
        all=of,
        first=gone[0].name,
        near=len(near),
        like=near[0].near if near else "",
        names=[entry.name for entry in gone[:100]],
        show=Table(tuple(filled), tuple(zip(*filled.values(), strict=True))) if len(gone) > 1 else (),
        # a YOLO label without its picture is passed over: a sample lost, no crash
        severity=Severity.WARNING if alone else Severity.ERROR,
        fix="rename them: on Linux, case and ending are part of a name"
        + ("; fetch the others, or take them out of the annotations" if len(near) < len(gone) else "")
        if near
        else "fetch the file, or take what names it out of the annotations",
    )


@check("LBL008", Severity.WARNING, since="0.1")
def unlabelled_file(annotations: AnnotationFiles, *, share: float = 0.1) -> Iterator[Finding]:
    """A picture that no annotation names, in a folder where nearly all others are named.

    It is never trained on, or is taken for one without any object.

    Fix: annotate it, or move it out of the folder.
    """
    for folder in annotations.unlabelled:
        pictures = folder.labelled + folder.unlabelled
        if folder.split == "test" or pictures < _FEW or folder.unlabelled > share * pictures:
            continue  # labelled in part by design: a subset, a test set, work in progress
        yield Finding(
            folder.folder,
            "{count} of {pictures} pictures are named by no annotation",
            count=folder.unlabelled,
            pictures=pictures,
            paths=list(folder.paths[:100]),
            show=Table(("picture",), tuple((path,) for path in folder.paths[:_SHOWN])),
            fix="annotate them (an image without objects is listed, or has an empty label file), or move them out",
        )


@check(
    "LBL012",
    Severity.ERROR,
    Severity.WARNING,
    since="0.1",
    symptoms=(
        "json.decoder.JSONDecodeError: Expecting value: line {n} column {m} (char {k})",
        "json.decoder.JSONDecodeError: Expecting ',' delimiter: line {n} column {m} (char {k})",
        "json.decoder.JSONDecodeError: Unexpected UTF-8 BOM (decode using utf-8-sig)",
        "json.decoder.JSONDecodeError: Unterminated string starting at: line {n} column {m} (char {k})",
        "xml.etree.ElementTree.ParseError: not well-formed (invalid token): line {n}, column {m}",
        "xml.etree.ElementTree.ParseError: no element found: line {n}, column {m}",
        "pandas.errors.ParserError: Error tokenizing data. C error: Expected {n} fields in line {m}, saw {k}",
        "ignoring corrupt image/label: labels require 5 columns, {n} columns detected",
        "ignoring corrupt image/label: could not convert string to float",
        "yaml.scanner.ScannerError: mapping values are not allowed here",
    ),
)
def broken_annotation(annotations: AnnotationFiles) -> Iterator[Finding]:
    """An annotation file doesn't parse, or misses what each of its entries must have.

    The loader stops at it; some tools drop the file and its picture with a line in a log that nobody reads.

    Fix: correct the place that is named, or export or download the file again.
    """
    alike: dict[tuple[str, str], list[Fault]] = {}
    for fault in annotations.faults:
        alike.setdefault((fault.path.rpartition("/")[0] or ".", fault.what), []).append(fault)
    for (folder, what), faults in alike.items():
        if len(faults) > max(_SAME, annotations.count // 2):
            first = faults[0]
            yield Finding(
                folder,
                "{files} of {all} files: {what}",
                files=len(faults),
                all=annotations.count,
                what=what,
                paths=[fault.path for fault in faults[:100]],
                show=_frame(first),
                severity=Severity.WARNING if first.mild else Severity.ERROR,
                fix=Advice(_cure(what)),
            )
        else:
            yield from _each(faults)


def _each(faults: list[Fault]) -> Iterator[Finding]:
    for fault in faults:
        more = fault.count - 1
        yield Finding(
            Place(fault.path, fault.line, fault.column),
            "{what}" + (", and {more} more like it" if more else ""),
            what=fault.what,
            more=more,
            show=_frame(fault),
            severity=Severity.WARNING if fault.mild else Severity.ERROR,
            fix=Advice(_cure(fault.what)),
        )


def _frame(fault: Fault) -> tuple[Exhibit, ...]:
    text = fault.text[:160]
    if not text.strip() or fault.line is None:
        return ()
    return (CodeFrame.of_line(fault.path, fault.line, text),)


def _cure(what: str) -> str:
    if "git lfs pull" in what:
        return "git lfs pull"
    if "web page" in what or "cut" in what or "empty" in what:
        return "download or export the file again"
    if "lead out of the folder" in what:
        return 'pack the archive anew; unpack this one with tarfile\'s filter="data" alone'
    if "byte order mark" in what:
        return 'write it without one, or read it with encoding="utf-8-sig"'
    return "correct that place, or export the annotations again"


@check("LBL014", Severity.WARNING, since="0.1")
def unread_sheets(annotations: AnnotationFiles) -> Iterator[Finding]:
    """A workbook has more sheets of labels than the one that is read.

    pandas.read_excel reads the first sheet alone, so that the samples of the others are never trained on.

    Fix: `pd.concat(pd.read_excel(path, sheet_name=None).values())`.
    """
    by_path: dict[str, list[tuple[str, int]]] = {}
    read: dict[str, str] = {}
    for sheet in annotations.unread_sheets:
        by_path.setdefault(sheet.path, []).append((sheet.name, sheet.rows))
        read[sheet.path] = sheet.read
    for path, sheets in by_path.items():
        yield Finding(
            path,
            "besides the sheet {read}, more hold labels that nobody reads: {names}",
            read=read[path],
            names=", ".join(name for name, _ in sheets),
            show=Table(("sheet", "rows"), tuple(sheets)),
            fix="pd.concat(pd.read_excel(path, sheet_name=None).values()) reads all sheets",
        )
