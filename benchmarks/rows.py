"""What `dldoctor scan` costs by the number of pictures: seconds and peak memory, against a walk that stats each file.

    python benchmarks/rows.py [--pictures 10000 200000] [--workers 2]

The pictures are tiny, so that what is paid for a row shows beside what is paid for its pixels. Each scan is a process
of its own, as a user starts it, with every check; memory is the largest of its processes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from peaks import watched


def make(folder: Path, count: int) -> None:
    """`count` different JPEGs of 48 x 48 in ten classes and two splits."""
    import numpy
    import simplejpeg

    chance = numpy.random.default_rng(0)
    tile = numpy.ones((8, 8, 1), numpy.uint8)
    for number in range(count):
        target = folder / ("val" if number % 7 == 0 else "train") / f"class{number % 10}"
        if number < 70:
            target.mkdir(parents=True, exist_ok=True)
        pixels = numpy.kron(chance.integers(0, 255, (6, 6, 3), dtype=numpy.uint8), tile)
        data = simplejpeg.encode_jpeg(numpy.ascontiguousarray(pixels), quality=85)
        (target / f"{number:07d}.jpg").write_bytes(data)


def walk(folder: str) -> int:
    """The least that finding changed files takes: list all, stat each."""
    count = 0
    for entry in os.scandir(folder):
        if entry.is_dir():
            count += walk(entry.path)
        else:
            entry.stat()
            count += 1
    return count


def scan(folder: Path, cache: Path | None, workers: int) -> tuple[float, float]:
    """(seconds, MB of the largest process) of one scan."""
    words = [sys.executable, "-m", "dldoctor", "scan", str(folder), "--workers", str(workers), "--fail-on", "never"]
    environment = {**os.environ, "DLDOCTOR_CACHE": str(cache)} if cache else dict(os.environ)
    began = time.perf_counter()
    process = subprocess.Popen(words if cache else [*words, "--no-cache"], stdout=subprocess.DEVNULL, env=environment)
    with watched(process.pid) as peak:
        status = process.wait()
    if status:
        raise SystemExit(f"{' '.join(words)}: ended with status {status}")
    return time.perf_counter() - began, peak.largest


def main() -> None:
    from dldoctor.resources import usable_cores

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, nargs="+", default=[10_000, 200_000])
    parser.add_argument("--workers", type=int, default=usable_cores())
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dldoctor-rows-") as temporary:
        print(f"{'pictures':>10}{'':16}{'seconds':>9}{'of the walk':>13}{'MB':>7}")
        for count in options.pictures:
            folder, cache = Path(temporary, str(count)), Path(temporary, f"cache{count}")
            make(folder, count)
            walk(str(folder))
            began = time.perf_counter()
            walk(str(folder))
            floor = time.perf_counter() - began
            print(f"{count:10,}{'  scandir + stat':16}{floor:9.2f}{1:13.1f}")
            for name, store in (("  cold, no cache", None), ("  cold", cache), ("  warm", cache)):
                seconds, memory = scan(folder, store, options.workers)
                print(f"{count:10,}{name:16}{seconds:9.2f}{seconds / floor:13.1f}{memory:7.0f}")


if __name__ == "__main__":
    main()
