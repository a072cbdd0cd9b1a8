"""IMG: picture files."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

from dldoctor import Advice, Finding, HexBytes, ImageTable, Layout, MaskTable, Quarantine, Severity, Table, check
from dldoctor.facts.dataset.names import is_images

#: what the first bytes of files that are no picture look like; the longest beginning that fits is the one
_LOOKS = {
    b"<!doctype html": "an HTML page (an error page saved by a download?)",
    b"<html": "an HTML page (an error page saved by a download?)",
    b"<?xml": "XML",
    b"<svg": "an SVG drawing",
    b"PK\x03\x04": "a zip archive",
    b"\x1f\x8b": "a gzip archive",
    b"7z\xbc\xaf": "a 7-Zip archive",
    b"Rar!": "a RAR archive",
    b"%PDF": "a PDF document",
    b"\x93NUMPY": "a NumPy array",
    b"\x89HDF": "an HDF5 file",
    b"version https://git-lfs": "a Git LFS pointer: run `git lfs pull`",
    b"\x00\x05\x16\x07": "macOS metadata (AppleDouble), not the picture of that name",
    b"{": "JSON",
}
#: a whole picture of any common format takes more bytes than this
_SMALLEST = 26
#: folders that one scene may have pictures in: colour, depth, mask, ...; more are classes
_VIEWS = 4
_GROUPS = {
    "1": "grey (L)",
    "L": "grey (L)",
    "I": "grey (L)",
    "I;16": "grey (L)",
    "I;16B": "grey (L)",
    "F": "grey (L)",
    "P": "palette (P)",
    "PA": "palette (P)",
    "LA": "grey + alpha (LA)",
    "RGB": "RGB",
    "YCbCr": "RGB",
    "LAB": "RGB",
    "RGBA": "RGBA",
    "RGBX": "RGBA",
    "CMYK": "CMYK",
}
_TURNS = {
    2: "mirrored",
    3: "turned by 180°",
    4: "mirrored upside down",
    5: "mirrored, turned by 90°",
    6: "turned by 90°",
    7: "mirrored, turned by 270°",
    8: "turned by 270°",
}


@check(
    "IMG001",
    Severity.ERROR,
    unless=("IMG003",),
    since="0.1",
    symptoms=(
        "image file is truncated",
        "image file is truncated ({n} bytes not processed)",
        "Truncated File Read",
        "unrecognized data stream contents when reading image file",
        "Premature end of JPEG file",
        "Premature end of JPEG data",
        "RuntimeError: Image is incomplete or truncated",
        "libpng error: Read Error",
        "Failed to decode & Incomplete or corrupted JPEG",
    ),
)
def truncated_image(images: ImageTable, masks: MaskTable | None) -> Iterator[Finding]:
    """The file ends before its pixels do.

    The loader raises in the middle of an epoch; with LOAD_TRUNCATED_IMAGES it trains on grey blocks instead.

    Fix: fetch the file again, or move it out of the dataset.
    """
    for image in _files(images, masks, images.col.outcome == "failed", images.col.ends_early):
        fix = Quarantine((image.path,))
        if image.rows_decoded is None or image.height is None:
            yield Finding(
                image.path, "ends before its pixels do: {decoder}", decoder=image.message, bytes=image.size, fix=fix
            )
        elif image.rows_decoded >= image.height:
            yield Finding(
                image.path,
                "lacks its end: all {height} rows are there, but Pillow refuses it",
                height=image.height,
                bytes=image.size,
                decoder=image.message,
                fix=Quarantine((image.path,), "fetch it again, or write it anew from its pixels"),
            )
        else:
            yield Finding(
                image.path,
                "ends after {rows_decoded} of {height} rows",
                rows_decoded=image.rows_decoded,
                height=image.height,
                bytes=image.size,
                decoder=image.message,
                fix=fix,
            )


@check(
    "IMG002",
    Severity.ERROR,
    unless=("IMG003",),
    since="0.1",
    symptoms=(
        (
            "cannot identify image file {file}",
            "the traceback names the file; `dldoctor scan FOLDER` lists all such files and shows what they are",
        ),
        "OpenCV & error: (-215:Assertion failed) !_src.empty() in function",
        "error: (-215:Assertion failed) !_src.empty() in function",
        "(-215:Assertion failed) !ssize.empty() in function",
        "(-215) !_src.empty() in function",
        "(-215) scn == 3 || scn == 4 in function cvtColor & imread",
        "'NoneType' object has no attribute 'shape' & imread",
        "'NoneType' object is not subscriptable & imread",
        "Unsupported image file. Only jpeg, png",
        "could not create decoder object & Image",
    ),
)
def unreadable_image(images: ImageTable, masks: MaskTable | None) -> Iterator[Finding]:
    """No decoder knows the file, whatever its name says.

    An error page or an archive saved under a picture's name stops the loader, or is None in OpenCV.

    Fix: fetch the file again, or move it out of the dataset.
    """
    for image in _files(images, masks, images.col.outcome == "unidentified", images.col.size >= _SMALLEST):
        head = base64.b64decode(image.head or "")
        looks = "nothing but zero bytes" if image.blank else looks_like(head)
        yield Finding(
            image.path,
            "is no picture: it looks like {looks_like}",
            looks_like=looks,
            bytes=image.size,
            show=HexBytes(head[:16], looks),
            fix=Quarantine((image.path,)),
        )
    for image in _files(images, masks, images.col.outcome == "unreadable"):
        linked = image.size == -1
        yield Finding(
            image.path,
            "can't be opened: {reason}",
            reason="it is a link to a file that is not there" if linked else image.message,
            fix="put the file it points at back, or remove the link"
            if linked
            else f"make it readable: chmod u+r {image.path}",
        )


def _files(images: ImageTable, masks: MaskTable | None, *conditions: Any) -> Iterator[Any]:
    """The rows of pictures and of masks alike, each file once: a damaged mask stops the loader as well."""
    seen: set[str] = set()
    for table in (images, masks):
        for row in table.where(*conditions) if table is not None else ():
            if row.path not in seen:
                seen.add(row.path)
                yield row


def looks_like(head: bytes) -> str:
    """What a file's first bytes say it is."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    fitting = [words for begin, words in _LOOKS.items() if start.startswith(begin.lower()) or head.startswith(begin)]
    if fitting:
        return fitting[0]
    if head[4:8] == b"ftyp":
        return (
            f"HEIF or a film (brand {head[8:12].decode('ascii', 'replace')!r}), which Pillow reads with a plugin alone"
        )
    printable = sum(32 <= byte < 127 or byte in b"\t\r\n" for byte in head)
    return "text" if head and printable == len(head) else "no known format"


