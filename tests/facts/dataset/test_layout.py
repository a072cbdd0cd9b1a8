"""Layouts are recognised by what lies where, and what can't be examined is said in one sentence."""

import os
from pathlib import Path
from typing import Any

import pytest

from dldoctor.examine import scan
from dldoctor.fact import BadInput
from dldoctor.facts.dataset.layout import Layout
from dldoctor.resources import Resources

from ...checks.dataset_folder import photo, put


def layout(folder: Path, **options: Any) -> Layout:
    report = scan(folder, select=("LBL010",), resources=Resources(workers=1), **options)
    assert report.outcome.crashes == ()
    return next(fact for fact in report.outcome.facts if isinstance(fact, Layout))


def refusal(folder: Path, **options: Any) -> str:
    """The one sentence for a folder that can't be examined, whichever way it comes."""
    try:
        report = scan(folder, resources=Resources(workers=1), **options)
    except BadInput as error:
        return str(error)
    assert report.exit_status == 2
    (crash,) = {crash.error for crash in report.outcome.crashes if crash.bad_input}
    return crash


@pytest.mark.parametrize(
    ("files", "summary"),
    [
        (["cat/1.jpg", "dog/2.jpg"], "ImageFolder, 2 classes, 2 pictures"),
        (["train/cat/1.jpg", "train/dog/2.jpg", "val/cat/3.jpg"],
         "ImageFolder with train and val, 2 classes, 3 pictures"),
        (["Training/a/1.jpg", "Validation/a/2.jpg", "Testing/a/3.jpg"],
         "ImageFolder with train, val and test, 1 class, 3 pictures"),
        (["rgb/1.jpg", "rgb/2.jpg", "depth/1.png", "depth/2.png"], "pictures, 4 pictures"),
        (["HR/01.png", "HR/02.png", "LR/01x4.png", "LR/02x4.png"], "pictures, 4 pictures"),
        (["left/1.jpg", "left/2.jpg", "right/3.jpg", "right/4.jpg"], "ImageFolder, 2 classes, 4 pictures"),
        (["training/image_2/1.jpg", "testing/image_2/2.jpg"], "pictures with train and test, 2 pictures"),
        (["images/1.jpg", "masks/1.png"], "image/mask pairs, 1 picture, 1 mask"),
        (["img/a/1.jpg", "gt/a/1.png"], "image/mask pairs, 1 picture, 1 mask"),
        (["valid/images/1.jpg", "valid/masks/1.png", "train/images/2.jpg", "train/masks/2.png"],
         "image/mask pairs with train and val, 2 pictures, 2 masks"),
        (["1.jpg", "2.jpg"], "pictures, 2 pictures"),
        (["images/1.jpg", "images/2.jpg"], "pictures, 2 pictures"),
        (["train2017/1.jpg", "val2017/2.jpg"], "pictures with train and val, 2 pictures"),
        (["images/train/1.jpg", "images/val/2.jpg"], "pictures with train and val, 2 pictures"),
        (["part1/1.jpg", "part2/2.jpg", "annotations/all.json"], "pictures, 2 pictures"),
    ],
)  # fmt: skip
def test_layouts_are_recognised(tmp_path: Path, files: list[str], summary: str) -> None:
    put(tmp_path, {name: photo(n) if name.endswith(("jpg", "png")) else "{}" for n, name in enumerate(files)})
    assert layout(tmp_path).said == summary


@pytest.mark.parametrize(
    ("table", "summary"),
    [
        ("file,label\n" + "".join(f"{n}.jpg,{n % 2}\n" for n in range(12)), "a label file, 2 classes, 10 pictures"),
        ("file,age\n" + "".join(f"{n}.jpg,{20 + 1.5 * (n // 2)}\n" for n in range(10)), "a label file, 10 pictures"),
        ("a,b\n1,2\n3,3\n", "pictures, 10 pictures"),
    ],
    ids=["classes that are names of pictures, too", "quantities", "notes whose numbers are names of pictures"],
)
def test_tables_beside_pictures_are_told_apart(tmp_path: Path, table: str, summary: str) -> None:
    put(tmp_path, {f"images/{n}.jpg": photo(n) for n in range(10)})
    put(tmp_path, {"table.csv": table})
    assert layout(tmp_path).said.removeprefix("pictures with ") == summary


