"""What share of damaged pictures `dldoctor scan` finds, beside Pillow's `load()` and OpenCV, on the same files.

    python benchmarks/damage.py [--originals 1000] [--mutants 100000] [--seed 0]

Good files of six formats, made from the photographs that scikit-image and scikit-learn ship, are cut, overwritten,
zeroed, spliced and given lying headers. A mutant counts as harmed when it no longer decodes to the pixels of its
original; a mutant that is reported although its pixels are whole is listed apart. OpenCV is asked when it is installed.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import io
import multiprocessing
import os
import resource
import struct
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

BATCH = 2000
#: pixels beyond which a mutant of a small picture counts as refused by the peers; they would spend seconds on it
TOO_LARGE = 4_000_000
#: outcomes that a check speaks about; `skipped` are files with too many pixels to decode
REPORTED = ("failed", "unidentified", "empty", "died", "timeout", "skipped")


@dataclass(frozen=True)
class Original:
    """A good file: its format's name with what is special about it, its bytes, and what its pixels are."""

    kind: str
    data: bytes
    pixels: str

    @property
    def format(self) -> str:
        return self.kind.partition(" ")[0]


#: how a format is written: (Pillow's format, mode, options)
KINDS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "JPEG baseline": ("JPEG", "RGB", {"quality": 85}),
    "JPEG grey": ("JPEG", "L", {"quality": 75}),
    "JPEG progressive": ("JPEG", "RGB", {"quality": 90, "progressive": True}),
    "JPEG restart": ("JPEG", "RGB", {"quality": 85, "restart_marker_rows": 2}),
    "PNG rgb": ("PNG", "RGB", {}),
    "PNG palette": ("PNG", "P", {}),
    "GIF": ("GIF", "P", {}),
    "BMP": ("BMP", "RGB", {}),
    "WebP lossy": ("WEBP", "RGB", {"quality": 80}),
    "WebP lossless": ("WEBP", "RGB", {"lossless": True}),
    "TIFF raw": ("TIFF", "RGB", {}),
    "TIFF lzw": ("TIFF", "RGB", {"compression": "tiff_lzw"}),
}


def originals(count: int, chance: Random) -> list[Original]:
    """`count` different cut-outs, each kind in turn."""
    from PIL import Image
    from skimage import data
    from sklearn.datasets import load_sample_image

    photos = [
        Image.fromarray(pixels)
        for pixels in (load_sample_image("china.jpg"), load_sample_image("flower.jpg"), data.astronaut(), data.coffee())
    ]
    found = []
    for number in range(count):
        kind, (name, mode, options) = list(KINDS.items())[number % len(KINDS)]
        photo = photos[number % len(photos)]
        width, height = chance.randrange(80, 200), chance.randrange(80, 200)
        left, top = chance.randrange(photo.width - width), chance.randrange(photo.height - height)
        out = io.BytesIO()
        photo.crop((left, top, left + width, top + height)).convert(mode).save(out, name, **options)
        found.append(Original(kind, out.getvalue(), pixels_of(out.getvalue()) or ""))
    return found


