"""Public datasets as they lie on disk, in miniature: each is recognised, and the scan of a healthy one is silent."""

from pathlib import Path

import pytest
from PIL import Image

from dldoctor.examine import scan
from dldoctor.facts.dataset.layout import Layout
from dldoctor.resources import Resources

from .dataset_folder import encoded, photo, put
from .test_masks import areas, coloured

Files = dict[str, bytes | str | Image.Image]


def binary(n: int) -> Image.Image:
    return areas([0, 1], n)


KNOWN: dict[str, Files] = {}
KNOWN["VOC"] = {
    **{f"VOC2012/JPEGImages/{n}.jpg": photo(n) for n in range(8)},
    **{f"VOC2012/SegmentationClass/{n}.png": areas([0, 5, 255], n) for n in range(3)},
    **{f"VOC2012/SegmentationObject/{n}.png": areas([0, 1, 255], n) for n in range(3)},
    "VOC2012/ImageSets/Segmentation/train.txt": "0\n1\n",
    "VOC2012/ImageSets/Segmentation/val.txt": "2\n",
    "VOC2012/Annotations/1.xml": "<a/>",
}


def anomalies(at: str, first: int) -> Files:
    """A part of MVTec AD: good ones to learn from, faults to find, and where they are."""
    return {
        **{f"{at}/train/good/{n:03}.png": photo(first + n) for n in range(4)},
        **{f"{at}/test/good/{n:03}.png": photo(first + 4 + n) for n in range(2)},
        **{f"{at}/test/broken/{n:03}.png": photo(first + 6 + n) for n in range(2)},
        **{f"{at}/ground_truth/broken/{n:03}_mask.png": binary(1).point(lambda v: 255 * v) for n in range(2)},
    }


