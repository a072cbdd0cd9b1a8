"""Where in a file something is wrong: lines and columns from bytes, and what a file is that should be json."""

from __future__ import annotations

import json
import re

from dldoctor.facts.dataset.annotated import Fault

#: what may be too large for a float: an exponent of three digits, or very many digits
_LONG_NUMBER = re.compile(rb"-?\d[\d.]*[eE]\+?\d{3,}|\d{309,}")


def line_and_column(data: bytes, place: int) -> tuple[int, int]:
    """Both count from 1; the column counts characters."""
    start = data.rfind(b"\n", 0, place) + 1
    return data.count(b"\n", 0, place) + 1, len(data[start:place].decode("utf-8", "replace")) + 1


def line_at(data: bytes, place: int, most: int = 160) -> str:
    """The line a place is in, or what stands around the place where lines are long."""
    start = max(data.rfind(b"\n", 0, place) + 1, place - most // 2)
    end = data.find(b"\n", place)
    return data[start : min(end if end >= 0 else len(data), start + most)].decode("utf-8", "replace").strip()


def foreign(data: bytes) -> str | None:
    """What a file is that only bears the name of an annotation; None when it may be one."""
    head = data[:400].lstrip(b"\xef\xbb\xbf \t\r\n")
    if not head:
        return "is empty"
    if head.startswith(b"version https://git-lfs"):
        return "is a pointer of git-lfs, not the file itself: run git lfs pull"
    if re.match(rb"<!doctype html|<html", head, re.I):
        return "is a web page, not the file that was to be downloaded"
    if not data.strip(b"\0"):
        return "holds nothing but zero bytes"
    return None


def cause_of_failure(data: bytes, shown: str, said: str) -> Fault | None:
    """Why json could not be parsed; None when Python's own json takes it all the same (NaN, for instance)."""
    what = foreign(data)
    if what is not None:
        return Fault(shown, what)
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return Fault(shown, "is written in UTF-16; json is UTF-8", 1, 1)
    if data.startswith(b"\xef\xbb\xbf"):
        rest = _parsed(data[3:], shown)
        return rest or Fault(shown, "begins with a byte order mark, which json.load refuses", 1, 1, mild=True)
    malformed = re.search(r"malformed.*\(byte (\d+)\)", said)
    if malformed and b"NaN" not in data and b"Infinity" not in data:
        return _at(data, shown, _reason(said), int(malformed[1]))
    if "out of range" in said:
        number = _LONG_NUMBER.search(data)
        return _at(data, shown, "has a number that is out of range", number.start() if number else 0)
    if "truncated" in said:
        return _at(data, shown, "ends in the middle: the file is cut", len(data.rstrip()))
    return _parsed(data, shown)


def _parsed(data: bytes, shown: str) -> Fault | None:
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        return _at(data, shown, f"is not UTF-8: byte 0x{data[error.start]:02x}", error.start)
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        cut = error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string")
        if cut:
            return _at(data, shown, "ends in the middle: the file is cut", len(data.rstrip()))
        return Fault(shown, f"does not parse: {_lower(error.msg)}", error.lineno, error.colno,
                     line_at(data, len(text[: error.pos].encode())))  # fmt: skip
    except RecursionError:
        return Fault(shown, "is nested too deeply for a parser")
    except ValueError:  # Python makes no int of thousands of digits
        return Fault(shown, "has a number that is out of range")
    return None


def _reason(said: str) -> str:
    return f"does not parse: {said.partition('malformed: ')[2].partition(' (byte')[0] or said}"


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _at(data: bytes, shown: str, what: str, place: int) -> Fault:
    line, column = line_and_column(data, place)
    return Fault(shown, what, line, column, line_at(data, max(0, min(place, len(data) - 1))))


def item_places(data: bytes, key: str, number: int) -> int | None:
    """The byte where entry `number` of the list under a key of the top object begins."""
    found = re.search(rb'"%s"\s*:\s*\[' % key.encode(), data)
    if found is None:
        return None
    decoder, text = json.JSONDecoder(), data[found.end() :].decode("utf-8", "replace")
    at = 0
    for _ in range(number):
        at = _past_blanks(text, at)
        try:
            _, at = decoder.raw_decode(text, at)
        except ValueError:
            return None
        at = _past_blanks(text, at)
        if text[at : at + 1] != ",":
            return None
        at += 1
    return found.end() + len(text[: _past_blanks(text, at)].encode())


def _past_blanks(text: str, at: int) -> int:
    while text[at : at + 1].isspace():
        at += 1
    return at
