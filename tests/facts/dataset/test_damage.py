"""Pictures damaged in many ways: none crashes or stalls its reader, and what can be seen is seen."""

import sys
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from dldoctor.facts.dataset.measuring.decode import measure

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))
import damage

#: Pillow warns of what it skips
pytestmark = pytest.mark.filterwarnings("ignore")
#: the least share of harmed files that must be found; formats without a checksum are not among them
FOUND = {"JPEG": 0.85, "PNG": 1.0, "GIF": 0.7}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[damage.Original, str, bytes, str]]:
    """A seeded part of the benchmark: the original, how it was damaged, the bytes, and the outcome."""
    path = tmp_path_factory.mktemp("damage") / "picture"
    chance = Random(11)
    found = []
    for original, way, data in damage.mutants(damage.originals(48, chance), 960, chance):
        path.write_bytes(data)
        found.append((original, way, data, measure(str(path), "picture")["outcome"]))
    return found


def test_every_damaged_file_has_an_outcome(outcomes: list[tuple[damage.Original, str, bytes, str]]) -> None:
    said = {outcome for *_, outcome in outcomes}
    assert said <= {"decoded", "failed", "unidentified", "unsupported", "empty", "skipped"}


def test_what_is_cut_is_found_in_every_format(outcomes: list[tuple[damage.Original, str, bytes, str]]) -> None:
    assert [
        original.kind
        for original, way, data, outcome in outcomes
        if way.startswith("cut") and outcome not in damage.REPORTED and damage.pixels_of(data) != original.pixels
    ] == []


def test_most_harm_is_found_where_the_format_can_show_it(
    outcomes: list[tuple[damage.Original, str, bytes, str]],
) -> None:
    harmed: Counter[str] = Counter()
    found: Counter[str] = Counter()
    for original, _, data, outcome in outcomes:
        if damage.pixels_of(data) != original.pixels:
            harmed[original.format] += 1
            found[original.format] += outcome in damage.REPORTED
    assert {name: found[name] / harmed[name] >= share for name, share in FOUND.items()} == dict.fromkeys(FOUND, True)


def test_a_tiff_without_its_directory_is_damaged(tmp_path: Path) -> None:
    original = next(one for one in damage.originals(48, Random(12)) if one.kind == "TIFF raw")
    start = int.from_bytes(original.data[4:8], "little")
    path = tmp_path / "picture.tif"
    path.write_bytes(original.data[:start] + bytes(len(original.data) - start))
    row = measure(str(path), "picture")
    assert (row["outcome"], row["message"]) == ("failed", f"what should be its directory, at byte {start}, is none")


def test_a_good_file_is_not_reported(tmp_path: Path) -> None:
    for original in damage.originals(48, Random(12)):
        path = tmp_path / "picture"
        path.write_bytes(original.data)
        assert (original.kind, measure(str(path), "picture")["outcome"]) == (original.kind, "decoded")
