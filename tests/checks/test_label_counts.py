"""Counts of classes: gaps, small classes, and weights that are right when they are pasted."""

from pathlib import Path

import pytest

from .dataset_folder import classes, codes, findings, photo, put


def table(folder: Path, labels: list[str], header: str = "label") -> None:
    put(folder, {f"images/{n}.jpg": photo(n, (16, 12)) for n in range(len(labels))})
    put(folder, {"labels.csv": f"file,{header}\n" + "".join(f"{n}.jpg,{text}\n" for n, text in enumerate(labels))})


GAPS = {
    "three is missing": ([0, 1, 2, 4], "label", {}, ["LBL004"]),
    "counted from one": ([1, 2, 4, 5], "class_id", {}, ["LBL004"]),
    "the last is missing": ([0, 1, 2], "label", {"classes": 4}, ["LBL004"]),
    "none": ([0, 1, 2, 3], "label", {}, []),
    "every second": ([0, 2, 4, 6, 8], "label", {}, []),
    "a quantity": ([0, 1, 2, 4], "age", {}, []),
    "minus and plus": ([-1, 1], "label", {}, []),
}


@pytest.mark.parametrize("name", GAPS)
def test_numbers_that_no_label_has(tmp_path: Path, name: str) -> None:
    values, header, options, expected = GAPS[name]
    table(tmp_path, [str(values[n % len(values)]) for n in range(8 * len(values))], header)
    assert codes(tmp_path, select=("LBL004",), **options) == expected


FOLDERS = {
    "as text": (
        [str(n) for n in range(11)],
        [("warning", "folder 10 is class 2 for ImageFolder, as names are sorted as text")],
    ),
    "a gap": (["0", "1", "2", "4"], [("warning", "folder 4 is class 3 for ImageFolder, as there is no folder 3")]),
    "from one, as text": (
        [str(n) for n in range(1, 12)],
        [("info", "folder 10 is class 1 for ImageFolder, as names are sorted as text")],
    ),
    "from one": (["1", "2", "3"], []),
    "zeros before": ([f"{n:02}" for n in range(11)], []),
    "years": (["2019", "2020", "2022"], []),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_folders_named_by_numbers(tmp_path: Path, name: str) -> None:
    names, expected = FOLDERS[name]
    classes(tmp_path, dict.fromkeys(names, 2))
    assert [(e.severity.value, e.finding.message) for e in findings(tmp_path, select=("LBL004",))] == expected


SMALL = {
    "a small class": ({"a": 25, "b": 22, "c": 7}, ["LBL006"]),
    "few shots": ({"a": 5, "b": 5, "c": 5}, []),
    "small ones everywhere": ({"a": 25, "b": 6, "c": 7}, []),
    "enough": ({"a": 25, "b": 10}, []),
}


@pytest.mark.parametrize("name", SMALL)
def test_classes_with_a_handful_of_samples(tmp_path: Path, name: str) -> None:
    counts, expected = SMALL[name]
    classes(tmp_path, counts)
    assert codes(tmp_path, select=("LBL005", "LBL006")) == expected


def test_the_weights_stand_in_the_order_of_the_indices(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    counts = {"0": 2, "1": 4, "10": 40, "2": 8}  # ImageFolder's order, which is not that of the numbers
    classes(tmp_path, counts)
    (entry,) = findings(tmp_path, select=("LBL005",))
    assert entry.finding.fix is not None
    names = {"torch": torch}
    exec(entry.finding.fix.summary.partition(", in the order")[0], names)
    weight = names["weight"]
    assert weight.tolist() == pytest.approx([54 / (4 * count) for count in counts.values()], abs=1e-3)
    labels = [index for index, count in enumerate(counts.values()) for _ in range(count)]
    torch.nn.CrossEntropyLoss(weight=weight)(torch.zeros(len(labels), 4), torch.tensor(labels))
    sampler = torch.utils.data.WeightedRandomSampler(weight[torch.tensor(labels)], 4000)
    drawn = torch.bincount(torch.tensor([labels[n] for n in sampler]), minlength=4)
    assert drawn.min() > 800


def test_of_many_classes_the_weights_are_computed(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    labels = [n for n in range(30) for _ in range(1 + 12 * (n == 3))]
    table(tmp_path, [str(n) for n in labels])
    (entry,) = findings(tmp_path, select=("LBL005",))
    assert entry.finding.fix is not None
    names = {"torch": torch, "labels": labels}
    exec(entry.finding.fix.summary.partition(": Cross")[0], names)
    assert float(names["weight"][0]) == pytest.approx(len(labels) / 30)
    assert float(names["weight"][3]) == pytest.approx(len(labels) / (30 * 13))


WRONG = {
    "a word among numbers": (["0", "1", "2"] * 20 + ["cat"], {}, ["LBL002"]),
    "a fraction": (["0", "1", "2"] * 20 + ["1.5"], {}, ["LBL002"]),
    "a number too large": (["0", "1", "2"] * 20 + ["3"], {"classes": 3}, ["LBL001"]),
    "a row that ends early": (["cat", "dog"] * 20 + [""], {}, ["LBL002"]),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_label_is_no_small_class(tmp_path: Path, name: str) -> None:
    labels, options, expected = WRONG[name]
    table(tmp_path, labels)
    assert codes(tmp_path, select=("LBL001", "LBL002", "LBL005", "LBL006", "LBL008"), **options) == expected


def test_class_names_are_never_told_to_be_turned_to_numbers(tmp_path: Path) -> None:
    table(tmp_path, ["cat", "dog"] * 20 + [""])
    listed = (tmp_path / "labels.csv").read_text().replace("40.jpg,", "40.jpg")
    (tmp_path / "labels.csv").write_text(listed)
    (entry,) = findings(tmp_path)
    assert entry.check.code == "LBL002"
    assert "astype" not in str(entry.finding.fix)