@check(
    "IMG003",
    Severity.ERROR,
    since="0.1",
    symptoms=(
        "cannot identify image file",
        "cannot identify image file & 0 bytes",
        "Input is empty & decode_image",
        "Expected a non empty 1-dimensional tensor & decode_",
    ),
)
def empty_file(images: ImageTable, masks: MaskTable | None) -> Iterator[Finding]:
    """The file is empty, or smaller than any picture.

    A download or a copy that failed, or a placeholder of a sync client: the loader stops there.

    Fix: fetch the file again, or move it out of the dataset.
    """
    tiny = images.col.outcome.is_in(["unidentified", "failed"]) & (images.col.size < _SMALLEST)
    for image in _files(images, masks, (images.col.outcome == "empty") | tiny):
        message = "is empty" if image.size == 0 else "has {bytes} bytes, fewer than any picture"
        yield Finding(image.path, message, bytes=image.size, fix=Quarantine((image.path,)))


@check(
    "IMG004",
    Severity.ERROR,
    unless=("IMG001", "IMG003"),
    since="0.1",
    symptoms=(
        "Corrupt JPEG data: {n} extraneous bytes before marker",
        "Corrupt JPEG data: premature end of data segment",
        "Corrupt JPEG data: bad Huffman code",
        "DataLoader worker (pid {n}) is killed by signal: Segmentation fault",
        "broken data stream when reading image file",
        "decoder error -{n} when reading image file",
        "libpng error: IDAT: CRC error",
        "libpng error: bad adaptive filter value",
        "image data is corrupt",
        "broken PNG file (chunk",
    ),
)
def corrupt_image_data(images: ImageTable, masks: MaskTable | None) -> Iterator[Finding]:
    """The file decodes, but what it shows is damaged.

    Pillow and OpenCV pass broken JPEG data in silence and training goes on with grey or shifted blocks; a damaged PNG
    can kill a DataLoader worker inside torchvision's decoder.

    Fix: fetch the file again, or move it out of the dataset.
    """
    for image in _files(images, masks, images.col.outcome == "failed", ~images.col.ends_early):
        yield Finding(
            image.path,
            "is damaged: {decoder}",
            decoder=image.message,
            format=image.format,
            bytes=image.size,
            fix=Quarantine((image.path,)),
        )
    for image in _files(images, masks, images.col.outcome.is_in(["died", "timeout"])):
        template = (
            "kills its decoder: the process {decoder}" if image.outcome == "died" else "stalls its decoder: {decoder}"
        )
        yield Finding(image.path, template, decoder=image.message, bytes=image.size, fix=Quarantine((image.path,)))


