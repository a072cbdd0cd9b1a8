"""IMG: names of files and folders that another system, or another library, can't work with."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Any

from dldoctor import Advice, Finding, ImageTable, MaskTable, Severity, check

#: encodings that names are mistaken for, and those that they were written in
_READ_AS = ("cp437", "cp1252", "latin-1")
_WRITTEN_IN = ("utf-8", "gbk", "shift_jis", "euc-kr")
#: bytes that are no UTF-8, as a listing shows them
_ESCAPED = re.compile(r"(?:\\x[89a-f][0-9a-f])(?:\\x[0-9a-f]{2}|[ -~])*")
#: the most frequent characters of each writing, as their first bytes lie in its encoding
_FREQUENT = {"gbk": range(0xB0, 0xD8), "euc-kr": range(0xB0, 0xC9)}
_LEAST = 20
#: non-ASCII names in more than this share of the files are how the dataset is named
_EXCEPTION = 0.1


def _paths(images: ImageTable, masks: MaskTable | None, *conditions: Any) -> list[str]:
    """The paths of pictures and masks for which all conditions hold, each once."""
    tables = [images.frame] if masks is None else [images.frame, masks.frame.filter(images.col.path.is_not_null())]
    return list(dict.fromkeys(path for table in tables for path in table.filter(*conditions)["path"]))


def _beyond_ascii(images: ImageTable) -> Any:
    """Of a path with other characters than ASCII, or with bytes that are none."""
    return images.col.path.str.contains(r"[^\x00-\x7f]|\\x[89a-f]")


@check(
    "IMG011",
    Severity.WARNING,
    Severity.INFO,
    unless=("IMG012",),
    since="0.1",
    symptoms=("can't open/read file: check file path/integrity", "surrogates not allowed"),
)
def non_ascii_path(images: ImageTable, masks: MaskTable | None) -> Iterator[Finding]:
    """A path holds characters that not every library can open.

    Bytes that are no UTF-8 can't be printed, written to JSON or listed in a label file. On Windows `cv2.imread` gives
    None for a path beyond its code page: harmless where a whole dataset is named so and its loader knows, a surprise
    where a few files are.

    Fix: rename the files; `cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)` opens any name on Windows.
    """
    paths = _paths(images, masks, _beyond_ascii(images))
    for path in paths:
        if _ESCAPED.search(path):
            yield Finding(
                path,
                "has a name that is no UTF-8: it can't be printed, written to JSON or listed in a label file",
                fix=Advice(
                    "convert the names from the encoding that they were written in",
                    ("convmv -f gbk -t utf-8 -r --notest .",),
                ),
            )
    beyond = [path for path in paths if not path.isascii() and not _ESCAPED.search(path)]
    total = len(images) + (0 if masks is None else len(masks))
    if total >= _LEAST and 0 < len(beyond) <= _EXCEPTION * total:
        yield Finding(
            ".",
            "{count} of {paths} paths are not ASCII, such as {example}: cv2.imread gives None for them on Windows",
            count=len(beyond),
            paths=total,
            example=beyond[0],
            files=beyond[:1000],
            severity=Severity.INFO,
            fix="rename them, or read with cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR) on Windows",
        )


@check("IMG012", Severity.WARNING, since="0.1")
def garbled_filename(images: ImageTable, masks: MaskTable | None) -> Iterator[Finding]:
    """A name is the rubble of another encoding.

    An archive from a Chinese, Japanese or Korean system was unpacked as if it were Western: label files that hold the
    real names find no picture, and a class is called `╓╨╣·`.

    Fix: unpack it again, `unzip -O GBK archive.zip` (or `-O SHIFT_JIS`, `-O EUC-KR`, `-O UTF-8`).
    """
    told: set[str] = set()
    for path in _paths(images, masks, _beyond_ascii(images)):
        parts = path.split("/")
        for depth, part in enumerate(parts, 1):
            here = "/".join(parts[:depth])
            if here in told or (part.isascii() and not _ESCAPED.search(part)):
                continue
            told.add(here)
            guesses = real_names(part)
            if guesses:
                yield Finding(
                    here,
                    "is garbled: most likely {names}",
                    names=" or ".join(f"{name} ({encoding})" for name, encoding in guesses),
                    encodings=[encoding for _, encoding in guesses],
                    fix=Advice(
                        "unpack the archive again in its own encoding, or rename what is there",
                        (f"unzip -O {guesses[0][1]} archive.zip",),
                    ),
                )


def real_names(name: str) -> list[tuple[str, str]]:
    """What a garbled name may have been, each with its encoding; nothing for a name that makes sense as it stands."""
    for data in _bytes_of(name):
        guesses = []
        for encoding in _WRITTEN_IN:
            try:
                guess = data.decode(encoding)
            except UnicodeDecodeError:
                continue
            if guess != name and _plausible(name, guess, data, encoding):
                guesses.append((guess, encoding.upper()))
                if encoding == "utf-8":
                    break
        if guesses:
            return guesses
    return []


def _bytes_of(name: str) -> Iterator[bytes]:
    """The bytes that the name may have been read from."""
    if _ESCAPED.search(name):
        parts = re.split(r"\\x([0-9a-f]{2})", name)
        yield b"".join(bytes([int(part, 16)]) if n % 2 else part.encode() for n, part in enumerate(parts))
        return
    for encoding in _READ_AS:
        try:
            yield name.encode(encoding)
        except UnicodeEncodeError:
            continue


def _plausible(name: str, guess: str, data: bytes, encoding: str) -> bool:
    """Whether a guess reads as text where the name does not: no control characters, and far fewer letters in all."""
    beyond = [character for character in guess if not character.isascii()]
    if not beyond or not all(unicodedata.category(character)[0] in "LNM" for character in beyond):
        return False
    if encoding == "utf-8":
        return True  # a sequence of UTF-8 comes about by chance in no language
    letters_alone = all(unicodedata.category(character)[0] == "L" for character in name if not character.isascii())
    if letters_alone and encoding != "shift_jis" and not _ESCAPED.search(name):
        return False  # ÀÁÂ may be what it says; the rubble of Chinese has signs such as ¹ and ¬ between its letters
    # Two characters at least, most of them frequent ones, and none grown together with a Latin word: accented letters
    # of a Western name that happen to decode do neither.
    pairs = list(_pairs(data, encoding))
    frequent = sum(_is_frequent(lead, trail, encoding) for lead, trail in pairs)
    if len(set(pairs)) < 2 or frequent * 4 < len(pairs) * 3:
        return False
    return not re.search(r"[A-Za-z][^\x00-\x7f]|[^\x00-\x7f][A-Za-z]", guess)


def _is_frequent(lead: int, trail: int, encoding: str) -> bool:
    """Whether two bytes are one of the characters that names are made of."""
    if encoding == "shift_jis":
        katakana, hiragana = lead == 0x83, lead == 0x82 and trail >= 0x9F
        return katakana or hiragana or (0x88 <= lead < 0x98 and trail >= 0x80)
    return lead in _FREQUENT[encoding] and trail >= 0xA1


def _pairs(data: bytes, encoding: str) -> Iterator[tuple[int, int]]:
    """The characters of two bytes."""
    at = 0
    while at < len(data):
        wide = data[at] >= 0x81 and not (encoding == "shift_jis" and 0xA1 <= data[at] <= 0xDF)
        if wide:
            yield data[at], data[at + 1]
        at += 2 if wide else 1


@check("IMG019", Severity.WARNING, since="0.1")
def case_colliding_names(images: ImageTable, masks: MaskTable | None) -> Iterator[Finding]:
    """Two names differ in case or in the form of an accent alone.

    Windows and macOS take them for one: a copy or a checkout there loses one of the two without a word, or joins two
    class folders.

    Fix: rename one of them.
    """
    folders: dict[str, str] = {}
    told: list[str] = []
    for path in _paths(images, masks):
        folder = path.rpartition("/")[0]
        while folder and folder not in folders:
            folders[folder] = _key(folder)
            folder = folder.rpartition("/")[0]
    first: dict[str, str] = {}
    for folder in sorted(folders, key=lambda folder: (folder.count("/"), folder)):
        other = first.setdefault(folders[folder], folder)
        # what lies below two such folders collides because they do
        if other != folder and not any(folder.startswith(above + "/") for above in told):
            told.append(folder)
            yield _collision(folder, other)
    key = images.col.path.str.normalize("NFC").str.to_lowercase()
    for table in (images, masks):
        for row in table.where(key.is_duplicated(), table.col.path.is_not_null()) if table is not None else ():
            other = first.setdefault(_key(row.path), row.path)
            if other != row.path and not any(row.path.startswith(above + "/") for above in told):
                yield _collision(row.path, other)


def _key(path: str) -> str:
    return unicodedata.normalize("NFC", path).lower()


def _collision(path: str, other: str) -> Finding:
    fix = "rename one of the two, in the label files as well"
    return Finding(path, "is the same name as {other} on Windows and macOS", other=other, fix=fix)