KNOWN["a part of mvtec"] = anomalies("bottle", 0)
KNOWN["mvtec"] = {**anomalies("bottle", 0), **anomalies("cable", 10)}
KNOWN["isic"] = {
    **{f"ISIC_Task1_Training_Input/ISIC_{n:07}.jpg": photo(n) for n in range(4)},
    **{f"ISIC_Task1_Training_GroundTruth/ISIC_{n:07}_segmentation.png": binary(n) for n in range(4)},
}
KNOWN["deepglobe"] = {
    **{f"train/{n}_sat.jpg": photo(n) for n in range(4)},
    **{f"train/{n}_mask.png": binary(n) for n in range(4)},
    **{f"valid/{n}_sat.jpg": photo(n) for n in range(4, 8)},
    **{f"valid/{n}_mask.png": binary(n) for n in range(4, 8)},
}
KNOWN["radiographs with lungs"] = {
    **{f"{c}/images/{c}-{n}.png": photo(n + 10 * k) for k, c in enumerate(("COVID", "Normal")) for n in range(4)},
    **{f"{c}/masks/{c}-{n}.png": binary(1) for c in ("COVID", "Normal") for n in range(4)},
}
KNOWN["pets"] = {
    **{f"images/Abyssinian_{n}.jpg": photo(n) for n in range(4)},
    **{f"annotations/trimaps/Abyssinian_{n}.png": areas([1, 2, 3], n) for n in range(4)},
    "annotations/xmls/a.xml": "<a/>",
    "annotations/list.txt": "#Image CLASS-ID SPECIES BREED ID\n" + "".join(f"Abyssinian_{n} 1 1 1\n" for n in range(4)),
}
KNOWN["cityscapes"] = {
    **{
        f"leftImg8bit/{s}/aachen/aachen_{n}_leftImg8bit.png": photo(n)
        for n, s in enumerate(["train", "val", "train", "val"])
    },
    **{
        f"gtFine/{s}/aachen/aachen_{n}_gtFine_{k}.png": binary(n) if k != "color" else coloured(n).convert("RGBA")
        for n, s in enumerate(["train", "val", "train", "val"])
        for k in ("labelIds", "instanceIds", "color")
    },
}
KNOWN["cityscapes for training"] = {
    **{
        f"leftImg8bit/{s}/ulm/ulm_{n}_leftImg8bit.png": photo(n) for n, s in enumerate(["train", "val", "train", "val"])
    },
    **{
        f"gtFine/{s}/ulm/ulm_{n}_gtFine_{k}": (
            "{}" if k.endswith("json") else binary(n) if "Ids" in k else coloured(n).convert("RGBA")
        )
        for n, s in enumerate(["train", "val", "train", "val"])
        for k in ("labelIds.png", "labelTrainIds.png", "instanceIds.png", "color.png", "polygons.json")
    },
}
KNOWN["ade20k"] = {
    **{f"images/{s}/ADE_{n}.jpg": photo(n) for n, s in enumerate(["training", "validation"])},
    **{f"annotations/{s}/ADE_{n}.png": areas([0, 12, 150], n) for n, s in enumerate(["training", "validation"])},
}
KNOWN["caltech101"] = {
    f"101_ObjectCategories/{c}/image_{n:04d}.jpg": photo(10 * i + n)
    for i, c in enumerate(["BACKGROUND_Google", "accordion", "airplanes"])
    for n in range(3)
}
KNOWN["ham10000"] = {
    **{f"HAM10000_images_part_{1 + n // 3}/ISIC_{n}.jpg": photo(n) for n in range(6)},
    "HAM10000_metadata.csv": "lesion_id,image_id,dx,dx_type,age,sex,localization\n"
    + "".join(f"HAM_{n},ISIC_{n},{['nv', 'mel', 'bkl'][n % 3]},histo,{40 + n}.0,male,back\n" for n in range(6)),
}
KNOWN["isic onehot"] = {
    **{f"input/ISIC_{n}.jpg": photo(n) for n in range(6)},
    "truth.csv": "image,MEL,NV,BCC\n"
    + "".join(f"ISIC_{n},{float(n % 3 == 0)},{float(n % 3 == 1)},{float(n % 3 == 2)}\n" for n in range(6)),
}
KNOWN["imagenet val"] = {
    **{f"val/ILSVRC_{n}.JPEG": encoded(photo(n)) for n in range(6)},
    "val.txt": "".join(f"ILSVRC_{n}.JPEG {n % 3 * 37}\n" for n in range(6)),
}
KNOWN["celeba"] = {
    **{f"img_align_celeba/{n:06d}.jpg": photo(n) for n in range(1, 6)},
    "list_attr_celeba.txt": "5\nBald Smiling Young\n" + "".join(f"{n:06d}.jpg  -1  1 -1\n" for n in range(1, 6)),
    "identity_CelebA.txt": "".join(f"{n:06d}.jpg {n * 20}\n" for n in range(1, 6)),
    "list_eval_partition.txt": "".join(f"{n:06d}.jpg 0\n" for n in range(1, 6)),
}
KNOWN["dtd"] = {
    **{f"dtd/images/{c}/{c}_{n}.jpg": photo(10 * i + n) for i, c in enumerate(["banded", "dotted"]) for n in range(3)},
    "dtd/labels/train1.txt": "banded/banded_0.jpg\nbanded/banded_1.jpg\n",
    "dtd/imdb/imdb.mat": b"x",
}
KNOWN["flowers102"] = {
    **{f"jpg/image_{n:05d}.jpg": photo(n) for n in range(5)},
    "imagelabels.mat": b"xx",
    "setid.mat": b"x",
}
KNOWN["dogs-vs-cats"] = {
    **{f"train/{c}.{n}.jpg": photo(10 * i + n) for i, c in enumerate(["cat", "dog"]) for n in range(3)},
    **{f"test1/{n}.jpg": photo(30 + n) for n in range(3)},
    "sampleSubmission.csv": "id,label\n" + "".join(f"{n},0\n" for n in range(3)),
}
KNOWN["tiny-imagenet"] = {
    **{
        f"tiny-imagenet-200/train/n0{c}/images/n0{c}_{n}.JPEG": encoded(photo(10 * c + n))
        for c in range(3)
        for n in range(2)
    },
    **{f"tiny-imagenet-200/val/images/val_{n}.JPEG": encoded(photo(40 + n)) for n in range(3)},
    "tiny-imagenet-200/val/val_annotations.txt": "".join(f"val_{n}.JPEG\tn0{n}\t0\t0\t62\t62\n" for n in range(3)),
    "tiny-imagenet-200/wnids.txt": "n00\nn01\n",
}
KNOWN["cub"] = {
    **{f"images/{c:03d}.Bird{c}/Bird_{c}_{n}.jpg": photo(10 * c + n) for c in (1, 2, 3) for n in range(2)},
    "images.txt": "".join(f"{2 * c + n - 1} {c:03d}.Bird{c}/Bird_{c}_{n}.jpg\n" for c in (1, 2, 3) for n in range(2)),
    "image_class_labels.txt": "".join(f"{2 * c + n - 1} {c}\n" for c in (1, 2, 3) for n in range(2)),
    "parts/x.txt": "x",
}
KNOWN["lgg"] = {
    **{f"kaggle_3m/TCGA_{c}/TCGA_{c}_{n}.tif": photo(10 * c + n) for c in range(3) for n in range(2)},
    **{f"kaggle_3m/TCGA_{c}/TCGA_{c}_{n}_mask.tif": binary(n) for c in range(3) for n in range(2)},
    "kaggle_3m/data.csv": "Patient,x\nTCGA_0,1\n",
}
KNOWN["drive"] = {
    **{f"{s}/images/{n}_{s}.tif": photo(n) for n, s in enumerate(["training", "test"])},
    **{f"{s}/1st_manual/{n}_manual1.gif": areas([0, 255], n) for n, s in enumerate(["training", "test"])},
    **{f"{s}/mask/{n}_{s}_mask.gif": areas([0, 255], n) for n, s in enumerate(["training", "test"])},
}
KNOWN["market"] = {
    **{
        f"bounding_box_{s}/{k:04d}_c1s1_{n}.jpg": photo(20 * k + n)
        for s, k in (("train", 1), ("test", 2))
        for n in range(3)
    },
    "query/0002_c2.jpg": photo(60),
}
KNOWN["kfold"] = {
    f"fold{f}/{c}/{f}{n}.jpg": photo(30 * f + 10 * i + n)
    for f in range(3)
    for i, c in enumerate("ab")
    for n in range(2)
}
KNOWN["cifar png"] = {
    f"cifar10/{s}/{c}/{n}.png": photo(n + 10 * i + 40 * (s == "test"))
    for s in ("train", "test")
    for i, c in enumerate(["airplane", "automobile", "bird"])
    for n in range(2)
}
KNOWN["chest xray"] = {
    **{
        f"chest_xray/{s}/{c}/{n}{s}{c}.jpeg": encoded(photo(n + 10 * i + 40 * j))
        for j, s in enumerate(("train", "val", "test"))
        for i, c in enumerate(["NORMAL", "PNEUMONIA"])
        for n in range(2)
    },
    "chest_xray/__MACOSX/x/._a.jpeg": b"\0" * 40,
}
KNOWN["screenshots w/ thumbs"] = {
    **{f"{n}.jpg": photo(n) for n in range(3)},
    **{f"thumbs/{n}.jpg": photo(n, (16, 12)) for n in range(3)},
}
KNOWN["video frames"] = {f"frames/video{v}/frame_{n}.jpg": photo(v * 10 + n) for v in range(3) for n in range(3)}
KNOWN["roboflow cls"] = {
    **{
        f"{s}/{c}/{n}{s}.jpg": photo(n + 10 * i + 30 * j)
        for j, s in enumerate(("train", "valid", "test"))
        for i, c in enumerate(["a", "b"])
        for n in range(2)
    },
    "README.dataset.txt": "x",
}
KNOWN["roboflow multilabel"] = {
    **{f"{s}/{n}{s}.jpg": photo(n + 30 * j) for j, s in enumerate(("train", "valid")) for n in range(3)},
    **{
        f"{s}/_classes.csv": "filename, cat, dog\n" + "".join(f"{n}{s}.jpg, {n % 2}, 1\n" for n in range(3))
        for s in ("train", "valid")
    },
}
KNOWN["roboflow seg"] = {
    **{f"{s}/{n}{s}.jpg": photo(n + 30 * j) for j, s in enumerate(("train", "valid")) for n in range(3)},
    **{f"{s}/{n}{s}_mask.png": binary(n) for j, s in enumerate(("train", "valid")) for n in range(3)},
    **{f"{s}/_classes.csv": "Pixel Value, Class\n0, background\n1, x\n" for s in ("train", "valid")},
}
KNOWN["aptos"] = {
    **{f"train_images/{n:04x}.png": photo(n) for n in range(5)},
    **{f"test_images/{n:04x}.png": photo(n) for n in range(30, 33)},
    "train.csv": "id_code,diagnosis\n" + "".join(f"{n:04x},{n}\n" for n in range(5)),
    "test.csv": "id_code\n" + "".join(f"{n:04x}\n" for n in range(30, 33)),
}
KNOWN["plant pathology"] = {
    **{f"images/Train_{n}.jpg": photo(n) for n in range(5)},
    **{f"images/Test_{n}.jpg": photo(n + 20) for n in range(5)},
    "train.csv": "image_id,healthy,multiple_diseases,rust,scab\n"
    + "".join(f"Train_{n},{n % 2},0,{1 - n % 2},0\n" for n in range(5)),
}
KNOWN["face masks"] = {
    f"{c}/{n}.jpg": photo(20 * i + n) for i, c in enumerate(["with_mask", "without_mask"]) for n in range(3)
}
KNOWN["camvid"] = {
    **{f"{s}/{n}{s}.png": photo(n + 30 * j) for j, s in enumerate(("train", "val", "test")) for n in range(2)},
    **{f"{s}annot/{n}{s}.png": areas([0, 3, 11], n) for j, s in enumerate(("train", "val", "test")) for n in range(2)},
}
KNOWN["camvid kaggle"] = {
    **{f"{s}/{n}{s}.png": photo(n + 30 * j) for j, s in enumerate(("train", "val", "test")) for n in range(2)},
    **{f"{s}_labels/{n}{s}_L.png": coloured(n) for j, s in enumerate(("train", "val", "test")) for n in range(2)},
    "class_dict.csv": "name,r,g,b\nA,64,128,64\n",
}