@check(
    "IMG005",
    Severity.ERROR,
    since="0.1",
    symptoms=("Given input size: ({c}x1x1). Calculated output size: ({d}x0x0). Output size is too small",),
)
def degenerate_size(images: ImageTable, *, min_side: int = 8) -> Iterator[Finding]:
    """A side of the picture is a few pixels long.

    A tracking pixel or a broken crop: resized to the network's input it is noise with a label.

    Fix: fetch the real picture, or move it out of the dataset.
    """
    small = (images.col.width < min_side) | (images.col.height < min_side)
    for image in images.where(images.col.outcome == "decoded", small):
        yield Finding(
            image.path,
            "is {width} x {height} pixels; a side below {min_side} holds nothing to learn",
            width=image.width,
            height=image.height,
            min_side=min_side,
            fix=Quarantine((image.path,)),
        )


@check(
    "IMG006",
    Severity.ERROR,
    Severity.WARNING,
    since="0.1",
    symptoms=(
        "stack expects each tensor to be equal size, but got [3, {h}, {w}] at entry 0 and [1, {i}, {j}] at entry {n}",
        "stack expects each tensor to be equal size, but got [3, {h}, {w}] at entry 0 and [4, {i}, {j}] at entry {n}",
        "stack expects each tensor to be equal size, but got [1, {h}, {w}] at entry 0 and [3, {i}, {j}] at entry {n}",
        "stack expects each tensor to be equal size, but got [4, {h}, {w}] at entry 0 and [3, {i}, {j}] at entry {n}",
        "Sizes of tensors must match except in dimension 0. Got 3 and 1 in dimension 1",
        "Sizes of tensors must match except in dimension 0. Got 1 and 3 in dimension 1",
        "Sizes of tensors must match except in dimension 0. Got 3 and 4 in dimension 1",
        "expected input[{b}, 1, {h}, {w}] to have 3 channels, but got 1 channels instead",
        "expected input[{b}, 4, {h}, {w}] to have 3 channels, but got 4 channels instead",
        "output with shape [1, {h}, {w}] doesn't match the broadcast shape [3, {h}, {w}]",
        "The size of tensor a (4) must match the size of tensor b (3) at non-singleton dimension 0 & normalize",
    ),
)
def mixed_channels(images: ImageTable, layout: Layout | None) -> Iterator[Finding]:
    """The pictures differ in their number of channels.

    A batch can't be stacked from tensors of one, three and four channels. torchvision's ImageFolder converts to RGB on
    its own; any other loader has to.

    Fix: `Image.open(path).convert("RGB")` in the dataset's `__getitem__`.
    """
    counts: dict[str, int] = {}
    examples: dict[str, str] = {}
    folders: dict[str | None, set[str]] = {}
    for mode in images.modes():
        group = _GROUPS.get(mode.mode, mode.mode)
        folders.setdefault(mode.folder, set()).add(group)
        counts[group] = counts.get(group, 0) + mode.count
        examples.setdefault(group, mode.path)
    if len(counts) < 2 or _views(folders):
        return
    ordered = sorted(counts, key=lambda group: -counts[group])
    by_itself = layout is not None and layout.kind == "imagefolder"
    target = "L" if ordered[0].startswith("grey") and sum(counts.values()) < 2 * counts[ordered[0]] else "RGB"
    yield Finding(
        ".",
        "pictures of {kinds} kinds of channels: {summary}",
        kinds=len(counts),
        summary=", ".join(f"{counts[group]:,} {group}" for group in ordered),
        counts={g: counts[g] for g in ordered},
        show=Table(("channels", "pictures", "for instance"), tuple((g, counts[g], examples[g]) for g in ordered)),
        severity=Severity.WARNING if by_itself else Severity.ERROR,
        fix=Advice(
            f'Image.open(path).convert("{target}") in the loader'
            + ("; ImageFolder's own loader converts to RGB, one of your own or OpenCV may not" if by_itself else "")
        ),
    )


