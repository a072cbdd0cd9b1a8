"""Annotations name pictures from many folders and in many ways; the one that is meant is found."""

import pytest

from dldoctor.facts.dataset.files import File
from dldoctor.facts.dataset.lookup import Lookup, clean


def lookup(*paths: str) -> Lookup:
    return Lookup(File(path, 100 - len(path), 0) for path in paths)


def paths(found: list[File | None]) -> list[str | None]:
    return [file and file.path for file in found]


@pytest.mark.parametrize(
    "names",
    [
        ["1.jpg", "2.jpg"], ["images/1.jpg", "images/2.jpg"], ["./1.jpg", "./2.jpg"],
        ["images\\1.jpg", "images\\2.jpg"],
        ["/home/ann/data/images/1.jpg", "/home/ann/data/images/2.jpg"], ["../x/1.jpg", "../x/2.jpg"],
        ["val/1.jpg", "train/2.jpg"],
    ],
)  # fmt: skip
def test_names_may_start_from_any_folder(names: list[str]) -> None:
    assert paths(lookup("images/1.jpg", "images/2.jpg").find_all(names)) == ["images/1.jpg", "images/2.jpg"]


def test_what_is_not_there_is_not_found_elsewhere() -> None:
    """Most names match with their folders, so that one that does not is gone, whatever other folder has its like."""
    found = lookup("a/1.jpg", "a/2.jpg", "b/3.jpg").find_all(["a/1.jpg", "a/2.jpg", "a/3.jpg"])
    assert paths(found) == ["a/1.jpg", "a/2.jpg", None]


def test_of_two_folders_the_split_s_own_is_meant() -> None:
    splits = {"train/1.jpg": "train", "val/1.jpg": "val"}
    there = lookup("train/1.jpg", "val/1.jpg")
    assert paths(there.find_all(["1.jpg"], splits=splits, split="train")) == ["train/1.jpg"]
    assert paths(there.find_all(["1.jpg"], splits=splits, split="val")) == ["val/1.jpg"]
    assert paths(there.find_all(["1.jpg"], beside="train")) == ["train/1.jpg"]


def test_a_picture_is_meant_rather_than_its_thumbnail_or_tile() -> None:
    there = lookup("images/1.jpg", "thumbs/1.jpg", "images/2.jpg", "tiles/0/2.jpg")
    assert paths(there.find_all(["1.jpg", "2.jpg"])) == ["images/1.jpg", "images/2.jpg"]


@pytest.mark.parametrize("name", ["A.JPG", "a.jpeg", "a.png", "x/a.Jpg", "a"])
def test_a_near_name_is_told(name: str) -> None:
    assert lookup("images/a.jpg").near(name) == "images/a.jpg"


def test_accents_may_be_written_in_two_ways() -> None:
    assert lookup("images/cafe\u0301.jpg").near("caf\u00e9.jpg") == "images/cafe\u0301.jpg"
    assert lookup("images/a.jpg").near("b.jpg") is None


def test_what_says_nothing_at_the_beginning_of_a_name_is_left_out() -> None:
    assert [clean(name) for name in (" ./a\\b.jpg", "/a/b.jpg", "../../a/b.jpg")] == ["a/b.jpg"] * 3
