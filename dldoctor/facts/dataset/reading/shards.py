"""Tar archives of samples: their members by offset, without unpacking; nothing a member's name says is ever opened."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from dldoctor.facts.dataset.annotated import Fault


@dataclass(frozen=True)
class Member:
    """A file of an archive: where its bytes lie."""

    name: str
    offset: int
    size: int


@dataclass
class Shard:
    """One archive: its files, and what is wrong with it."""

    members: list[Member] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


def read_shard(path: Path, shown: str) -> Shard:
    """The members of a tar that is not compressed, up to where it breaks off."""
    shard = Shard()
    try:
        length = path.stat().st_size
        with path.open("rb") as opened:
            _read_members(shard, opened, shown, length)
    except OSError as error:
        shard.faults.append(Fault(shown, f"can't be read: {error.strerror}"))
    return shard


def _read_members(shard: Shard, opened: BinaryIO, shown: str, length: int) -> None:
    outside: list[str] = []
    last = ""
    try:
        with tarfile.open(fileobj=opened, mode="r:", errorlevel=0) as archive:
            for info in archive:
                if info.name.startswith("/") or ".." in info.name.split("/"):
                    outside.append(info.name)
                elif info.isreg():
                    if info.offset_data + info.size > length:
                        there = max(0, length - info.offset_data)
                        of = f"after {there:,} of its {info.size:,} bytes"
                        what = f"ends inside of {info.name}, {of}: the archive is cut"
                        shard.faults.append(Fault(shown, what))
                        break
                    shard.members.append(Member(info.name, info.offset_data, info.size))
                last = info.name
                archive.members = []  # type: ignore[attr-defined]  # a list that would only grow
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        cut = "end of data" in str(error) or "truncated" in str(error) or "empty" in str(error)
        after = f" after {last}" if last else ""
        what = f"ends in the middle{after}: the archive is cut" if cut else f"can't be read{after}: {error}"
        if not any(fault.what.startswith("ends inside") for fault in shard.faults):
            shard.faults.append(Fault(shown, what))
    if outside:
        what = f"has members whose names lead out of the folder it is unpacked in, such as {outside[0]!r}"
        shard.faults.append(Fault(shown, what, count=len(outside)))


def read_member(path: Path, members: list[Member], most: int) -> Iterator[bytes]:
    """The bytes of small members, in one pass; empty for one that is larger than `most`."""
    with path.open("rb", buffering=0) as opened:
        for member in members:
            if member.size > most:
                yield b""
                continue
            opened.seek(member.offset)
            yield opened.read(member.size)
