"""Boxes as people get them wrong, and odd ones that are right."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from dldoctor import Severity

from .dataset_folder import findings, put
from .detection_folders import NAMES, SIZE, Files, coco, jpeg, scene, voc, yolo
from .test_annotations import COUNT, WHOLE, found, with_coco, with_voc, with_yolo

Corners = list[list[float]]
#: corners of boxes all over a picture of 48 x 36
SPREAD: Corners = [[2, 3, 20, 15], [25, 10, 45, 33], [10, 20, 40, 35], [30, 1, 47, 18], [5, 5, 12, 30]]


def document(boxes: Corners, **image: Any) -> str:
    images = [{"id": n, "file_name": f"{n}.jpg", "width": SIZE[0], "height": SIZE[1], **image} for n in range(COUNT)]
    annotations = [
        {"id": n, "image_id": n % COUNT, "category_id": n % 3, "bbox": boxes[n % len(boxes)]}
        for n in range(max(COUNT, len(boxes)))
    ]
    categories = [{"id": n, "name": name} for n, name in enumerate(NAMES)]
    return json.dumps({"images": images, "annotations": annotations, "categories": categories})


def line(box: list[float], label: int = 0) -> str:
    return " ".join(map(str, (label, *box))) + "\n"


def sized(boxes: Corners) -> Corners:
    return [[x1, y1, x2 - x1, y2 - y1] for x1, y1, x2, y2 in boxes]


def codes(folder: Path) -> list[str]:
    return [code for code, _, _ in found(folder)]


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ([4, 4, 0, 5], ["BOX001"]), ([4, 4, 5, -3], ["BOX001"]), ([4, 4, float("nan"), 5], ["BOX001"]),
        ([float("nan"), 4, 3, 5], ["BOX001"]), ([4, 4, float("inf"), 5], ["BOX001"]), ([0, 0, 0, 0], ["BOX001"]),
        ([40, 4, 20, 5], ["BOX002"]), ([-5, 4, 20, 5], ["BOX002"]), ([4, 30, 5, 40], ["BOX002"]),
        ([400, 300, 20, 20], ["BOX002"]),
        ([0, 0, 48, 36], []), ([0, 0, 49, 37], []), ([-1, -1, 10, 10], []), ([47.5, 35.5, 0.5, 0.5], []),
        ([0.001, 0, 47.9999, 36.0001], []), ([4, 4, 0.01, 0.01], []),
    ],
)  # fmt: skip
def test_one_box_of_coco_among_healthy_ones(tmp_path: Path, box: list[float], expected: list[str]) -> None:
    boxes = [*sized(SPREAD * 4), *sized(SPREAD[:3]), box]
    with_coco(tmp_path, document(boxes))
    assert codes(tmp_path) == expected


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("0 0.5 0.5 0 0.1", ["BOX001"]), ("0 0.5 0.5 -0.2 0.1", ["BOX001", "BOX003"]),
        ("0 0.95 0.5 0.4 0.1", ["BOX002"]), ("0 0.02 0.5 0.4 0.1", ["BOX002"]),
        ("0 1.2 0.5 0.1 0.1", ["BOX003"]), ("0 24 18 10 10", ["BOX003"]), ("0 -0.3 0.5 0.1 0.1", ["BOX003"]),
        ("0 0.1 0.1 0.9 0.1 0.5 1.3", ["BOX003"]), ("0 nan 0.5 0.1 0.1", ["BOX001"]),
        ("0 0.5 0.5 1 1", []), ("0 0.5 0.5 1.0000001 1.0005", []), ("0 0.90 0.5 0.21 0.1", []),
        ("0 0.1 0.1 0.9 0.1 0.5 1.0", []), ("0 0 0 1.0 0 1.0 1.0 0 1.000001", []),
    ],
)  # fmt: skip
def test_one_label_of_yolo_among_healthy_ones(tmp_path: Path, label: str, expected: list[str]) -> None:
    with_yolo(tmp_path, {"labels/7.txt": label + "\n"})
    assert codes(tmp_path) == expected


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((10, 10, 10, 20), ["BOX001"]), ((20, 10, 10, 20), ["BOX001"]), ((10, 10, 60, 20), ["BOX002"]),
        ((1, 1, 48, 36), []), ((0, 0, 48, 36), []), ((1, 1, 49, 37), []), ((10.5, 3.25, 20.75, 8), []),
    ],
)  # fmt: skip
def test_one_box_of_voc_among_healthy_ones(tmp_path: Path, box: tuple[float, ...], expected: list[str]) -> None:
    corners = "".join(f"<{n}>{v}</{n}>" for n, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    more = f"</object><object><name>cat</name><bndbox>{corners}</bndbox>"
    with_voc(tmp_path, {"Annotations/7.xml": voc(7, "7.jpg").replace("</object>", more + "</object>", 1)})
    assert codes(tmp_path) == expected


def test_boxes_of_a_crowd_may_reach_anywhere(tmp_path: Path) -> None:
    text = json.loads(document([*sized(SPREAD * 4), *sized(SPREAD[:3]), [0, 0, 90, 90]]))
    text["annotations"][-1]["iscrowd"] = 1
    text["annotations"] += [{**text["annotations"][-1], "id": 900}]
    with_coco(tmp_path, json.dumps(text))
    assert codes(tmp_path) == []


def test_many_boxes_whose_middle_is_inside_may_be_meant(tmp_path: Path) -> None:
    """People drawn whole where the picture's edge cuts them, as datasets of pedestrians do."""
    whole = [[30.0 + n, 10, 24, 20] for n in range(5)]
    with_coco(tmp_path, document([*sized(SPREAD), *whole]))
    (entry,) = findings(tmp_path)
    assert (entry.check.code, entry.severity) == ("BOX002", Severity.WARNING)
    assert entry.finding.message.startswith("10 of 24 boxes reach beyond their pictures: ")


