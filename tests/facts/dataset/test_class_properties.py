"""How well a property of the files tells the classes apart."""

import random
from typing import Any

import pytest

from dldoctor import ClassProperties, ImageTable, LabelTable, Unavailable

CHANCE = random.Random(0)


def gathered(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The first row of each property."""
    fixed = {"outcome": "decoded", "width": 300, "height": 200, "format": "JPEG", "mode": "RGB", "exif": False}
    images = [
        {**fixed, "path": f"{n}.jpg", "pixels_hash": f"{CHANCE.getrandbits(64):016x}", **row}
        for n, row in enumerate(rows)
    ]
    labels = [{"picture": f"{n}.jpg", "form": "index", "text": row["label"]} for n, row in enumerate(rows)]
    table = ClassProperties.gather(
        ImageTable.from_rows([{name: row[name] for name in row if name != "label"} for row in images]),
        LabelTable.from_rows(labels),
    )
    return {row.property: row for row in reversed(list(table.where()))}


def test_a_property_of_one_class_alone_tells_it() -> None:
    found = gathered([{"label": "ab"[n % 2], "mode": "L" if n % 2 else "RGB"} for n in range(60)])
    assert found["channels"].accuracy == 1
    assert found["channels"].chance == 0.5
    assert "size" not in found  # of which there is one


def test_numbers_of_many_values_are_told_by_their_range() -> None:
    rows = [{"label": "ab"[n % 2], "quality": CHANCE.randrange(70, 80) + 12 * (n % 2)} for n in range(200)]
    assert gathered(rows)["JPEG quality"].accuracy > 0.95


@pytest.mark.parametrize("classes", [2, 5, 40])
def test_what_has_nothing_to_do_with_the_class_is_no_better_than_chance(classes: int) -> None:
    rows = [
        {
            "label": str(n % classes),
            "quality": CHANCE.randrange(60, 100),
            "width": CHANCE.randrange(200, 900),
            "exif": CHANCE.random() < 0.5,
        }
        for n in range(60 * classes)
    ]
    for row in gathered(rows).values():
        assert row.accuracy - 3 * row.error < row.chance + 0.05


def test_a_value_of_its_own_in_every_picture_tells_nothing() -> None:
    rows = [{"label": "ab"[n % 2], "width": 400 + n} for n in range(100)]
    assert gathered(rows)["size"].accuracy < 0.7


def test_small_classes_are_no_basis() -> None:
    with pytest.raises(Unavailable):
        gathered([{"label": "ab"[n % 2], "mode": "L" if n % 2 else "RGB"} for n in range(30)])