def pixels_of(data: bytes) -> str | None:
    """What Pillow decodes, hashed with its shape; None where it raises."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.width * image.height > TOO_LARGE:
                return None
            picture = image.convert("RGB")
            return hashlib.blake2b(picture.tobytes(), digest_size=16).hexdigest() + str(picture.size)
    except Exception:
        return None


def _at(data: bytes, chance: Random, size: int = 1) -> int:
    return chance.randrange(0, max(1, len(data) - size))


def _overwrite(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def _sides(data: bytes) -> tuple[int, str] | None:
    """Where the header keeps its sides, and as what."""
    if data[:3] == b"\xff\xd8\xff":
        at = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
        return (at + 5, ">HH") if at > 0 else None
    if data[:4] == b"\x89PNG":
        return 16, ">II"
    if data[:3] == b"GIF":
        return 6, "<HH"
    return (18, "<ii") if data[:2] == b"BM" else None


def _lie(data: bytes, chance: Random, scale: Callable[[int], int]) -> bytes:
    where = _sides(data)
    if where is None:
        return _overwrite(data, _at(data[:64], chance, 4), chance.randbytes(4))
    at, form = where
    sides = [max(1, min(65535, scale(side))) for side in struct.unpack_from(form, data, at)]
    new = struct.pack(form, *sides)
    if data[:4] == b"\x89PNG":  # with the checksum that goes with the lie
        import zlib

        body = data[12:16] + new + data[24:29]
        return data[:12] + body + struct.pack(">I", zlib.crc32(body)) + data[33:]
    return _overwrite(data, at, new)


MUTATIONS: dict[str, Callable[[bytes, bytes, Random], bytes]] = {
    "cut": lambda data, other, chance: data[: _at(data, chance)],
    "cut at the end": lambda data, other, chance: data[: -chance.randrange(1, 64)],
    "bit flipped": lambda data, other, chance: _flip(data, chance),
    "64 bytes overwritten": lambda data, other, chance: _overwrite(data, _at(data, chance, 64), chance.randbytes(64)),
    "block zeroed": lambda data, other, chance: _overwrite(data, _at(data, chance, 512), bytes(512)),
    "end zeroed": lambda data, other, chance: data[: (at := _at(data, chance))] + bytes(len(data) - at),
    "piece removed": lambda data, other, chance: data[: (at := _at(data, chance, 300))] + data[at + 300 :],
    "spliced": lambda data, other, chance: data[: (at := _at(data, chance))] + other[at:],
    "header lies": lambda data, other, chance: _lie(data, chance, lambda side: side + chance.choice((-9, 7, 40, 300))),
    "huge sides": lambda data, other, chance: _lie(data, chance, lambda side: side * chance.randrange(100, 600)),
}


def _flip(data: bytes, chance: Random) -> bytes:
    at = _at(data, chance)
    return _overwrite(data, at, bytes([data[at] ^ 1 << chance.randrange(8)]))


def mutants(good: list[Original], count: int, chance: Random) -> Iterator[tuple[Original, str, bytes]]:
    """`count` damaged files: every way in turn, on every original in turn."""
    ways = list(MUTATIONS.items())
    by_kind: dict[str, list[Original]] = defaultdict(list)
    for original in good:
        by_kind[original.kind].append(original)
    for number in range(count):
        original = good[number // len(ways) % len(good)]
        name, mutate = ways[number % len(ways)]
        yield original, name, mutate(original.data, chance.choice(by_kind[original.kind]).data, chance)


def by_dldoctor(paths: list[str], workers: int) -> list[str]:
    """The outcome of each file, by the worker processes of a scan."""
    from dldoctor.facts.dataset.pool import measure_all
    from dldoctor.resources import Resources

    outcomes = [""] * len(paths)

    def done(index: int, row: dict[str, Any]) -> None:
        outcomes[index] = row["outcome"]

    resources = Resources(workers=workers, stop=threading.Event())
    measure_all([(path, "picture") for path in paths], [10_000] * len(paths), resources, done)
    return outcomes


def by_peers(path: str) -> tuple[str | None, bool, bool]:
    """(the pixels as Pillow sees them, whether Pillow's load() raises, whether OpenCV refuses), of one file."""
    from PIL import Image

    data = Path(path).read_bytes()
    refused = True
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.width * image.height <= TOO_LARGE:
                image.load()
                refused = False
    except Exception:
        pass
    opencv = False
    os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(TOO_LARGE)
    if importlib.util.find_spec("cv2"):
        import cv2

        try:
            opencv = cv2.imread(path, cv2.IMREAD_UNCHANGED) is None
        except cv2.error:
            opencv = True
    return (None if refused else pixels_of(data)), refused, opencv


def main() -> None:
    from dldoctor.resources import usable_cores

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--originals", type=int, default=1000)
    parser.add_argument("--mutants", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=usable_cores())
    options = parser.parse_args()
    chance = Random(options.seed)
    good = originals(options.originals, chance)
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    outcomes: Counter[str] = Counter()
    seconds = slowest = 0.0
    stream = mutants(good, options.mutants, chance)
    left = options.mutants
    with (
        tempfile.TemporaryDirectory(prefix="dldoctor-damage-") as folder,
        multiprocessing.get_context("spawn").Pool(options.workers) as pool,
    ):
        whole = _write(Path(folder, "whole"), [original.data for original in good])
        alarms = [outcome for outcome in by_dldoctor(whole, options.workers) if outcome in REPORTED]
        print(f"{len(good)} good files: {len(alarms)} reported")
        while left > 0:
            batch = [next(stream) for _ in range(min(BATCH, left))]
            left -= len(batch)
            paths = _write(Path(folder, "mutants"), [data for _, _, data in batch])
            began = time.perf_counter()
            found = by_dldoctor(paths, options.workers)
            taken = time.perf_counter() - began
            seconds, slowest = seconds + taken, max(slowest, taken)
            for (original, way, data), outcome, (pixels, refused, opencv) in zip(
                batch, found, pool.map(by_peers, paths, chunksize=100), strict=True
            ):
                outcomes[outcome] += 1
                harmed = pixels != original.pixels
                if data == original.data:
                    continue
                for key in ((original.format, way), (original.format, "all")):
                    counts[key]["mutants"] += 1
                    counts[key]["harmed"] += harmed
                    counts[key]["whole, reported"] += not harmed and outcome in REPORTED
                    counts[key]["dldoctor"] += harmed and outcome in REPORTED
                    counts[key]["Pillow"] += harmed and refused
                    counts[key]["OpenCV"] += harmed and opencv
        # the peers' processes still run, so these are dldoctor's
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"{options.mutants} mutants in {seconds:.0f} s, slowest {BATCH} in {slowest:.1f} s")
    print(f"outcomes {dict(outcomes)}")
    print(f"dldoctor's largest process {peak:.0f} MB")
    print(f"{'':30}{'mutants':>9}{'harmed':>9}{'dldoctor':>10}{'Pillow':>8}{'OpenCV':>8}{'whole, reported':>17}")
    for (name, way), count in sorted(counts.items(), key=lambda item: (item[0][0], item[0][1] != "all", item[0][1])):
        shares = [count[who] / max(1, count["harmed"]) for who in ("dldoctor", "Pillow", "OpenCV")]
        print(
            f"{name + ' ' + way:30}{count['mutants']:9}{count['harmed']:9}{shares[0]:10.1%}{shares[1]:8.1%}"
            f"{shares[2]:8.1%}{count['whole, reported']:17}"
        )


def _write(folder: Path, files: list[bytes]) -> list[str]:
    folder.mkdir(exist_ok=True)
    paths = []
    for number, data in enumerate(files):
        path = folder / f"{number:05d}.bin"
        path.write_bytes(data)
        paths.append(str(path))
    return paths


if __name__ == "__main__":
    main()
