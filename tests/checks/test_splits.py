"""Splits as people draw them, and as they shouldn't."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from dldoctor.checks.split_shift import split_distribution_shift

from dldoctor import Finding, ImageTable, LabelTable

from .dataset_folder import codes, findings, photo, put


def labels(rows: Iterator[tuple[str, str, str]]) -> LabelTable:
    """A table of (picture, split, class)."""
    return LabelTable.from_rows(
        [
            {"source": "labels.csv", "line": 1, "picture": picture, "split": split, "text": text, "form": "name"}
            for picture, split, text in rows
        ]
    )


def shifted(table: LabelTable) -> list[Finding]:
    return list(split_distribution_shift(table, None))


@pytest.mark.parametrize("seed", range(60))
def test_a_random_split_is_no_shift(seed: int) -> None:
    draw = random.Random(seed)
    classes = [f"c{n}" for n in range(draw.choice([2, 3, 10, 40]))]
    weights = [draw.paretovariate(1) for _ in classes]
    samples = draw.choices(classes, weights, k=draw.choice([120, 400, 3000]))
    share = draw.choice([0.1, 0.2, 0.5])
    table = labels((str(n), "val" if draw.random() < share else "train", text) for n, text in enumerate(samples))
    assert shifted(table) == []


def test_boxes_of_one_picture_are_of_a_kind() -> None:
    draw = random.Random(3)
    rows = []
    for picture in range(140):
        split, text = ("val" if picture % 2 else "train"), draw.choice("ab")
        rows += [(str(picture), split, text)] * draw.randint(0, 60)
    assert shifted(labels(iter(rows))) == []


def counted(train: dict[str, int], val: dict[str, int]) -> LabelTable:
    return labels(
        (f"{split}{text}{n}", split, text)
        for split, counts in (("train", train), ("val", val))
        for text, count in counts.items()
        for n in range(count)
    )


HEALTHY = {
    "a validation set with as many of each": ({"a": 500, "b": 50, "c": 20}, {"a": 30, "b": 30, "c": 30}),
    "few in validation": ({"a": 500, "b": 50}, {"a": 5, "b": 20}),
    "other classes": ({"a": 100, "b": 100}, {"c": 100, "d": 90}),
    "a small difference in many": ({"a": 60_000, "b": 40_000}, {"a": 5_500, "b": 4_500}),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_differences_that_are_meant_or_small_pass(name: str) -> None:
    assert shifted(counted(*HEALTHY[name])) == []


def test_the_class_that_differs_most_is_named() -> None:
    (finding,) = shifted(counted({"a": 300, "b": 100, "c": 90}, {"a": 20, "b": 20, "c": 80}))
    assert finding.message == "c is 18% of train and 67% of val"


def test_another_brightness_is_a_shift(tmp_path: Path) -> None:
    rows = [
        {"path": f"{n}.png", "split": split, "outcome": "decoded", "bits": 8, "grey_mean": mean + n % 20}
        for split, mean in (("train", 100.0), ("val", 180.0))
        for n in range(60)
    ]
    (finding,) = split_distribution_shift(None, ImageTable.from_rows(rows))
    assert finding.message.startswith("the pictures of val are brighter than those of train: grey level 190 and 110")


def frames(folder: Path, name: str, split_of: dict[str, list[int]], each: int = 6) -> None:
    """Frames whose names are made of a group and a number; `split_of` says which groups or numbers a split has."""
    number = 0
    for split, groups in split_of.items():
        for group in groups:
            for frame in range(each):
                put(folder, {f"{split}/{name.format(group=group, frame=frame + 10 * (split == 'val'))}": photo(number)})
                number += 1


LEAKS = {
    "video and frame": "video{group:02}_frame{frame:04}.jpg",
    "patient and slice": "Patient-{group:03}/slice_{frame}.png",
    "scene": "scene{group}_view{frame}.jpg",
    "subject": "subject_{group}.{frame}.bmp",
}


@pytest.mark.parametrize("name", LEAKS)
def test_groups_by_their_names_in_two_splits_are_a_leak(tmp_path: Path, name: str) -> None:
    frames(tmp_path, LEAKS[name], {"train": [1, 2, 3, 4], "val": [1, 3, 4]})
    assert codes(tmp_path, select=("SPL005",)) == ["SPL005"]


@pytest.mark.parametrize("name", LEAKS)
def test_whole_groups_in_one_split_pass(tmp_path: Path, name: str) -> None:
    frames(tmp_path, LEAKS[name], {"train": [1, 2, 3, 4], "val": [5, 6, 7]})
    assert codes(tmp_path, select=("SPL005",)) == []


@pytest.mark.parametrize("name", ["img_{group:03}_{frame}.jpg", "{group}_{frame}.png", "case{group}.{frame}.jpg"])
def test_numbers_that_may_mean_anything_pass(tmp_path: Path, name: str) -> None:
    frames(tmp_path, name, {"train": [1, 2, 3, 4], "val": [1, 3, 4]})
    assert codes(tmp_path, select=("SPL005",)) == []


def test_counting_anew_in_each_split_passes(tmp_path: Path) -> None:
    for number in range(36):
        split = "train" if number < 24 else "val"
        put(tmp_path, {f"{split}/scene{number % 24 // 6}_view{number % 6}.jpg": photo(number)})
    assert codes(tmp_path, select=("SPL005",)) == []


def test_the_pattern_s_group_or_else_its_whole_match_names_the_group(tmp_path: Path) -> None:
    frames(tmp_path, "case{group}.{frame}.jpg", {"train": [1, 2], "val": [2, 3]})
    for pattern, group in ((r"case(\d+)", "2"), (r"case\d+", "case2")):
        (entry,) = findings(tmp_path, select=("SPL005",), group_by=pattern)
        assert entry.finding.evidence["groups"] == [group]
        assert entry.severity.value == "error"


ALONE = {
    "a list of validation beside it": ({"val.txt": "0.jpg\n"}, []),
    "a test folder": ({"test/0.jpg": photo(40)}, []),
    "a folder for both": ({"trainval/9.jpg": photo(41)}, []),
    "nothing": ({}, ["SPL003"]),
}


@pytest.mark.parametrize("name", ALONE)
def test_a_training_split_alone_has_nothing_to_be_judged_by(tmp_path: Path, name: str) -> None:
    beside, expected = ALONE[name]
    put(tmp_path, {f"train/{'ab'[n % 2]}/{n}.jpg": photo(n) for n in range(12)} | dict(beside))  # type: ignore[arg-type]  # pictures and texts
    assert codes(tmp_path, select=("SPL003",)) == expected


def test_a_pattern_that_no_path_holds_is_told(tmp_path: Path) -> None:
    for split in ("train", "val"):
        put(tmp_path, {f"{split}/a/{n}.jpg": photo(n + 20 * (split == "val")) for n in range(6)})
    (entry,) = findings(tmp_path, select=("SPL005",), group_by=r"patient(\d+)")
    assert entry.finding.message == r"--group-by patient(\d+) is found in none of 12 paths, such as train/a/0.jpg"
