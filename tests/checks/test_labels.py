"""Sick and healthy labels and splits that no fixture holds."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from .dataset_folder import classes, encoded, findings, photo, put

Files = dict[str, bytes | str | Image.Image]


def table(
    labels: list[str],
    header: str | None = "image,label",
    mark: str = ",",
    ending: str = ".jpg",
    name: str = "labels.csv",
    folder: str = "images",
) -> Files:
    files: Files = {f"{folder}/{n}.jpg": photo(n) for n in range(len(labels))}
    lines = [header] if header else []
    lines += [f"{n}{ending}{mark}{label}" for n, label in enumerate(labels)]
    return {**files, name: "\n".join(lines) + "\n"}


def split_classes(splits: dict[str, list[str]]) -> Files:
    files: Files = {}
    number = 0
    for split, names in splits.items():
        for name in names:
            for _ in range(2):
                files[f"{split}/{name}/{number}.jpg"] = photo(number)
                number += 1
    return files


INDICES = ["0", "1", "2", "0", "1", "2"]
HEALTHY: dict[str, tuple[Callable[[], Files], dict[str, Any]]] = {
    "scores from 1, classes not told": (lambda: table(["1", "2", "3", "4", "5"], "image,score"), {}),
    "names throughout": (lambda: table(["cat", "dog", "cat", "dog"]), {"classes": 2}),
    "tabs and no header": (lambda: table(INDICES, None, "\t"), {"classes": 3}),
    "semicolons, stems, another word": (lambda: table(INDICES, "id_code;diagnosis", ";", ""), {"classes": 3}),
    "spaces in a text list": (lambda: table(INDICES, None, " ", name="list.txt"), {"classes": 3}),
    "Windows paths and line ends": (
        lambda: {
            **table(INDICES),
            "labels.csv": "file,class\r\n" + "".join(f"images\\{n}.jpg,{n % 3}\r\n" for n in range(6)),
        },
        {"classes": 3},
    ),
    "a byte order mark": (
        lambda: {
            **table(INDICES),
            "labels.csv": "\ufeffimage,label\n" + "".join(f"{n}.jpg,{n % 3}\n" for n in range(6)),
        },
        {"classes": 3},
    ),
    "the row numbers of pandas": (
        lambda: {
            **table(INDICES),
            "labels.csv": ",image,label\n" + "".join(f"{n},{n}.jpg,{n % 3}\n" for n in range(6)),
        },
        {"classes": 3},
    ),
    "a regression target": (lambda: table(["0.31", "12.5", "3.75", "8.0", "1.25", "6.5"], "image,target"), {}),
    "floats for a binary loss": (lambda: table(["0.0", "1.0", "0.0", "1.0"]), {}),
    "characters as classes": (lambda: table(["0", "1", "A", "B", "2", "C"]), {}),
    "an unlabelled test split": (
        lambda: {
            **table(INDICES),
            "labels.csv": "image,label,split\n"
            + "".join(f"{n}.jpg,{n % 2 if n < 4 else ''},{'train' if n < 4 else 'test'}\n" for n in range(6)),
        },
        {},
    ),
    "boxes, not classes": (
        lambda: {
            **table(INDICES),
            "boxes.csv": "image,xmin,ymin,xmax,ymax,label\n" + "".join(f"{n}.jpg,1,2,30,30,9{n}\n" for n in range(6)),
            "labels.csv": "x",
        },
        {"classes": 3},
    ),
    "one class more than labels": (lambda: table(["1", "2", "3", "1"]), {"classes": 4}),
    "an ignored label": (lambda: table(["0", "1", "-1", "1"]), {"classes": 2, "ignore_index": -1}),
    "class folders and a table that repeats them": (
        lambda: {
            **split_classes({"train": ["cat", "dog"]}),
            "labels.csv": "file,label\n" + "".join(f"{n}.jpg,{n // 2}\n" for n in range(4)),
        },
        {},
    ),
    "classes in another order": (lambda: split_classes({"train": ["a", "B", "c"], "val": ["c", "B", "a"]}), {}),
    "a class called train": (
        lambda: {
            f"{name}/{n}{k}.jpg": photo(10 * n + k) for n, name in enumerate(["bus", "car", "train"]) for k in range(2)
        },
        {"classes": 3},
    ),
    "few-shot splits": (lambda: split_classes({"train": ["a", "b"], "val": ["c", "d"], "test": ["e", "f"]}), {}),
    "unlabelled test pictures": (
        lambda: {**split_classes({"train": ["a", "b"], "val": ["a", "b"]}), "test/77.jpg": photo(77)},
        {},
    ),
    "strays beside the splits": (
        lambda: {
            **split_classes({"train": ["a", "b"], "val": ["a", "b"]}),
            ".git/x": "",
            "__MACOSX/train/._a": b"\0",
            ".ipynb_checkpoints/0.jpg": photo(0),
        },
        {},
    ),
    "a folder in a folder": (
        lambda: {f"flowers/{k}": v for k, v in split_classes({"train": ["a", "b"], "val": ["a", "b"]}).items()},
        {"classes": 2},
    ),
    "YOLO": (
        lambda: {
            f"{split}/{kind}/{n}.{'jpg' if kind == 'images' else 'txt'}": photo(n)
            if kind == "images"
            else "0 .5 .5 .1 .1\n"
            for n, split in enumerate(("train", "val"))
            for kind in ("images", "labels")
        },
        {},
    ),
    "COCO": (lambda: {"train2017/1.jpg": photo(1), "val2017/2.jpg": photo(2), "annotations/instances.json": "{}"}, {}),
    "seventeen in batches of eight, for validation": (
        lambda: {
            **{f"train/{n % 2}/{n}.jpg": photo(n) for n in range(16)},
            **{f"val/{n % 2}/{n}.jpg": photo(n) for n in range(20, 29)},
        },
        {"batch": 8},
    ),
}
SICK: dict[str, tuple[Callable[[], Files], list[str], dict[str, Any]]] = {
    "a label too large": (lambda: table(["0", "1", "7"]), ["LBL001"], {"classes": 3}),
    "a label below 0": (lambda: table(["0", "1", "-1"]), ["LBL001"], {"classes": 3}),
    "more names than classes": (lambda: table(["a", "b", "c"]), ["LBL001"], {"classes": 2}),
    "more folders than classes": (lambda: split_classes({"train": ["a", "b", "c"]}), ["LBL001"], {"classes": 2}),
    "from 1 in a text list": (
        lambda: table(["1", "2", "3", "1"], None, " ", name="train.txt"),
        ["LBL003"],
        {"classes": 3},
    ),
    "from 1, classes not told": (lambda: table(["1", "2", "3"]), ["LBL003"], {}),
    "a blank among names": (lambda: table(["cat", "dog", "", "cat"]), ["LBL002"], {}),
    "nan among indices": (lambda: table(["0", "1", "nan", "1"]), ["LBL002"], {}),
    "a fraction among indices": (lambda: table(["0", "1", "1.5", "1"]), ["LBL002"], {}),
    "indices as floats": (lambda: table(["0.0", "1.0", "2.0", "1.0"]), ["LBL002"], {}),
    "a word among many indices": (lambda: table(["0", "1"] * 10 + ["unknown"]), ["LBL002"], {}),
    "thirteen to one, in training": (
        lambda: {
            f"{split}/{name}/{n}{split}.jpg": photo(n + (50 if split == "val" else 0) + (30 if name == "b" else 0))
            for split, name, count in (("train", "a", 13), ("train", "b", 1), ("val", "a", 2), ("val", "b", 2))
            for n in range(count)
        },
        ["LBL005"],
        {},
    ),
    "an imbalanced table": (lambda: table(["1"] * 22 + ["0", "0"]), ["LBL005"], {}),
    "__MACOSX among classes": (
        lambda: {**{f"{c}/{n}{c}.jpg": photo(n + 5 * ord(c)) for c in "ab" for n in range(2)}, "__MACOSX/._a": b"\0"},
        ["LBL010"],
        {},
    ),
    "checkpoints inside a split": (
        lambda: {
            **split_classes({"train": ["a", "b"], "val": ["a", "b"]}),
            "train/.ipynb_checkpoints/0-checkpoint.jpg": photo(99),
        },
        ["LBL010"],
        {},
    ),
    "a class of GIFs": (
        lambda: {
            **split_classes({"train": ["a", "b"]}),
            "train/c/1.gif": photo(50).convert("P"),
            "train/c/2.gif": photo(51).convert("P"),
        },
        ["LBL010", "IMG006"],
        {},
    ),
    "a class more in validation": (
        lambda: split_classes({"train": ["b", "c"], "val": ["a", "b", "c"]}),
        ["LBL011"],
        {},
    ),
    "the last class missing": (lambda: split_classes({"train": ["a", "b", "c"], "val": ["a", "b"]}), ["LBL011"], {}),
    "the same names, differently written": (
        lambda: split_classes({"train": ["cat", "dog"], "val": ["Cat", "dog"]}),
        ["LBL011"],
        {},
    ),
    "a leak to the test split without its metadata": (
        lambda: {
            **split_classes({"train": ["a", "b"], "test": ["a", "b"]}),
            "test/a/x.jpg": encoded(photo(0), comment="taken from the training set"),
        },
        ["SPL001"],
        {},
    ),
    "a leak in a table with a column for the split": (
        lambda: {
            **table(INDICES),
            "images/6.jpg": photo(0),
            "labels.csv": "image,label,split\n"
            + "".join(f"{n}.jpg,{n % 3},{'train' if n < 6 else 'val'}\n" for n in range(7)),
        },
        ["SPL001"],
        {},
    ),
    "seventeen in batches of eight": (
        lambda: {
            **{f"train/{n % 2}/{n}.jpg": photo(n) for n in range(17)},
            **{f"val/{n % 2}/{n}.jpg": photo(n) for n in range(20, 24)},
        },
        ["SPL002"],
        {"batch": 8},
    ),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_labels_are_passed(tmp_path: Path, name: str) -> None:
    make, options = HEALTHY[name]
    put(tmp_path, make())
    found = findings(tmp_path, **options)
    assert [(e.check.code, str(e.finding.at), e.finding.message) for e in found] == []


@pytest.mark.parametrize("name", SICK)
def test_sick_labels_are_found(tmp_path: Path, name: str) -> None:
    make, expected, options = SICK[name]
    put(tmp_path, make())
    found = findings(tmp_path, **options)
    assert [e.check.code for e in found] == expected, [e.finding.message for e in found]


def test_the_ratio_of_classes_is_a_setting(tmp_path: Path) -> None:
    classes(tmp_path, {"cat": 8, "dog": 2})
    (tmp_path.parent / "limits.toml").write_text("[tool.dldoctor.LBL005]\nratio = 3\n")
    found = findings(tmp_path, config=tmp_path.parent / "limits.toml")
    assert [e.finding.evidence["times"] for e in found] == [4.0]
    assert found[0].finding.evidence["weights"] == {"cat": 0.625, "dog": 2.5}
