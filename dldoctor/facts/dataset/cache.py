"""The cache of measurements: Parquet parts in the user's cache folder, one folder per dataset and measuring code."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars

#: parts with fewer rows than this are small, and so many small ones are merged into one
SMALL, PARTS = 5000, 8


class MeasurementCache:
    """Rows by path, size and time of change. Parts are only ever added and replaced as wholes, so that a killed scan
    loses a few seconds of work at most and two scans at once do no harm to each other."""

    def __init__(self, folder: Path, root: Path, schema: dict[str, Any]) -> None:
        import xxhash

        self.schema = schema
        self.mine = folder / "pictures" / xxhash.xxh3_64_hexdigest(os.fsencode(root))
        self.folder = self.mine / _version()
        #: rows by part
        self.parts: dict[Path, int] = {}
        self.usable = True

    def load(self) -> polars.DataFrame:
        """What is known, the newest rows last; a file that has changed has more than one."""
        import polars

        frames = self._read(sorted(self.folder.glob("*.parquet")))
        self.parts = {path: frame.height for path, frame in frames.items()}
        return polars.concat(frames.values()) if frames else polars.DataFrame(schema=self.schema)

    def write(self, frame: polars.DataFrame) -> None:
        """Keep rows, as one more part."""
        import polars

        # Names sort by time; parts of two scans in the same instant differ by the random end.
        target = self.folder / f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}.parquet"
        half = target.with_suffix(".tmp")
        if not frame.height or not self.usable:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            frame.write_parquet(half)
            os.replace(half, target)
        except (OSError, polars.exceptions.PolarsError):  # a full or read-only disk costs the cache, not the scan
            self.usable = False
            with contextlib.suppress(OSError):
                half.unlink(missing_ok=True)
            return
        self.parts[target] = frame.height

    def close(self, pictures: int) -> None:
        """Merge small parts when they grew many, all parts when most of their rows are stale, and drop what older code
        measured. `pictures` is how many files the dataset has."""
        import polars

        rows = sum(self.parts.values())
        stale = rows > 2 * pictures + SMALL
        merged = [path for path, height in self.parts.items() if stale or height < SMALL]
        if self.usable and (stale or len(merged) > PARTS):
            frames = self._read(merged) or {Path(): polars.DataFrame(schema=self.schema)}
            self.write(polars.concat(frames.values()).unique(["path", "role"], keep="last", maintain_order=True))
            if self.usable:
                for path in merged:
                    path.unlink(missing_ok=True)
        for other in self.mine.iterdir() if self.usable and self.mine.is_dir() else ():
            if other != self.folder:
                shutil.rmtree(other, ignore_errors=True)

    def _read(self, paths: Iterable[Path]) -> dict[Path, polars.DataFrame]:
        import polars

        frames = {}
        for path in paths:
            try:
                frames[path] = polars.read_parquet(path).select(list(self.schema)).cast(self.schema)  # type: ignore[arg-type]  # names to types
            except (OSError, polars.exceptions.PolarsError):  # merged away by another scan, or damaged
                continue
        return frames


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
