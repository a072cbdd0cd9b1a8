"""Folders that change under the scan or hold hostile names: one clear sentence, nothing written, nothing missed."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dldoctor.examine import scan
from dldoctor.fact import BadInput
from dldoctor.facts.dataset import pool
from dldoctor.resources import Resources

from ...checks.dataset_folder import encoded, findings, photo, put


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    put(folder, {f"{label}/{n}.jpg": photo(n + 20 * (label == "dog")) for n in range(12) for label in ("cat", "dog")})
    return folder


def before_decoding(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    real = pool.measure_all

    def late(*given: Any, **options: Any) -> None:
        happens()
        real(*given, **options)

    monkeypatch.setattr(pool, "measure_all", late)


def test_a_dataset_that_vanishes_is_one_sentence(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before_decoding(monkeypatch, lambda: shutil.rmtree(data))
    report = scan(data, resources=Resources(workers=1))
    assert {crash.error for crash in report.outcome.crashes} == {f"{data}: is gone; it was there when the scan began"}
    assert report.exit_status == 2


def test_a_folder_that_vanishes_is_told_file_by_file(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before_decoding(monkeypatch, lambda: shutil.rmtree(data / "cat"))
    gone = [entry for entry in findings(data) if entry.check.code == "IMG002"]
    assert len(gone) == 12
    assert {entry.finding.message for entry in gone} == {"was there when the scan began and is gone now"}


def test_names_that_would_move_the_cursor_are_written_out(data: Path) -> None:
    put(data, {"cat/\x1b[31mred\nline\u202e.jpg": encoded(photo(50))[:-300]})
    report = scan(data, resources=Resources(workers=1))
    shown = str(report)
    assert r"cat/\x1b[31mred\nline\u202e.jpg" in shown
    assert "\x1b" not in shown
    (finding,) = [entry.finding for entry in report if entry.check.code == "IMG001"]
    assert finding.at.path == "cat/\x1b[31mred\nline\u202e.jpg"  # the path itself stays what the system says


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ('"width": 1e400, "height": 36', "has a number that is out of range"),
        (f'"width": {"1" * 5000}, "height": 36', "has a number that is out of range"),
        (f'"width": {"1" * 400}, "height": "36"', None),
    ],
)
def test_a_number_of_any_size_in_coco_is_a_fault_at_most(tmp_path: Path, numbers: str, words: str | None) -> None:
    put(tmp_path, {f"images/{n}.jpg": photo(n) for n in range(3)})
    image = f'{{"id": 1, "file_name": "1.jpg", {numbers}}}'
    boxes = '{"id": 1, "image_id": 1, "category_id": 1, "bbox": [%s, 1, 2, 2]}' % ("1" * 350)
    text = f'{{"images": [{image}], "annotations": [{boxes}], "categories": [{{"id": 1, "name": "cat"}}]}}'
    put(tmp_path, {"annotations/instances.json": text})
    found = [entry.finding.message for entry in findings(tmp_path) if entry.check.code == "LBL012"]
    assert found == ([words] if words else [])


def test_a_category_id_that_no_tensor_holds_is_a_fault(tmp_path: Path) -> None:
    put(tmp_path, {f"images/{n}.jpg": photo(n) for n in range(3)})
    text = '{"images": [{"id": 1, "file_name": "1.jpg"}], "annotations": [], "categories": [{"id": %d, "name": "a"}]}'
    put(tmp_path, {"annotations/instances.json": text % 10**20})
    found = [entry.finding.message for entry in findings(tmp_path) if entry.check.code == "LBL012"]
    assert found == ["categories[0] has an id too large for a tensor"]


_POWERS = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9) if n else 'x'}]\n" for n in range(14))
_MERGES = "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 14))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (_POWERS + "names: *a13\n", "a list or a table among its names"),
        ("a0: &a0 {k: v}\n" + _MERGES + "names: [a, b]\n", "so many aliases that it can grow without end"),
    ],
)
def test_a_yaml_that_grows_without_end_is_a_fault(tmp_path: Path, text: str, words: str) -> None:
    put(tmp_path, {f"images/train/{n}.jpg": photo(n) for n in range(3)})
    put(tmp_path, {f"labels/train/{n}.txt": "0 0.5 0.5 0.2 0.2\n" for n in range(3)})
    put(tmp_path, {"data.yaml": text + "train: images/train\nval: images/train\n"})
    (found,) = [entry.finding.message for entry in findings(tmp_path) if entry.check.code == "LBL012"]
    assert words in found


def test_class_folders_of_any_bytes_are_written_as_escapes(tmp_path: Path) -> None:
    put(tmp_path, {f"cat/{n}.jpg": photo(n) for n in range(3)})
    folder = os.fsencode(tmp_path) + b"/caf\xe9"
    os.mkdir(folder)
    for n in range(3):
        Path(os.fsdecode(folder + b"/%d.jpg" % n)).write_bytes(encoded(photo(10 + n)))
    report = scan(tmp_path, resources=Resources(workers=1))
    assert report.outcome.crashes == ()
    assert "classes  caf\\xe9: 3, cat: 3" in str(report)


def test_folders_without_end_are_one_sentence(tmp_path: Path) -> None:
    put(tmp_path, {"a/" * 200 + "0.jpg": encoded(photo(1))})
    with pytest.raises(BadInput, match="more than 150 folders inside of each other"):
        scan(tmp_path, resources=Resources(workers=1))


def test_a_cell_longer_than_any_label_is_no_crash(tmp_path: Path) -> None:
    put(tmp_path, {f"{n}.jpg": photo(n) for n in range(3)})
    put(tmp_path, {"labels.csv": f"file,label\n0.jpg,{'x' * 200_000}\n1.jpg,b\n"})
    assert findings(tmp_path) == []
