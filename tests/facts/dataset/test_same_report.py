"""The same dataset gives the same report, whatever the workers, the cache and the order in which files are listed."""

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dldoctor.examine import scan
from dldoctor.facts.dataset import pool
from dldoctor.resources import Resources

from ...checks.dataset_folder import encoded, photo, put


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two splits and two classes with a fault of several kinds in each."""
    folder = tmp_path / "data"
    for number in range(60):
        split, label = ("val", "train")[number % 3 > 0], ("cat", "dog")[number % 2]
        put(folder, {f"{split}/{label}/{number:02}.{('jpg', 'png')[number % 4 == 0]}": photo(number)})
    put(
        folder,
        {
            "train/cat/cut.jpg": encoded(photo(80))[:-300],
            "train/dog/cut.png": encoded(photo(81), "PNG")[:-300],
            "train/dog/copy.jpg": encoded(photo(1)),
            "val/dog/copy.jpg": encoded(photo(1)),
            "val/cat/empty.jpg": b"",
            "val/cat/page.jpg": "<html>404</html>",
            "val/cat/grey.png": photo(82).convert("L"),
            "val/cat/turned.jpg": encoded(
                photo(83), exif=b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"
            ),
        },
    )
    return folder


def report(folder: Path, workers: int, cache: Path | None, form: str) -> str:
    found = scan(folder, resources=Resources(workers=workers, cache=cache))
    assert found.outcome.crashes == ()
    object.__setattr__(found.outcome, "seconds", 0.0)
    return found.to_json() if form == "json" else str(found)


@pytest.mark.parametrize("form", ["json", "terminal"])
def test_the_report_is_the_same_byte_for_byte(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setattr(pool, "WORTH_FILES", 5)  # so that four workers really start
    once = report(data, 1, tmp_path / "cache", form)
    assert "IMG001" in once
    assert "SPL001" in once
    assert report(data, 1, tmp_path / "cache", form) == once
    assert report(data, 4, None, form) == once
    real = os.scandir

    def shuffled(path: Any) -> Iterator[os.DirEntry[str]]:
        entries = list(real(path))
        random.Random(4).shuffle(entries)
        return iter(entries)

    monkeypatch.setattr(os, "scandir", shuffled)
    assert report(data, 4, None, form) == once
