"""IMG: picture files."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

from dldoctor import Finding, HexBytes, ImageTable, MaskTable, Severity, check, leave_out

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
#: what reads the kinds that Pillow does not
_READERS = {
    "HEIF": "pip install pillow-heif, then pillow_heif.register_heif_opener()",
    "TIFF": "read them with tifffile and imagecodecs, or convert them",
}
#: a whole picture of any common format takes more bytes than this
_SMALLEST = 26


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
        fix = leave_out((image.path,))
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
                fix=leave_out((image.path,), "fetch it again, or write it anew from its pixels"),
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
    Severity.INFO,
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

    An error page or an archive saved under a picture's name stops the loader, or is None in OpenCV. Whole pictures of a
    rare kind, which Pillow does not read, are named once and not examined further.

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
            fix=leave_out((image.path,)),
        )
    for image in _files(images, masks, images.col.outcome == "unreadable"):
        if image.size == -1:
            reason = "it is a link to a file that is not there"
            fix = "put the file it points at back, or remove the link"
        else:
            reason, fix = image.message, "make it readable for the user who trains: chmod u+r FILE"
        yield Finding(image.path, "can't be opened: {reason}", reason=reason, fix=fix)
    for image in _files(images, masks, images.col.outcome == "gone"):
        yield Finding(
            image.path,
            "was there when the scan began and is gone now",
            fix="let what is changing the dataset finish, and scan again",
        )
    rare = list(_files(images, masks, images.col.outcome == "unsupported"))
    if rare:
        formats = sorted({image.format for image in rare})
        yield Finding(
            ".",
            "{count} {formats} files were not examined: {reason}",
            count=len(rare),
            formats=" and ".join(formats),
            reason="Pillow does not read their kind, though they look whole",
            example=rare[0].path,
            paths=[image.path for image in rare[:1000]],
            decoder=rare[0].message,
            severity=Severity.INFO,
            fix=" or ".join(_READERS[form] for form in formats if form in _READERS)
            or "read them with a library that knows them, such as tifffile or imagecodecs, or convert them",
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
        yield Finding(image.path, message, bytes=image.size, fix=leave_out((image.path,)))


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
            fix=leave_out((image.path,)),
        )
    for image in _files(images, masks, images.col.outcome.is_in(["died", "timeout"])):
        template = (
            "kills its decoder: the process {decoder}" if image.outcome == "died" else "stalls its decoder: {decoder}"
        )
        yield Finding(image.path, template, decoder=image.message, bytes=image.size, fix=leave_out((image.path,)))


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
            fix=leave_out((image.path,)),
        )