def test_corners_in_place_of_sizes(tmp_path: Path) -> None:
    with_coco(tmp_path, document(SPREAD))
    ((code, at, message),) = found(tmp_path)
    assert (code, at) == ("BOX006", "annotations/instances.json")
    assert message.startswith("boxes are left, top, right, bottom, where this format has left, top, width, height")


def test_sizes_in_place_of_corners(tmp_path: Path) -> None:
    xmls: Files = {}
    for n in range(COUNT):
        box = zip(("xmin", "ymin", "xmax", "ymax"), sized(SPREAD)[n % 5], strict=True)
        corners = "".join(f"<{name}>{value}</{name}>" for name, value in box)
        size = "<size><width>48</width><height>36</height></size>"
        xmls[f"Annotations/{n}.xml"] = (
            f"<annotation>{size}<object><name>cat</name><bndbox>{corners}</bndbox></object></annotation>"
        )
    with_voc(tmp_path, xmls)
    ((code, at, _),) = found(tmp_path)
    assert (code, at) == ("BOX006", "Annotations")


@pytest.mark.parametrize("convention", ["xyxy", "xywh"])
def test_corners_in_place_of_centres(tmp_path: Path, convention: str) -> None:
    boxes = SPREAD if convention == "xyxy" else sized([[0, 0, 30, 20], [1, 2, 40, 30], [0, 10, 47, 36], [2, 0, 20, 36]])
    scaled = [[a / SIZE[0], b / SIZE[1], c / SIZE[0], d / SIZE[1]] for a, b, c, d in boxes]
    with_yolo(tmp_path, {f"labels/{n}.txt": line(scaled[n % len(scaled)], n % 3) for n in range(COUNT)})
    ((code, at, message),) = found(tmp_path)
    assert (code, at) == ("BOX006", "labels")
    assert message.endswith("else 100%")