def _views(folders: dict[str | None, set[str]]) -> bool:
    """Whether folders of one kind each hold views of the same scenes (`rgb/`, `depth/`): no batch mixes those."""
    one_each = 1 < len(folders) <= _VIEWS and all(len(groups) == 1 for groups in folders.values())
    return one_each and any(name is not None and is_images(name.rstrip("_0123456789")) for name in folders)


@check("IMG008", Severity.WARNING, since="0.1")
def exif_orientation(images: ImageTable) -> Iterator[Finding]:
    """EXIF says that pictures are to be turned before they are shown.

    Pillow and torchvision leave them as they are, OpenCV and every viewer turn them: labels drawn in a viewer, or
    inference by another library, then see another picture than training does.

    Fix: `ImageOps.exif_transpose(image)` right after `Image.open`, in training and inference alike.
    """
    counts: dict[int, int] = {}
    examples: dict[int, str] = {}
    for image in images.where(images.col.outcome == "decoded", images.col.orientation > 1):
        counts[image.orientation] = counts.get(image.orientation, 0) + 1
        examples.setdefault(image.orientation, image.path)
    if counts:
        rows = tuple((value, _TURNS[value], counts[value], examples[value]) for value in sorted(counts))
        yield Finding(
            ".",
            "{pictures} of {all} pictures are stored turned and say so in EXIF alone",
            pictures=sum(counts.values()),
            all=len(images),
            counts={str(value): counts[value] for value in sorted(counts)},
            show=Table(("orientation", "shown", "pictures", "for instance"), rows),
            fix="PIL.ImageOps.exif_transpose(Image.open(path)) in the loader, before any crop or resize",
        )


@check("IMG013", Severity.WARNING, since="0.1")
def duplicate_image(images: ImageTable, layout: Layout | None) -> Iterator[Finding]:
    """The same picture stands more than once in a split.

    It counts double in the loss, and a random split puts its copies on both sides.

    Fix: keep one of each group.
    """
    for group in images.identical():
        here: dict[str | None, list[Any]] = {}
        for image in group:
            here.setdefault(image.split, []).append(image)
        for copies in here.values():
            if len(copies) < 2:
                continue
            labels = sorted({image.label for image in copies if image.label is not None})
            # the copy has the longer name: `cat (1).jpg`, `cat_copy.jpg`
            paths = sorted((image.path for image in copies), key=lambda path: (len(path), path))
            loose = layout is None or layout.kind in ("imagefolder", "pictures")
            fix = Quarantine(tuple(paths[1:]), "keep one, move the rest out of the way", safe=False)
            template = "stands {times} times: also as {others}"
            if len(labels) > 1:
                yield Finding(
                    paths[0],
                    template + "; under different labels: {labels}",
                    times=len(paths),
                    others=_some(paths[1:]),
                    labels=", ".join(labels),
                    paths=paths,
                    fix="look which label is right, keep that one",
                )
            else:
                yield Finding(
                    paths[0],
                    template,
                    times=len(paths),
                    others=_some(paths[1:]),
                    paths=paths,
                    fix=fix if loose else "keep one, and take the others out of the dataset with their masks or rows",
                )


def _some(paths: list[str]) -> str:
    return ", ".join(paths[:3]) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")