def test_a_layout_can_be_told(tmp_path: Path) -> None:
    put(tmp_path, {"images/1.jpg": photo(1), "other/2.jpg": photo(2), "labels.csv": "f,label\n1.jpg,0\n2.jpg,1\n"})
    assert layout(tmp_path).kind == "csv"
    told = layout(tmp_path, layout="imagefolder")
    assert (told.kind, told.by, told.classes) == ("imagefolder", "--layout imagefolder", ("images", "other"))


def test_splits_can_be_told(tmp_path: Path) -> None:
    put(tmp_path, {"fold_a/x/1.jpg": photo(1), "fold_b/x/2.jpg": photo(2)})
    assert layout(tmp_path, split=["train=fold_a", "val=fold_b"]).splits == ("train", "val")


def test_an_unknown_layout_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    put(tmp_path, {"1.jpg": photo(1)})
    said = refusal(tmp_path, layout="cocco")
    assert "--layout cocco: write one of coco, yolo, voc, pairs" in said
    assert said.endswith("csv, imagefolder, pictures")


def test_a_told_layout_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    put(tmp_path, {"1.jpg": photo(1)})
    assert "is not laid out as --layout pairs" in refusal(tmp_path, layout="pairs")


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    assert "the folder is empty" in refusal(tmp_path)
    put(tmp_path, {"notes.txt": "x"})
    assert "no picture in it or below (1 other file)" in refusal(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_cannot_be_listed_is_refused(tmp_path: Path) -> None:
    put(tmp_path, {"a/1.jpg": photo(1), "b/2.jpg": photo(2)})
    (tmp_path / "b").chmod(0)
    try:
        assert "can't be listed (Permission denied)" in refusal(tmp_path)
    finally:
        (tmp_path / "b").chmod(0o755)


def test_rings_of_links_are_walked_once(tmp_path: Path) -> None:
    put(tmp_path, {"a/1.jpg": photo(1), "b/2.jpg": photo(2)})
    (tmp_path / "a/up").symlink_to(tmp_path)
    (tmp_path / "a/b").symlink_to(tmp_path / "b")
    (tmp_path / "b/a").symlink_to(tmp_path / "a")
    (tmp_path / "b/self").symlink_to(tmp_path / "b")
    assert layout(tmp_path).pictures < 20


def test_a_split_that_is_a_link_to_another_is_a_leak(tmp_path: Path) -> None:
    put(tmp_path, {"train/a/1.jpg": photo(1), "train/b/2.jpg": photo(2)})
    (tmp_path / "val").symlink_to(tmp_path / "train")
    report = scan(tmp_path, resources=Resources(workers=1))
    assert [entry.check.code for entry in report] == ["SPL001", "SPL001"]


def test_a_link_to_nowhere_and_a_name_that_is_no_text_are_survived(tmp_path: Path) -> None:
    put(tmp_path, {"1.jpg": photo(1)})
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg")).write_bytes((tmp_path / "1.jpg").read_bytes()[:-200])
    report = scan(tmp_path, resources=Resources(workers=1))
    assert [(entry.check.code, str(entry.finding.at)) for entry in report] == [
        ("IMG001", "caf\\xe9.jpg"), ("IMG002", "gone.jpg"), ("IMG011", "caf\\xe9.jpg")
    ]  # fmt: skip


def test_pipes_are_not_opened(tmp_path: Path) -> None:
    put(tmp_path, {"1.jpg": photo(1)})
    os.mkfifo(tmp_path / "2.jpg")
    assert layout(tmp_path).pictures == 1