@pytest.mark.parametrize("size", [(96, 72), (36, 48)])
def test_another_size_than_annotated(tmp_path: Path, size: tuple[int, int]) -> None:
    with_coco(tmp_path, document(sized([[2, 3, 20, 15]]), width=size[0], height=size[1]))
    ((code, _, message),) = found(tmp_path)
    assert code == "BOX004"
    assert ("exchanged" in message) == (size == (36, 48))


@pytest.mark.parametrize("size", [(48, 36), (36, 48)])
def test_a_picture_that_exif_turns_may_be_annotated_either_way_up(tmp_path: Path, size: tuple[int, int]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    out = io.BytesIO()
    scene(7).save(out, "JPEG", exif=exif)
    whole = json.loads(document(sized([[2, 3, 20, 15]])))
    whole["images"][7] |= {"width": size[0], "height": size[1]}
    with_coco(tmp_path, json.dumps(whole))
    put(tmp_path, {"images/7.jpg": out.getvalue()})
    assert "BOX004" not in codes(tmp_path)


def test_no_declared_size_is_no_wrong_size(tmp_path: Path) -> None:
    with_coco(tmp_path, document(sized(SPREAD), width=None, height=None))
    assert codes(tmp_path) == []


def test_the_same_box_of_two_classes_is_no_duplicate(tmp_path: Path) -> None:
    with_yolo(tmp_path, {"labels/7.txt": line([0.5, 0.5, 0.2, 0.1], 0) + line([0.5, 0.5, 0.2, 0.1], 1)})
    assert codes(tmp_path) == []


def test_two_outlines_in_one_frame_are_no_duplicates(tmp_path: Path) -> None:
    with_yolo(tmp_path, {"labels/7.txt": "0 0.1 0.1 0.9 0.1 0.9 0.9\n0 0.1 0.1 0.1 0.9 0.9 0.9\n"})
    assert codes(tmp_path) == []


@pytest.mark.parametrize("label", ["0 0.5 0.5 0.2 0.1", "0 0.1 0.1 0.9 0.1 0.9 0.9"])
def test_a_line_that_stands_twice_is_a_duplicate(tmp_path: Path, label: str) -> None:
    with_yolo(tmp_path, {"labels/7.txt": f"{label}\n1 0.3 0.3 0.1 0.1\n{label}\n"})
    ((code, at, _),) = found(tmp_path)
    assert (code, at) == ("BOX005", "labels/7.txt:3")


def test_one_file_for_boxes_and_one_for_keypoints_are_no_duplicates(tmp_path: Path) -> None:
    with_coco(tmp_path, json.dumps(WHOLE))
    put(tmp_path, {"annotations/person_keypoints.json": json.dumps(WHOLE)})
    assert codes(tmp_path) == []


def test_a_fault_of_most_label_files_is_one_finding_at_their_folder(tmp_path: Path) -> None:
    put(tmp_path, {f"train/images/{n}.jpg": jpeg(n) for n in range(40)})
    put(tmp_path, {f"train/labels/{n}.txt": line([24, 18, 10, 10], n % 3) for n in range(40)})
    put(tmp_path, {f"valid/images/{n}.jpg": jpeg(n) for n in range(40, 60)})
    put(tmp_path, {f"valid/labels/{n}.txt": yolo(n) for n in range(40, 60)})
    put(tmp_path, {"data.yaml": "train: ../train/images\nval: ../valid/images\nnames: [cat, dog, owl]\n"})
    boxes = [entry for entry in found(tmp_path) if entry[0] == "BOX003"]
    assert [(at, message) for _, at, message in boxes] == [
        ("train/labels", "40 of 40 boxes are in pixels, not in shares: coordinates from 10 to 24")
    ]


def test_the_json_of_a_tool_that_writes_floats_as_ids_is_read(tmp_path: Path) -> None:
    with_coco(tmp_path, coco({f"{n}.jpg": n for n in range(COUNT)}).replace('"iscrowd": 0', '"iscrowd": 0.0'))
    assert codes(tmp_path) == []
