"""Public detection datasets and exports of annotation tools, in miniature: recognised, and silent where healthy."""

import json
from pathlib import Path

import pytest

from dldoctor.examine import scan
from dldoctor.facts.dataset.layout import Layout
from dldoctor.resources import Resources

from .dataset_folder import put
from .detection_folders import NAMES, Files, boxes, coco, jpeg, scene, voc, yolo, yolo_outline

#: pictures of a dataset: 60 for training, the rest for validation
ALL, CUT = 100, 60
TRAIN, VAL = range(CUT), range(CUT, ALL)
PARTS = {"train": TRAIN, "val": VAL}
KNOWN: dict[str, Files] = {}
SAID: dict[str, str] = {}


def known(name: str, said: str, files: Files) -> None:
    KNOWN[name], SAID[name] = files, said


def pictures(pattern: str, parts: dict[str, range] = PARTS) -> Files:
    return {pattern.format(split=split, n=n): jpeg(n) for split, part in parts.items() for n in part}


BOTH = "with train and val, 3 classes, 100 pictures"
captions = json.dumps(
    {
        "images": [{"id": n, "file_name": f"{n:012d}.jpg", "width": 48, "height": 36} for n in TRAIN],
        "annotations": [{"id": n, "image_id": n, "caption": "An owl."} for n in TRAIN],
    }
)
panoptic = json.dumps(
    {
        "images": [{"id": n, "file_name": f"{n:012d}.jpg", "width": 48, "height": 36} for n in VAL],
        "annotations": [{"image_id": n, "file_name": f"{n:012d}.png", "segments_info": []} for n in VAL],
        "categories": [{"id": 1, "name": "owl", "isthing": 1}],
    }
)
known("coco2017", f"COCO {BOTH}", {
    **pictures("{split}2017/{n:012d}.jpg"),
    **{
        f"annotations/instances_{s}2017.json": coco({f"{n:012d}.jpg": n for n in part}) for s, part in PARTS.items()
    },
    "annotations/person_keypoints_train2017.json": coco(
        {f"{n:012d}.jpg": n for n in TRAIN}, keypoints=[1, 1, 2] * 17, num_keypoints=17
    ),
    "annotations/captions_train2017.json": captions,
    "annotations/panoptic_val2017.json": panoptic,
    **{f"annotations/panoptic_val2017/{n:012d}.png": scene(500 + n) for n in VAL},
    "annotations/image_info_test2017.json": json.dumps(
        {"images": [{"id": 1, "file_name": "t.jpg", "coco_url": "http://x/t.jpg"}], "categories": []}
    ),
})  # fmt: skip
known("coco, training pictures never fetched", "COCO with val, 3 classes, 40 pictures", {
    **pictures("val2017/{n:012d}.jpg", {"val": VAL}),
    **{
        f"annotations/instances_{s}2017.json": coco({f"{n:012d}.jpg": n for n in part}) for s, part in PARTS.items()
    },
})  # fmt: skip
known("lvis", f"COCO {BOTH}", {
    **pictures("{split}2017/{n:012d}.jpg"),
    **{
        f"lvis_v1_{s}.json": coco({f"{n:012d}.jpg": n for n in part}).replace(
            '"file_name": "', f'"coco_url": "http://images.org/{s}2017/'
        )
        for s, part in PARTS.items()
    },
})  # fmt: skip
known("roboflow coco", f"COCO {BOTH}", {
    **pictures("{split}/img_{n}_jpg.rf.0a9f{n:02d}.jpg", {"train": TRAIN, "valid": VAL}),
    **{
        f"{s}/_annotations.coco.json": coco({f"img_{n}_jpg.rf.0a9f{n:02d}.jpg": n for n in part}, first=0)
        for s, part in {"train": TRAIN, "valid": VAL}.items()
    },
    "README.roboflow.txt": "exported",
})  # fmt: skip
known("cvat coco", "COCO, 3 classes, 100 pictures", {
    **pictures("images/frame_{n:06d}.jpg"),
    "annotations/instances_default.json": coco({f"frame_{n:06d}.jpg": n for n in range(ALL)}, attributes={"a": False}),
})  # fmt: skip
known("label studio coco", "COCO, 3 classes, 100 pictures", {
    **pictures("images/{n:02x}-a.jpg"),
    "result.json": coco({f"../../label-studio/data/media/upload/1/{n:02x}-a.jpg": n for n in range(ALL)}),
})  # fmt: skip
known("coco, a third without boxes", "COCO, 3 classes, 200 pictures", {
    **pictures("images/{n}.jpg"),
    "coco.json": json.dumps({
        **(whole := json.loads(coco({f"{n}.jpg": n for n in range(ALL)}))),
        "annotations": [one for one in whole["annotations"] if one["image_id"] % 9],
    }),
    **{f"thumbs/{n}.jpg": scene(n, (24, 18)) for n in range(ALL)},
})  # fmt: skip
known("coco, crowds", "COCO, 3 classes, 100 pictures", {
    **pictures("images/{n}.jpg"),
    "coco.json": json.dumps({
        **(whole := json.loads(coco({f"{n}.jpg": n for n in range(ALL)}))),
        "annotations": whole["annotations"] + [
            {"id": 9000 + k, "image_id": 10, "category_id": 1, "bbox": [0, 0, 60, 40], "iscrowd": 1,
             "segmentation": {"size": [36, 48], "counts": [3, 4, 5]}}
            for k in range(3)
        ],
    }),
})  # fmt: skip
YAML = (
    "path: ../datasets/coco8 # dataset root dir\ntrain: images/train\nval: images/val\ntest: # test images\n\nnames:\n"
)
known("coco8", "YOLO with train and val, 80 classes, 100 pictures", {
    **pictures("images/{split}/{n:012d}.jpg"),
    **{f"labels/{s}/{n:012d}.txt": yolo(n) for s, part in PARTS.items() for n in part},
    "coco8.yaml": YAML + "".join(f"  {n}: {(*NAMES, *map(str, range(77)))[n]}\n" for n in range(80)),
    "labels/train.cache": b"\x93NUMPY",
})  # fmt: skip
known("coco128, two pictures without objects", "YOLO with train and val, 3 classes, 100 pictures", {
    "LICENSE": "x",
    "README.txt": "COCO 128",
    **{f"images/train2017/{n:012d}.jpg": jpeg(n) for n in range(ALL)},
    **{f"labels/train2017/{n:012d}.txt": yolo(n) for n in range(2, ALL)},
    "coco128.yaml": "path: coco128\ntrain: images/train2017\nval: images/train2017\nnames:\n  0: a\n  1: b\n  2: c\n",
})  # fmt: skip
known("roboflow yolov8", f"YOLO {BOTH}", {
    **pictures("{split}/images/i_{n}.rf.9f{n}.jpg", {"train": TRAIN, "valid": VAL}),
    **{
        f"{s}/labels/i_{n}.rf.9f{n}.txt": yolo(n) if n % 7 else ""
        for s, part in {"train": TRAIN, "valid": VAL}.items() for n in part
    },
    "data.yaml": "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n\nnc: 3\n"
    "names: ['cat', 'dog', 'owl']\n\nroboflow:\n  workspace: w\n  version: 1\n  url: https://universe/x\n",
    "README.dataset.txt": "x",
})  # fmt: skip
known("yolo outlines", "YOLO with train and val, 3 classes, 100 pictures", {
    **pictures("images/{split}/{n}.jpg"),
    **{f"labels/{s}/{n}.txt": yolo_outline(n) for s, part in PARTS.items() for n in part},
    "data.yaml": "train: images/train\nval: images/val\nnc: 3\nnames: [cat, dog, owl]\n",
})  # fmt: skip
known("yolo, turned boxes of drones", "YOLO with train and val, 3 classes, 100 pictures", {
    **pictures("images/{split}/{n}.jpg"),
    **{f"labels/{s}/{n}.txt": yolo_outline(n).rstrip() for s, part in PARTS.items() for n in part},
    **{f"labels/{s}_original/{n}.txt": "imagesource:Earth\ngsd:0.14\n" for s, part in PARTS.items() for n in part},
    "dota8.yaml": "path: dota8\ntrain: images/train\nval: images/val\nnames: {0: cat, 1: dog, 2: owl}\n",
})  # fmt: skip
known("yolo pose", "YOLO with train and val, 1 class, 100 pictures", {
    **pictures("images/{split}/{n}.jpg"),
    **{
        f"labels/{s}/{n}.txt": f"0 0.5 0.5 0.{n % 80 + 10} 0.9" + " 0.4 0.5 2.000000" * 17 + "\n"
        for s, part in PARTS.items() for n in part
    },
    "data.yaml": "train: images/train\nval: images/val\nkpt_shape: [17, 3]\nnames:\n  0: person\n",
})  # fmt: skip
known("yolo lists", "YOLO with train and val, 3 classes, 100 pictures", {
    **{f"images/{n}.jpg": jpeg(n) for n in range(ALL)},
    **{f"labels/{n}.txt": yolo(n) for n in range(ALL)},
    **{f"{s}.txt": "".join(f"./images/{n}.jpg\n" for n in part) for s, part in PARTS.items()},
    "data.yaml": "train: train.txt\nval: val.txt\nnames: [cat, dog, owl]\n",
})  # fmt: skip
known("cvat yolo 1.1", "YOLO, 3 classes, 100 pictures", {
    **{f"obj_train_data/frame_{n}.jpg": jpeg(n) for n in range(ALL)},
    **{f"obj_train_data/frame_{n}.txt": yolo(n) for n in range(ALL)},
    "obj.names": "cat\ndog\nowl\n",
    "obj.data": "classes = 3\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/\n",
    "train.txt": "".join(f"data/obj_train_data/frame_{n}.jpg\n" for n in range(ALL)),
})  # fmt: skip
known("labelimg yolo", "YOLO, 3 classes, 100 pictures", {
    **{f"{n}.jpg": jpeg(n) for n in range(ALL)},
    **{f"{n}.txt": yolo(n) for n in range(ALL)},
    "classes.txt": "cat\ndog\nowl\n",
})  # fmt: skip
known("voc2012", "Pascal VOC with train and val, 3 classes, 100 pictures", {
    **{f"VOCdevkit/VOC2012/JPEGImages/2007_{n:06d}.jpg": jpeg(n) for n in range(ALL)},
    **{f"VOCdevkit/VOC2012/Annotations/2007_{n:06d}.xml": voc(n, f"2007_{n:06d}.jpg") for n in range(ALL)},
    **{
        f"VOCdevkit/VOC2012/ImageSets/Main/{s}.txt": "".join(f"2007_{n:06d}\n" for n in part)
        for s, part in {**PARTS, "trainval": range(ALL)}.items()
    },
    "VOCdevkit/VOC2012/ImageSets/Main/cat_train.txt": "".join(f"2007_{n:06d} {1 - 2 * (n % 2):2d}\n" for n in TRAIN),
})  # fmt: skip
known("labelimg voc", "Pascal VOC, 3 classes, 100 pictures", {
    **{f"{n}.jpg": jpeg(n) for n in range(ALL)},
    **{f"{n}.xml": voc(n, f"{n}.jpg") for n in range(ALL)},
    "predefined_classes.txt": "cat\ndog\nowl\n",
})  # fmt: skip
known("roboflow voc", f"Pascal VOC {BOTH}", {
    **pictures("{split}/a_{n}_png.rf.{n:04x}.jpg", {"train": TRAIN, "valid": VAL}),
    **{
        f"{s}/a_{n}_png.rf.{n:04x}.xml": voc(n, f"a_{n}_png.rf.{n:04x}.jpg", "    ", "<polygon><x1>1</x1></polygon>")
        for s, part in {"train": TRAIN, "valid": VAL}.items() for n in part
    },
    "README.dataset.txt": "x",
})  # fmt: skip
known("kaggle voc", "Pascal VOC, 3 classes, 100 pictures", {
    **{f"images/road{n}.png": scene(n) for n in range(ALL)},
    **{f"annotations/road{n}.xml": voc(n, f"road{n}.png") for n in range(ALL)},
})  # fmt: skip
known("voc test without annotations", "Pascal VOC with train and test, 3 classes, 100 pictures", {
    **{f"JPEGImages/{n:06d}.jpg": jpeg(n) for n in range(ALL)},
    **{f"Annotations/{n:06d}.xml": voc(n, f"{n:06d}.jpg") for n in TRAIN},
    "ImageSets/Main/train.txt": "".join(f"{n:06d}\n" for n in TRAIN),
    "ImageSets/Main/test.txt": "".join(f"{n:06d}\n" for n in VAL),
})  # fmt: skip
known("voc with people and their parts", "Pascal VOC, 3 classes, 100 pictures", {
    **{f"JPEGImages/{n}.jpg": jpeg(n) for n in range(ALL)},
    **{
        f"Annotations/{n}.xml": voc(n, f"{n}.jpg", more="<part><name>head</name><bndbox><xmin>2</xmin></bndbox></part>")
        for n in range(ALL)
    },
})  # fmt: skip
known("pets", "Pascal VOC, 3 classes, 100 pictures, 100 masks", {
    **{f"images/Abyssinian_{n}.jpg": jpeg(n) for n in range(ALL)},
    **{f"annotations/xmls/Abyssinian_{n}.xml": voc(n, f"Abyssinian_{n}.jpg") for n in TRAIN},
    **{
        f"annotations/trimaps/Abyssinian_{n}.png": scene(n).convert("L").point(lambda value: 1 + value // 86)
        for n in range(ALL)
    },
    "annotations/trainval.txt": "".join(f"Abyssinian_{n} 1 1 1\n" for n in TRAIN),
})  # fmt: skip
known("labelme", "pictures, 100 pictures", {
    **{f"{n}.jpg": jpeg(n) for n in range(ALL)},
    **{
        f"{n}.json": json.dumps({"version": "5.0", "shapes": [], "imagePath": f"{n}.jpg", "imageData": None})
        for n in range(ALL)
    },
})  # fmt: skip
known("supervisely", "pictures, 100 pictures", {
    **{f"ds0/img/{n}.jpg": jpeg(n) for n in range(ALL)},
    **{f"ds0/ann/{n}.jpg.json": json.dumps({"size": {"height": 36, "width": 48}, "objects": []}) for n in range(ALL)},
    "meta.json": json.dumps({"classes": [], "tags": []}),
})  # fmt: skip
known("open images", "pictures with train and val, 100 pictures", {
    **pictures("{split}/{n:016x}.jpg", {"train": TRAIN, "validation": VAL}),
    **{
        f"{s}-annotations-bbox.csv": "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded\n"
        + "".join(f"{n:016x},xclick,/m/0{n % 3}x,1,0.1,0.5,0.2,0.8,0\n" for n in part)
        for s, part in {"train": TRAIN, "validation": VAL}.items()
    },
    "class-descriptions-boxable.csv": "/m/00x,Cat\n/m/01x,Dog\n/m/02x,Owl\n",
})  # fmt: skip
known("kaggle wheat", "pictures with train and test, 100 pictures", {
    **pictures("{split}/{n:05x}.jpg", {"train": TRAIN, "test": VAL}),
    "train.csv": "image_id,width,height,bbox,source\n"
    + "".join(f'{n:05x},48,36,"[{b[1]}, {b[2]}, {b[3]}, {b[4]}]",usask_1\n' for n in TRAIN for b in boxes(n)),
    "sample_submission.csv": "image_id,PredictionString\n" + "".join(f"{n:05x},1.0 0 0 9 9\n" for n in VAL),
})  # fmt: skip
known("captions beside the pictures", "pictures, 100 pictures", {
    **{f"{n}.jpg": jpeg(n) for n in range(ALL)},
    **{f"{n}.txt": f"photo of a cat, {n} years old, best quality\n" for n in range(ALL)},
})  # fmt: skip
known("mot", "pictures, 100 pictures", {
    **{f"MOT17-02/img1/{n:06d}.jpg": jpeg(n) for n in range(1, ALL + 1)},
    "MOT17-02/gt/gt.txt": "".join(f"{n},1,912,484,97,109,0,7,1\n" for n in range(1, ALL + 1)),
    "MOT17-02/seqinfo.ini": "[Sequence]\nname=MOT17-02\n",
})  # fmt: skip
known("kitti", "pictures with train and test, 100 pictures", {
    **{f"testing/image_2/{n:06d}.png": scene(n) for n in VAL},
    **{f"training/image_2/{n:06d}.png": scene(n) for n in TRAIN},
    **{
        f"training/label_2/{n:06d}.txt": "Car 0.00 0 -1.67 64.1 17.4 99.7 20.1 1.5 1.6 3.7 -2.7 1.7 46.7 -1.6\n"
        for n in TRAIN
    },
    **{f"training/calib/{n:06d}.txt": "P0: 7.2 0 6.0 0 0 7.2\n" for n in TRAIN},
})  # fmt: skip


@pytest.mark.parametrize("name", KNOWN)
def test_known_detection_sets_are_recognised_and_healthy(tmp_path: Path, name: str) -> None:
    put(tmp_path, KNOWN[name])
    report = scan(tmp_path, resources=Resources(workers=1))
    assert report.outcome.crashes == ()
    (layout,) = (fact for fact in report.outcome.facts if isinstance(fact, Layout))
    found = [(entry.check.code, str(entry.finding.at), entry.finding.message) for entry in report]
    if layout.splits == ("train",):  # which is so, and is said
        assert [code for code, _, _ in found] == ["SPL003"]
        found = []
    assert (layout.said, found) == (SAID[name], [])
