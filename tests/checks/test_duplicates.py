"""What one picture in several places means."""

from pathlib import Path

from dldoctor import Severity

from .dataset_folder import encoded, findings, photo, put


def told(folder: Path) -> list[tuple[str, str]]:
    return [(entry.check.code, str(entry.finding.at)) for entry in findings(folder)]


def test_one_voice_speaks_of_two_labels(tmp_path: Path) -> None:
    put(tmp_path, {f"{label}/{n}.jpg": photo(n + 20 * (label == "dog")) for label in ("cat", "dog") for n in range(6)})
    put(tmp_path, {"dog/other.jpg": (tmp_path / "cat/3.jpg").read_bytes()})
    assert told(tmp_path) == [("LBL009", "cat/3.jpg")]


def test_labels_of_a_table_may_conflict(tmp_path: Path) -> None:
    put(tmp_path, {f"images/{n}.jpg": photo(n) for n in range(30)})
    put(tmp_path, {"images/30.jpg": (tmp_path / "images/7.jpg").read_bytes()})
    rows = [f"{n}.jpg,{n % 3}" for n in range(30)]
    put(tmp_path, {"labels.csv": "\n".join(["file,label", *rows, "30.jpg,2"])})
    assert ("LBL009", "images/30.jpg") in told(tmp_path) or ("LBL009", "images/7.jpg") in told(tmp_path)
    put(tmp_path, {"labels.csv": "\n".join(["file,label", *rows, "30.jpg,1"])})
    assert [code for code, _ in told(tmp_path)] == ["IMG013"]


def test_many_pictures_in_several_classes_are_one_finding(tmp_path: Path) -> None:
    for n in range(20):
        picture = encoded(photo(n))
        put(tmp_path, {f"{label}/{n}.jpg": picture for label in ("indoor", "night")})
    (entry,) = [entry for entry in findings(tmp_path) if entry.check.code == "LBL009"]
    assert (entry.severity, str(entry.finding.at)) == (Severity.WARNING, ".")
    assert "IMG013" not in {code for code, _ in told(tmp_path)}


def test_two_black_pictures_do_not_conflict(tmp_path: Path) -> None:
    from PIL import Image

    put(tmp_path, {f"{label}/{n}.jpg": photo(n + 20 * (label == "dog")) for label in ("cat", "dog") for n in range(6)})
    put(tmp_path, {f"{label}/black.png": Image.new("RGB", (48, 36)) for label in ("cat", "dog")})
    assert {code for code, _ in told(tmp_path)} == {"IMG015"}


def test_a_picture_of_two_rows_with_two_labels(tmp_path: Path) -> None:
    put(tmp_path, {f"images/{n}.jpg": photo(n) for n in range(40)})
    rows = [f"{n}.jpg,{n % 3}" for n in range(40)]
    put(tmp_path, {"labels.csv": "\n".join(["file,label", *rows, "7.jpg,2"])})
    (entry,) = findings(tmp_path)
    assert (entry.check.code, str(entry.finding.at)) == ("LBL009", "labels.csv:42")
    assert entry.finding.message == "labels images/7.jpg 1 (line 9) and 2 (line 42)"


def test_several_rows_for_many_pictures_are_meant(tmp_path: Path) -> None:
    put(tmp_path, {f"images/{n}.jpg": photo(n) for n in range(40)})
    rows = [f"{n}.jpg,{(n + k) % 3}" for n in range(40) for k in range(1 + n % 2)]
    put(tmp_path, {"labels.csv": "\n".join(["file,label", *rows])})
    assert told(tmp_path) == []


def test_a_picture_in_the_lists_of_two_splits(tmp_path: Path) -> None:
    put(tmp_path, {f"images/{n}.jpg": photo(n) for n in range(60)})
    for split, numbers in (("train", range(48)), ("val", range(45, 60))):
        put(tmp_path, {f"{split}.csv": "\n".join(["file,label", *(f"{n}.jpg,{n % 3}" for n in numbers)])})
    (entry,) = findings(tmp_path)
    assert entry.check.code == "SPL001"
    assert entry.finding.message == "3 pictures are listed in train and val, such as images/45.jpg"


def test_a_list_that_another_was_drawn_from_is_no_leak(tmp_path: Path) -> None:
    put(tmp_path, {f"images/{n}.jpg": photo(n) for n in range(60)})
    for split, numbers in (("trainval", range(60)), ("val", range(45, 60))):
        put(tmp_path, {f"{split}.csv": "\n".join(["file,label", *(f"{n}.jpg,{n % 3}" for n in numbers)])})
    assert "SPL001" not in {code for code, _ in told(tmp_path)}
