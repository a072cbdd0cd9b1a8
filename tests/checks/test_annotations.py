"""Annotation files as people break them: each is one finding with its place, nothing raises, nothing is written."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from dldoctor.examine import scan
from dldoctor.fact import BadInput
from dldoctor.facts.dataset.layout import Layout
from dldoctor.resources import Resources

from .dataset_folder import put
from .detection_folders import Files, coco, jpeg, scene, voc, yolo

COUNT = 24
WHOLE: dict[str, Any] = json.loads(coco({f"{n}.jpg": n for n in range(COUNT)}))
PRETTY = json.dumps(WHOLE, indent=1)
BOMB = (
    '<?xml version="1.0"?>\n<!DOCTYPE annotation [\n<!ENTITY a "aaaaaaaaaa">\n'
    + "".join(f'<!ENTITY {new} "{f"&{old};" * 10}">\n' for old, new in zip("abcdefgh", "bcdefghi", strict=True))
    + "]>\n<annotation><filename>&i;</filename></annotation>\n"
)
EXTERNAL = (
    '<?xml version="1.0"?>\n<!DOCTYPE annotation [<!ENTITY x SYSTEM "file:///etc/passwd">]>\n'
    "<annotation><filename>&x;</filename></annotation>\n"
)


def found(folder: Path, **options: Any) -> list[tuple[str, str, str]]:
    before = {path: path.lstat().st_mtime_ns for path in folder.rglob("*")}
    report = scan(folder, resources=Resources(workers=1), **options)
    assert report.outcome.crashes == ()
    assert {path: path.lstat().st_mtime_ns for path in folder.rglob("*")} == before
    said = [(entry.check.code, str(entry.finding.at), entry.finding.message) for entry in report]
    return [entry for entry in said if entry[0] != "SPL003"]  # data.yaml gives the same pictures for train and val


def with_coco(folder: Path, text: str | bytes, name: str = "annotations/instances.json") -> None:
    put(folder, {**{f"images/{n}.jpg": jpeg(n) for n in range(COUNT)}, name: text})


def with_yolo(folder: Path, labels: Files, names: str = "[cat, dog, owl]") -> None:
    put(folder, {f"images/{n}.jpg": jpeg(n) for n in range(COUNT)})
    put(folder, {f"labels/{n}.txt": yolo(n) for n in range(COUNT)})
    put(folder, {"data.yaml": f"path: .\ntrain: images\nval: images\nnames: {names}\n", **labels})


def with_voc(folder: Path, xmls: Files) -> None:
    put(folder, {f"JPEGImages/{n}.jpg": jpeg(n) for n in range(COUNT)})
    put(folder, {f"Annotations/{n}.xml": voc(n, f"{n}.jpg") for n in range(COUNT)})
    put(folder, xmls)


def edited(**changes: Any) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(json.dumps(WHOLE))
    document["annotations"][3].update(changes)
    return document


def without(key: str, field: str) -> str:
    document: dict[str, Any] = json.loads(PRETTY)
    del document[key][3][field]
    return json.dumps(document, indent=1)


LINE = PRETTY.splitlines().index(' "annotations": [') + 1


@pytest.mark.parametrize(
    ("text", "at", "said"),
    [
        (PRETTY[:2000], None, "ends in the middle: the file is cut"),
        (PRETTY.replace('"id": 13', '"id": 13,,', 1), None, "does not parse: "),
        (PRETTY.replace("'", '"').replace('"', "'"), None, ""),
        ("<!DOCTYPE html><html><body>Sign in</body></html>", "", "is a web page, not the file"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n", "", "is a pointer of git-lfs"),
        ("", "", "is empty"),
        (b"\0" * 4000, "", "holds nothing but zero bytes"),
        ("\ufeff" + PRETTY, ":1", "begins with a byte order mark, which json.load refuses"),
        (PRETTY.encode("utf-16"), ":1", "is written in UTF-16; json is UTF-8"),
        (PRETTY.replace("owl", "höhle").encode("cp1252"), None, "is not UTF-8: byte 0xf6"),
        (without("images", "file_name"), None, "images[3] has no file_name"),
        (without("annotations", "image_id"), None, "annotations[3] has no image_id"),
        (json.dumps(edited(bbox=[1, 2, 3])), ":1", "annotations[3] has a bbox of 3 numbers, not 4"),
        (json.dumps(edited(bbox=[1, 2, "3,5", 4])), ":1", 'annotations[3] has "3,5" where bbox wants a number'),
        (json.dumps(edited(bbox=[1, 2, None, 4])), ":1", "annotations[3] has null where bbox wants a number"),
        (json.dumps(edited(image_id=9999)), "", "has annotations for the image_id 9999, which no image has"),
        ("[" * 100_000, None, ""),
    ],
)  # fmt: skip
def test_broken_json_is_said_with_its_place(tmp_path: Path, text: str | bytes, at: str | None, said: str) -> None:
    with_coco(tmp_path, text)
    broken = [entry for entry in found(tmp_path) if entry[0] == "LBL012"]
    if said:
        ((_, place, message),) = broken
        assert message.startswith(said)
        assert place.startswith("annotations/instances.json" + (":" if at is None else at))


def test_the_line_of_an_entry_is_the_one_it_begins_in(tmp_path: Path) -> None:
    text = without("annotations", "image_id")
    with_coco(tmp_path, text)
    ((_, place, _),) = [entry for entry in found(tmp_path) if entry[0] == "LBL012"]
    starts = [n for n, line in enumerate(text.splitlines(), 1) if line == "  {"]
    assert int(place.rpartition(":")[2]) == starts[COUNT + 3]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(edited(score=float("nan"))),
        json.dumps(edited(segmentation={"size": [36, 48], "counts": "abc"})),
        json.dumps(edited(keypoints=[1, 1, 2], num_keypoints=1, attributes={"occluded": True}, iscrowd=False)),
        json.dumps(edited(bbox=None)),
        json.dumps({**WHOLE, "annotations": [{**one, "iscrowd": True} for one in WHOLE["annotations"]]}),
        json.dumps({**WHOLE, "images": [{**one, "id": one["id"] << 70} for one in WHOLE["images"]],
                    "annotations": [{**one, "image_id": one["image_id"] << 70} for one in WHOLE["annotations"]]}),
        json.dumps({**WHOLE, "images": [{**one, "id": f"a{one['id']}"} for one in WHOLE["images"]],
                    "annotations": [{**one, "image_id": f"a{one['image_id']}"} for one in WHOLE["annotations"]]}),
        json.dumps({**WHOLE, "images": [{**one, "file_name": f"./{one['file_name']}"} for one in WHOLE["images"]]}),
        json.dumps({**WHOLE, "images": [{**one, "file_name": f"/old/{one['file_name']}"} for one in WHOLE["images"]]}),
        json.dumps({**WHOLE, "images": [{"id": one["id"], "file_name": one["file_name"]} for one in WHOLE["images"]]}),
        json.dumps({**WHOLE, "annotations": None}),
        json.dumps({key: WHOLE[key] for key in ("images", "categories")}),
        json.dumps({**WHOLE, "categories": [{**one, "id": 90 - one["id"]} for one in WHOLE["categories"]],
                    "annotations": [{**one, "category_id": 90 - one["category_id"]} for one in WHOLE["annotations"]]}),
        "\r\n" + PRETTY.replace("\n", "\r\n") + "\r\n\r\n",
        PRETTY.replace("owl", "Eule \u2713 梟").replace("\\u", "\\u"),
    ],
)  # fmt: skip
def test_healthy_json_is_passed(tmp_path: Path, text: str) -> None:
    with_coco(tmp_path, text)
    assert found(tmp_path) == []


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("0 0.5 0.5 0.2\n", 1, "has 4 numbers where a box has 5"),
        ("0 0.5 0.5 0.2 0.1\n1 0.5 0.5 0.2 0.1 0.93\n", 2, "has 6 numbers where a box has 5"),
        ("0 0,5 0,5 0,2 0,1\n", 1, "writes 0,5 with a decimal comma"),
        ("0,0.5,0.5,0.2,0.1\n", 1, "parts its numbers with commas"),
        ("cat 0.5 0.5 0.2 0.1\n", 1, "has 'cat' where a number belongs"),
        ("0.5 0.5 0.5 0.2 0.1\n", 1, "begins with 0.5, which is no class index"),
        ("1e30 0.5 0.5 0.2 0.1\n", 1, "begins with 1e30, which is no class index"),
        ("inf 0.5 0.5 0.2 0.1\n", 1, "begins with inf, which is no class index"),
        ("nan 0.5 0.5 0.2 0.1\n", 1, "begins with nan, which is no class index"),
        ("\ufeff0 0.5 0.5 0.2 0.1\n", 1, "begins with a byte order mark"),
        ("0 0.5 0.5 0.2 0.1\n\n<<<<<<< HEAD\n", 3, "has '<<<<<<<' where a number belongs"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n", None, "is a pointer of git-lfs"),
        (b"\0" * 300, None, "holds nothing but zero bytes"),
        ("0 0.5 0.5 0.2 0.1\n".encode("utf-16"), 1, "is written in UTF-16"),
        (b"0 0.5 0.5 0.2 0.1\xff\n", 1, "has '0.1\\\\xff' where a number belongs"),
    ],
)
def test_a_broken_yolo_label_is_said_with_its_line(
    tmp_path: Path, text: str | bytes, line: int | None, said: str
) -> None:
    with_yolo(tmp_path, {"labels/7.txt": text})
    ((code, at, message),) = found(tmp_path)
    assert (code, at) == ("LBL012", "labels/7.txt" + (f":{line}" if line else ""))
    assert message.startswith(said)


@pytest.mark.parametrize(
    "text",
    [
        "", "\n\n", "0 0.5 0.5 0.2 0.1", "0\t0.5\t0.5\t0.2\t0.1\r\n1  0.25 0.5  0.1 0.2 \r\n", "0.0 0.5 0.5 1 1\n",
        "0 5e-1 .5 0.2 0.1\n", "1 0.5000001 0.5 1.0000001 1.0005\n", "0 0.995 0.5 0.02 0.1\n",
        "0 0 0 1 0 1 1 0 1\n", "2 0.1 0.1 0.9 0.1 0.5 1.0\n",
    ],
)  # fmt: skip
def test_a_healthy_yolo_label_is_passed(tmp_path: Path, text: str) -> None:
    with_yolo(tmp_path, {"labels/7.txt": text})
    assert found(tmp_path) == []


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        (voc(7, "7.jpg")[:300], 6, "ends in the middle: the file is cut"),
        (voc(7, "7.jpg").replace("</size>", "</sise>"), 4, "does not parse: mismatched tag"),
        (voc(7, "7.jpg").replace("cat", "cat & dog").replace("dog", "cat & dog"), None, "does not parse"),
        (voc(7, "7.jpg").replace("<bndbox>", "<bndbox><xmin>3,5</xmin>", 1), 5, "has '3,5' where xmin wants a number"),
        (voc(7, "7.jpg").replace("bndbox", "box"), 5, "has an object "),
        (voc(7, "7.jpg").replace("<name>", "<nome>").replace("</name>", "</nome>"), 5, "has an object without a name"),
        (BOMB, 3, "declares the entity a, which no annotation needs"),
        (EXTERNAL, 2, "declares the entity x, which no annotation needs"),
        ("", None, "is empty"),
        (voc(7, "höhle.jpg").encode("cp1252"), 2, "does not parse: not well-formed (invalid token)"),
    ],
)
def test_broken_xml_is_said_with_its_line(tmp_path: Path, text: str | bytes, line: int | None, said: str) -> None:
    with_voc(tmp_path, {"Annotations/7.xml": text})
    broken = [entry for entry in found(tmp_path) if entry[0] == "LBL012"]
    assert broken
    _, at, message = broken[0]
    assert message.startswith(said)
    assert at.startswith("Annotations/7.xml" + (f":{line}" if line else ""))


@pytest.mark.parametrize(
    "text",
    [
        b'<?xml version="1.0" encoding="ISO-8859-1"?>\n' + voc(7, "höhle.jpg").encode("latin-1"),
        b"\xef\xbb\xbf" + voc(7, "7.jpg").encode(),
        "<annotation><filename>7.jpg</filename><size><width>48</width><height>36</height></size></annotation>",
        voc(7, "7.jpg").replace("<annotation>", "<!DOCTYPE annotation>\n<annotation verified='yes'>"),
        voc(7, "7.jpg").replace("bndbox", "robndbox"),
        voc(7, "7.jpg").replace("<width>48<", "<width>1e300<").replace("<height>36<", "<height>nan<"),
        voc(7, "7.jpg").replace("</annotation>", "<segmented>0</segmented></annotation>"),
    ],
)
def test_healthy_xml_is_passed(tmp_path: Path, text: str | bytes) -> None:
    with_voc(tmp_path, {"Annotations/7.xml": text})
    assert found(tmp_path) == []


@pytest.mark.parametrize(
    ("names", "at", "said"),
    [
        ("[cat, dog, owl", "data.yaml:5", "does not parse"),
        ("{0: cat, 1: dog, 3: owl}", "data.yaml", "numbers 3 names otherwise than 0 to 2"),
        ("[cat, dog, owl]\nnc: 4", "data.yaml", "gives 3 names for nc: 4"),
    ],
)
def test_a_broken_data_yaml_is_said(tmp_path: Path, names: str, at: str, said: str) -> None:
    with_yolo(tmp_path, {}, names)
    broken = [entry for entry in found(tmp_path) if entry[0] == "LBL012"]
    assert broken
    assert broken[0][1] == at
    assert broken[0][2].startswith(said)


def test_a_fault_of_most_files_is_one_finding_at_their_folder(tmp_path: Path) -> None:
    with_yolo(tmp_path, {f"labels/{n}.txt": "0 0.5 0.5 0.2 0.1 0.93\n" for n in range(COUNT)})
    assert found(tmp_path) == [("LBL012", "labels", "24 of 24 files: has 6 numbers where a box has 5")]


def test_a_list_for_two_splits_is_missed_once(tmp_path: Path) -> None:
    with_yolo(tmp_path, {
        "data.yaml": "train: train.txt\nval: train.txt\nnames: [cat, dog, owl]\n",
        "train.txt": "".join(f"./images/{n}.jpg\n" for n in range(COUNT + 2)),
    })  # fmt: skip
    assert found(tmp_path) == [("LBL007", "train.txt", "names 2 files that are not there")]


def test_a_class_beyond_the_names_is_out_of_range(tmp_path: Path) -> None:
    with_yolo(tmp_path, {"labels/7.txt": "3 0.5 0.5 0.2 0.1\n"})
    ((code, at, message),) = found(tmp_path)
    assert (code, at) == ("LBL001", "labels")
    assert "3 classes are 0 to 2 (data.yaml)" in message


def test_a_category_that_is_not_declared_is_out_of_range(tmp_path: Path) -> None:
    with_coco(tmp_path, json.dumps(edited(category_id=77)))
    ((code, at, message),) = found(tmp_path)
    assert (code, at) == ("LBL001", "annotations/instances.json")
    assert message == "1 annotations have a category_id that no category has: 77"


def test_splits_that_number_their_categories_otherwise_do_not_match(tmp_path: Path) -> None:
    parts = {"train": range(COUNT), "valid": range(COUNT, 2 * COUNT)}
    for split, numbers in parts.items():
        put(tmp_path, {f"{split}/{n}.jpg": jpeg(n) for n in numbers})
        text = coco({f"{n}.jpg": n for n in numbers})
        if split == "valid":
            text = text.replace('"name": "cat"', '"name": "x"').replace('"dog"', '"cat"').replace('"x"', '"dog"')
        put(tmp_path, {f"{split}/_annotations.coco.json": text})
    ((code, at, message),) = found(tmp_path)
    assert (code, at) == ("LBL011", "valid/_annotations.coco.json")
    assert message == "category 1 is dog here and cat in train/_annotations.coco.json"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("7.jpg", "7.JPG", "for case or ending"),
        ("7.jpg", "7.jpeg", "for case or ending"),
        ("7.jpg", "seven.jpg", "names 1 files that are not there, of 24"),
    ],
)
def test_a_file_named_in_vain_is_found(tmp_path: Path, old: str, new: str, said: str) -> None:
    with_coco(tmp_path, PRETTY.replace(f'"{old}"', f'"{new}"'))
    missing = [entry for entry in found(tmp_path) if entry[0] == "LBL007"]
    ((_, at, message),) = missing
    assert at == "annotations/instances.json"
    assert said in message or "is" in message


def test_backslashes_are_a_warning(tmp_path: Path) -> None:
    with_coco(tmp_path, PRETTY.replace('"file_name": "', '"file_name": "images\\\\'))
    ((code, _, message),) = found(tmp_path)
    assert code == "LBL007"
    assert message.startswith("writes 24 paths with backslashes, such as images\\0.jpg")


def test_a_yolo_label_without_its_picture_is_a_warning(tmp_path: Path) -> None:
    with_yolo(tmp_path, {"labels/gone.txt": yolo(1), "labels/classes.txt": "cat\ndog\n"})
    ((code, at, message),) = found(tmp_path)
    assert (code, at) == ("LBL007", "labels/gone.txt")
    assert message == "is for gone, which is not there"


def test_a_split_of_data_yaml_that_is_not_there_is_found(tmp_path: Path) -> None:
    with_yolo(tmp_path, {"data.yaml": "train: images\nval: images/vall\ntest: images/test\nnames: [a, b, c]\n"})
    missing = [entry for entry in found(tmp_path) if entry[0] == "LBL007"]
    assert [(at, message) for _, at, message in missing] == [("data.yaml", "is for images/vall, which is not there")]


def test_labels_where_nobody_looks_for_them_are_missing(tmp_path: Path) -> None:
    put(tmp_path, {f"images/{n}.jpg": jpeg(n) for n in range(COUNT)})
    put(tmp_path, {f"Labels/{n}.txt": yolo(n) for n in range(COUNT)})
    put(tmp_path, {"data.yaml": "train: images\nval: images\nnames: [cat, dog, owl]\n"})
    assert found(tmp_path) == [("LBL007", "data.yaml", "is for labels/0.txt, which is not there")]


def test_json_about_a_few_of_many_pictures_makes_no_detection_set(tmp_path: Path) -> None:
    for label in ("a", "b"):
        put(tmp_path, {f"{label}/{label}{n}.jpg": jpeg(n + 40 * (label == "b")) for n in range(COUNT)})
    put(tmp_path, {"sample.json": coco({"a/a1.jpg": 1, "b/b1.jpg": 2})})
    report = scan(tmp_path, resources=Resources(workers=1))
    assert next(fact for fact in report.outcome.facts if isinstance(fact, Layout)).kind == "imagefolder"


def test_rows_that_name_files_in_vain_are_found(tmp_path: Path) -> None:
    put(tmp_path, {f"images/{n}.jpg": jpeg(n) for n in range(COUNT)})
    rows = "".join(f"{n}.jpg,{'cat' if n % 2 else 'dog'}\n" for n in range(COUNT + 2))
    put(tmp_path, {"labels.csv": "image,label\n" + rows})
    ((code, at, message),) = found(tmp_path)
    assert (code, at, message) == ("LBL007", "labels.csv", "names 2 files that are not there, of 26")


def test_a_comma_in_a_label_is_found_with_its_line(tmp_path: Path) -> None:
    put(tmp_path, {f"images/{n}.jpg": jpeg(n) for n in range(COUNT)})
    rows = [f"{n}.jpg,{'cat' if n % 2 else 'dog'}" for n in range(COUNT)]
    rows[9] = "9.jpg,cat, black"
    put(tmp_path, {"labels.csv": "image,label\n" + "\n".join(rows)})
    assert ("LBL012", "labels.csv:11", "has 3 cells in a row where the others have 2") in found(tmp_path)


@pytest.mark.parametrize("name", ["labels.csv", "train.json", "labels.xlsx"])
def test_labels_that_were_never_downloaded_are_said(tmp_path: Path, name: str) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n"
    put(tmp_path, {**{f"images/{n}.jpg": jpeg(n) for n in range(COUNT)}, name: pointer, "notes.csv": "a,b\nx,y\n"})
    said = "is a pointer of git-lfs, not the file itself: run git lfs pull"
    assert found(tmp_path) == [("LBL012", name, said)]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_annotation_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    with_yolo(tmp_path, {})
    (tmp_path / "labels/7.txt").chmod(0)
    ((code, at, message),) = found(tmp_path)
    assert (code, at, message) == ("LBL012", "labels/7.txt", "can't be read: Permission denied")


def test_folders_and_links_in_place_of_annotations_are_survived(tmp_path: Path) -> None:
    with_coco(tmp_path, PRETTY)
    (tmp_path / "annotations/instances_val.json").mkdir()
    (tmp_path / "annotations/instances_test.json").symlink_to(tmp_path / "nowhere.json")
    (tmp_path / "labels.csv").mkdir()
    assert found(tmp_path) == [
        ("LBL012", "annotations/instances_test.json", "can't be read: No such file or directory")
    ]  # fmt: skip


def test_linked_pictures_are_found_by_their_annotations(tmp_path: Path) -> None:
    with_coco(tmp_path / "store", PRETTY)
    data = tmp_path / "data"
    data.mkdir()
    (data / "pics").symlink_to(tmp_path / "store/images")
    (data / "instances.json").write_text(PRETTY)
    assert found(data) == []


def test_names_that_are_not_utf8_are_survived(tmp_path: Path) -> None:
    with_coco(tmp_path, PRETTY.replace('"7.jpg"', '"caf\\u00e9.jpg"'))
    os.rename(tmp_path / "images/7.jpg", os.fsencode(tmp_path) + b"/images/caf\xe9.jpg")
    assert {code for code, _, _ in found(tmp_path)} == {"IMG011", "LBL007", "LBL008"}  # IMG011 is of names, too


def test_an_empty_archive_is_no_dataset(tmp_path: Path) -> None:
    put(tmp_path, {"images.zip": b"PK\x05\x06" + b"\0" * 18})
    try:
        report = scan(tmp_path, resources=Resources(workers=1))
    except BadInput as error:
        said = str(error)
    else:
        assert report.exit_status == 2
        (said,) = {crash.error for crash in report.outcome.crashes if crash.bad_input}
    assert "no picture in it or below (1 other file)" in said


@pytest.mark.parametrize("name", ["labels.xlsx", "labels.xls", "labels.ods", "labels.xlsb"])
@pytest.mark.parametrize("data", [b"", b"PK\x05\x06" + b"\0" * 18, b"PK\x03\x04rubbish", b"\xd0\xcf\x11\xe0" * 200])
def test_a_workbook_that_is_none_is_survived(tmp_path: Path, name: str, data: bytes) -> None:
    put(tmp_path, {**{f"{n}.jpg": scene(n) for n in range(3)}, name: data})
    assert found(tmp_path) == []


def test_each_layout_can_be_told(tmp_path: Path) -> None:
    with_yolo(tmp_path, {"instances.json": PRETTY, **{f"images/{n}.xml": voc(n, f"{n}.jpg") for n in range(COUNT)}})
    for name, classes in {"coco": 3, "yolo": 3, "voc": 3, "pictures": 0}.items():
        report = scan(tmp_path, layout=name, resources=Resources(workers=1))
        layout = next(fact for fact in report.outcome.facts if isinstance(fact, Layout))
        assert (layout.kind, layout.by, len(layout.classes)) == (name, f"--layout {name}", classes)