RECOGNISED = {
    "a part of mvtec": "ImageFolder with train and test, 2 classes, 8 pictures",
    "mvtec": "pictures, 16 pictures",
    "isic": "image/mask pairs, 4 pictures, 4 masks",
    "deepglobe": "image/mask pairs with train and val, 8 pictures, 8 masks",
    "radiographs with lungs": "ImageFolder, 2 classes, 8 pictures",
    "VOC": "image/mask pairs with train and val, 8 pictures, 3 masks",
    "pets": "image/mask pairs, 4 pictures, 4 masks",
    "cityscapes": "image/mask pairs with train and val, 4 pictures, 4 masks",
    "cityscapes for training": "image/mask pairs with train and val, 4 pictures, 4 masks",
    "ade20k": "image/mask pairs with train and val, 2 pictures, 2 masks",
    "caltech101": "ImageFolder, 3 classes, 9 pictures",
    "ham10000": "pictures with a label file, 3 classes, 6 pictures",
    "isic onehot": "pictures, 6 pictures",
    "imagenet val": "pictures with a label file with val, 3 classes, 6 pictures",
    "celeba": "pictures, 5 pictures",
    "dtd": "ImageFolder, 2 classes, 6 pictures",
    "flowers102": "pictures, 5 pictures",
    "dogs-vs-cats": "pictures with train and test, 9 pictures",
    "tiny-imagenet": "ImageFolder with train and val, 3 classes, 9 pictures",
    "cub": "ImageFolder, 3 classes, 6 pictures",
    "lgg": "image/mask pairs, 6 pictures, 6 masks",
    "drive": "image/mask pairs with train and test, 2 pictures, 2 masks",
    "market": "pictures with train and test, 7 pictures",
    "kfold": "pictures, 12 pictures",
    "cifar png": "ImageFolder with train and test, 3 classes, 12 pictures",
    "chest xray": "ImageFolder with train, val and test, 2 classes, 12 pictures",
    "screenshots w/ thumbs": "pictures, 6 pictures",
    "video frames": "pictures, 9 pictures",
    "roboflow cls": "ImageFolder with train, val and test, 2 classes, 12 pictures",
    "roboflow multilabel": "pictures with train and val, 6 pictures",
    "roboflow seg": "image/mask pairs with train and val, 6 pictures, 6 masks",
    "aptos": "pictures with a label file with train and test, 5 classes, 8 pictures",
    "plant pathology": "pictures, 10 pictures",
    "face masks": "ImageFolder, 2 classes, 6 pictures",
    "camvid": "image/mask pairs with train, val and test, 6 pictures, 6 masks",
    "camvid kaggle": "image/mask pairs with train, val and test, 6 pictures, 6 masks",
}


@pytest.mark.parametrize("name", KNOWN)
def test_public_layouts_are_recognised_and_healthy(tmp_path: Path, name: str) -> None:
    put(tmp_path, KNOWN[name])
    report = scan(tmp_path, resources=Resources(workers=1))
    assert report.outcome.crashes == ()
    (layout,) = (fact for fact in report.outcome.facts if isinstance(fact, Layout))
    assert layout.said == RECOGNISED[name]
    found = [(entry.check.code, str(entry.finding.at)) for entry in report]
    assert found == ([("MSK003", ".")] if name == "camvid kaggle" else [])  # its masks are drawn in colours


def test_an_image_that_a_voc_list_names_must_have_its_mask(tmp_path: Path) -> None:
    put(tmp_path, {**KNOWN["VOC"], "VOC2012/ImageSets/Segmentation/val.txt": "2\n7\n"})
    report = scan(tmp_path, resources=Resources(workers=1))
    assert [(entry.check.code, str(entry.finding.at)) for entry in report] == [("MSK005", "VOC2012/JPEGImages/7.jpg")]
