"""The cache of measurements: Parquet parts in the user's cache folder, one folder per dataset and measuring code."""

from __future__ import annotations

import os
import shutil
import threading
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars

Row = dict[str, Any]

#: a part is written after this many rows or seconds, whichever comes first
PART_ROWS, PART_SECONDS = 5000, 5.0
#: more parts than this are merged into one
PARTS = 8


class MeasurementCache:
    """Rows by path, size and time of change. Parts are only ever added and replaced as wholes, so that a killed scan
    loses a few seconds of work at most and two scans at once do no harm to each other."""

    def __init__(self, folder: Path, root: Path, schema: dict[str, Any]) -> None:
        import xxhash

        self.schema = schema
        self.mine = folder / "pictures" / xxhash.xxh3_64_hexdigest(os.fsencode(root))
        self.folder = self.mine / _version()
        self.waiting: list[Row] = []
        self.last = time.monotonic()
        self.lock = threading.Lock()
        self.parts: list[Path] = []
        self.usable = True

    def load(self) -> polars.DataFrame:
        """What is known, the newest row of each file."""
        import polars

        frames = []
        self.parts = sorted(self.folder.glob("*.parquet"))
        for part in self.parts:
            try:
                frames.append(polars.read_parquet(part).select(list(self.schema)).cast(self.schema))  # type: ignore[arg-type]  # names to types
            except (OSError, polars.exceptions.PolarsError):  # merged away by another scan, or damaged
                continue
        if not frames:
            return polars.DataFrame(schema=self.schema)
        return polars.concat(frames).unique(["path", "role"], keep="last", maintain_order=True)

    def add(self, row: Row) -> None:
        """Keep a row; now and then a part is written."""
        with self.lock:
            self.waiting.append(row)
            if len(self.waiting) < PART_ROWS and time.monotonic() - self.last < PART_SECONDS:
                return
            rows, self.waiting, self.last = self.waiting, [], time.monotonic()
        self._write(rows)

    def close(self) -> None:
        """Write what waits, merge parts when they grew many, and drop what older code measured."""
        self._write(self.waiting)
        self.waiting = []
        if not self.usable:
            return
        if len(self.parts) > PARTS:
            merged = self.load()
            old = list(self.parts)
            if self._write_frame(merged):
                for part in old:
                    part.unlink(missing_ok=True)
        for other in self.mine.iterdir() if self.mine.is_dir() else ():
            if other != self.folder:
                shutil.rmtree(other, ignore_errors=True)

    def _write(self, rows: list[Row]) -> None:
        import polars

        if rows and self.usable:
            self._write_frame(polars.DataFrame(rows, schema=self.schema))

    def _write_frame(self, frame: polars.DataFrame) -> bool:
        # Names sort by time; parts of two scans in the same instant differ by the random end.
        target = self.folder / f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}.parquet"
        half = target.with_suffix(".tmp")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            frame.write_parquet(half)
            os.replace(half, target)
        except OSError:  # a full or read-only disk costs the cache, not the scan
            self.usable = False
            return False
        self.parts.append(target)
        return True


def _version() -> str:
    """A hash of the code that measures and of the decoders' versions."""
    from importlib.metadata import version

    import xxhash

    digest = xxhash.xxh3_64()
    for module in sorted(Path(__file__).with_name("measuring").glob("*.py")):
        digest.update(module.read_bytes())
    for package in ("pillow", "simplejpeg"):
        digest.update(f"{package} {version(package)}".encode())
    return digest.hexdigest()
