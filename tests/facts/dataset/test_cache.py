"""The cache of measurements."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import polars
import pytest

from dldoctor.examine import scan
from dldoctor.facts.dataset import cache, pool
from dldoctor.resources import Resources

from ...checks.dataset_folder import encoded, photo, put


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were handed to workers."""
    names: list[str] = []
    real = pool.measure_all

    def spy(tasks: Any, *rest: Any, **options: Any) -> None:
        names.extend(Path(path).name for path, *_ in tasks)
        real(tasks, *rest, **options)

    monkeypatch.setattr(pool, "measure_all", spy)
    return names


def codes(folder: Path, store: Path | None) -> list[str]:
    report = scan(folder, resources=Resources(workers=1, cache=store))
    assert report.outcome.crashes == ()
    return [entry.check.code for entry in report]


def test_only_new_and_changed_files_are_read_again(tmp_path: Path, decoded: list[str]) -> None:
    data, store = tmp_path / "data", tmp_path / "cache"
    put(data, {f"{n}.jpg": photo(n) for n in range(4)})
    assert codes(data, store) == []
    assert sorted(decoded) == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]
    decoded.clear()
    assert codes(data, store) == []
    assert decoded == []
    put(data, {"1.jpg": encoded(photo(1))[:-300], "9.jpg": photo(9)})
    assert codes(data, store) == ["IMG001"]
    assert sorted(decoded) == ["1.jpg", "9.jpg"]
    decoded.clear()
    assert codes(data, store) == ["IMG001"]
    assert decoded == []


def test_a_killed_scan_is_taken_up_where_it_was(
    tmp_path: Path, broken_decoder: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, store = tmp_path / "data", tmp_path / "cache"
    put(data, {f"{n:02}.jpg": photo(n) for n in range(8)})
    put(data, {"stall.jpg": photo(9)})
    code = (
        "from pathlib import Path; import dldoctor; from dldoctor.facts.dataset import measurements; "
        "measurements.PART_ROWS = 2; "
        f"dldoctor.scan({str(data)!r}, resources=dldoctor.Resources(workers=1, cache=Path({str(store)!r})))"
    )
    killed = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 30
    while len(list(store.rglob("*.parquet"))) < 4 and time.monotonic() < deadline:
        time.sleep(0.05)
    killed.kill()
    killed.wait()
    monkeypatch.undo()  # the decoder is whole again
    again: list[str] = []
    real = pool.measure_all

    def spy(tasks: Any, *rest: Any, **options: Any) -> None:
        again.extend(Path(path).name for path, *_ in tasks)
        real(tasks, *rest, **options)

    monkeypatch.setattr(pool, "measure_all", spy)
    assert codes(data, store) == []
    assert again == ["stall.jpg"]


def test_without_a_cache_nothing_is_kept(tmp_path: Path, decoded: list[str]) -> None:
    put(tmp_path / "data", {"0.jpg": photo(0)})
    codes(tmp_path / "data", None)
    codes(tmp_path / "data", None)
    assert decoded == ["0.jpg", "0.jpg"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


def test_other_measuring_code_makes_the_cache_stale(
    tmp_path: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, store = tmp_path / "data", tmp_path / "cache"
    put(data, {"0.jpg": photo(0)})
    codes(data, store)
    monkeypatch.setattr(cache, "_version", lambda: "other")
    codes(data, store)
    assert decoded == ["0.jpg", "0.jpg"]
    (kept,) = (store / "pictures").iterdir()
    assert [folder.name for folder in kept.iterdir()] == ["other"]


def test_damaged_and_half_written_parts_are_passed_over(tmp_path: Path, decoded: list[str]) -> None:
    data, store = tmp_path / "data", tmp_path / "cache"
    put(data, {"0.jpg": photo(0)})
    codes(data, store)
    (part,) = store.rglob("*.parquet")
    part.with_name("1.parquet").write_bytes(b"PAR1 cut")
    part.with_name("2.tmp").write_bytes(b"half")
    assert codes(data, store) == []
    assert decoded == ["0.jpg"]
    part.write_bytes(part.read_bytes()[:100])
    assert codes(data, store) == []
    assert decoded == ["0.jpg", "0.jpg"]


def test_many_parts_are_merged(tmp_path: Path, decoded: list[str]) -> None:
    data, store = tmp_path / "data", tmp_path / "cache"
    for number in range(cache.PARTS + 2):
        put(data, {f"{number}.jpg": photo(number)})
        codes(data, store)
    assert len(decoded) == cache.PARTS + 2
    assert len(list(store.rglob("*.parquet"))) < cache.PARTS
    decoded.clear()
    codes(data, store)
    assert decoded == []


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(tmp_path: Path, decoded: list[str]) -> None:
    put(tmp_path / "data", {"0.jpg": photo(0)})
    (tmp_path / "cache").write_text("a file where a folder is wanted")
    assert codes(tmp_path / "data", tmp_path / "cache") == []


def test_a_full_disk_costs_the_cache_and_not_the_scan(
    tmp_path: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: polars.DataFrame, file: Path) -> None:
        file.write_bytes(b"PAR1")
        raise polars.exceptions.ComputeError("parquet: underlying IO error: No space left on device (os error 28)")

    put(tmp_path / "data", {"0.jpg": photo(0)})
    monkeypatch.setattr(polars.DataFrame, "write_parquet", full)
    assert codes(tmp_path / "data", tmp_path / "cache") == []
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_two_scans_at_once_do_no_harm(tmp_path: Path) -> None:
    data, store = tmp_path / "data", tmp_path / "cache"
    put(data, {f"{n}.jpg": photo(n) for n in range(6)})
    put(data, {"cut.jpg": encoded(photo(8))[:-300]})
    found: list[list[str]] = []
    threads = [threading.Thread(target=lambda: found.append(codes(data, store))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [["IMG001"]] * 3
    assert codes(data, store) == ["IMG001"]


def test_a_scan_writes_nothing_into_the_dataset(tmp_path: Path) -> None:
    data = tmp_path / "data"
    put(data, {"a/0.jpg": photo(0), "a/cut.jpg": encoded(photo(8))[:-300], "b/1.png": photo(1)})
    before = {path: os.stat(path).st_mtime_ns for path in [data, *data.rglob("*")]}
    codes(data, tmp_path / "cache")
    assert {path: os.stat(path).st_mtime_ns for path in [data, *data.rglob("*")]} == before
