"""How fast `dldoctor scan` is, against its floor and its peers, on the same files in one run.

    python benchmarks/scan.py [--pictures 3000] [--workers 2] [--repeat 3] [--skip cleanvision]

The floor is the least that any honest scan must do: read the bytes and decode them strictly, with simplejpeg at 1/8 in
plain worker processes. `Pillow load()` decodes in full and sees less. cleanvision is timed when it is installed.
The pictures are crops of the photographs that scikit-image and scikit-learn ship, 500 x 375, JPEG.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from peaks import watched

# dldoctor is imported where it is used: the floor's processes import this file again and must not pay for it


def make(folder: Path, count: int) -> list[str]:
    """Write `count` pictures in five classes and two splits."""
    import numpy
    from PIL import Image
    from skimage import data
    from sklearn.datasets import load_sample_image

    photos = [
        Image.fromarray(pixels)
        for pixels in (
            load_sample_image("china.jpg"),
            load_sample_image("flower.jpg"),
            data.astronaut(),
            data.coffee(),
            data.rocket(),
        )
    ]
    chance = numpy.random.default_rng(0)
    paths = []
    for number in range(count):
        photo = photos[number % len(photos)]
        width, height = photo.width * 3 // 4, photo.height * 3 // 4
        left, top = chance.integers(photo.width - width), chance.integers(photo.height - height)
        target = folder / ("val" if number % 7 == 0 else "train") / f"class{number % 5}" / f"{number:05d}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        crop = photo.crop((left, top, left + width, top + height)).resize((500, 375))
        crop.save(target, quality=int(chance.integers(80, 95)))
        paths.append(str(target))
    return paths


def decode_strictly(path: str) -> None:
    """The floor's work on one file."""
    import simplejpeg

    with open(path, "rb") as file:
        data = file.read()
    simplejpeg.decode_jpeg(
        data, "GRAY", fastdct=True, fastupsample=True, min_height=1, min_width=1, min_factor=8, strict=True
    )


def load_by_pillow(path: str) -> None:
    """A loop over `load()`, as most hand-written checks have it."""
    from PIL import Image

    with open(path, "rb") as file:
        data = file.read()
    Image.open(io.BytesIO(data)).load()


def in_processes(work: Callable[[str], None], paths: list[str], workers: int) -> None:
    """Plain worker processes, started anew, as any command line starts them."""
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        pool.map(work, paths, chunksize=32)


def by_cleanvision(folder: Path, workers: int) -> None:
    """The peer's nearest: the issues that need every picture opened, duplicates among them."""
    import contextlib

    from cleanvision import Imagelab

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        Imagelab(data_path=str(folder)).find_issues(n_jobs=workers, verbose=False)


def contenders(folder: Path, paths: list[str], workers: int, store: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    from dldoctor.examine import scan
    from dldoctor.resources import Resources

    def examine(cache: Path | None) -> None:
        report = scan(folder, resources=Resources(workers=workers, cache=cache))
        if report.outcome.crashes:
            raise SystemExit(f"the scan failed: {report.outcome.crashes[0].error}")

    yield "floor: simplejpeg strict 1/8", lambda: in_processes(decode_strictly, paths, workers)
    yield "dldoctor scan, cold", lambda: examine(None)
    examine(store)
    yield "dldoctor scan, warm", lambda: examine(store)
    yield "Pillow load(), processes", lambda: in_processes(load_by_pillow, paths, workers)
    yield "Pillow load(), one loop", lambda: [load_by_pillow(path) for path in paths] and None
    if importlib.util.find_spec("cleanvision"):
        yield "cleanvision", lambda: by_cleanvision(folder, workers)
    else:
        print("cleanvision is not installed: left out (pip install cleanvision)")


def peak(name: str, folder: Path, paths: list[str], workers: int, store: Path) -> float:
    """MB that one contender's processes hold together at most, run once more in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as alone:
        return alone.submit(_peak, name, folder, paths, workers, store).result()


def _peak(name: str, folder: Path, paths: list[str], workers: int, store: Path) -> float:
    run = next(run for known, run in contenders(folder, paths, workers, store) if known == name)
    with watched(os.getpid()) as found:
        run()
    return found.together


def main() -> None:
    from dldoctor.resources import usable_cores

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=3000)
    parser.add_argument("--workers", type=int, default=usable_cores())
    parser.add_argument("--repeat", type=int, default=3, help="rounds; all contenders run once in each")
    parser.add_argument("--skip", nargs="*", default=[], help="contenders whose names begin so are left out")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dldoctor-benchmark-") as temporary:
        folder = Path(temporary, "pictures")
        paths = make(folder, options.pictures)
        megabytes = sum(Path(path).stat().st_size for path in paths) / 1e6
        print(f"{len(paths)} JPEGs of 500 x 375, {megabytes:.0f} MB, {options.workers} workers, "
              f"median of {options.repeat} rounds")  # fmt: skip
        known = contenders(folder, paths, options.workers, Path(temporary, "cache"))
        rounds = [(name, run) for name, run in known if not name.startswith(tuple(options.skip))]
        seconds: dict[str, list[float]] = {name: [] for name, _ in rounds}
        for _ in range(options.repeat):
            for name, run in rounds:
                started = time.perf_counter()
                run()
                seconds[name].append(time.perf_counter() - started)
        floor = statistics.median(seconds["floor: simplejpeg strict 1/8"])
        print(f"{'':30}{'seconds':>9}{'images/s':>10}{'of floor':>10}{'MB':>7}")
        for name, taken in seconds.items():
            median = statistics.median(taken)
            memory = peak(name, folder, paths, options.workers, Path(temporary, "cache"))
            print(f"{name:30}{median:9.2f}{len(paths) / median:10.0f}{floor / median:10.2f}{memory:7.0f}")


if __name__ == "__main__":
    main()
