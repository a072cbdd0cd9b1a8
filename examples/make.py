"""Make the two example projects' pictures, masks, tables and checkpoints: `python examples/make.py`.

Needs the extra `test` (scikit-learn and scikit-image ship the photographs). Source files (*.py, pyproject.toml) are
written by hand and left alone.

    dahlia, temple   flower.jpg and china.jpg of scikit-learn: CC BY 2.0, by vultilion and danielbuechele
    coffee           coffee.png of scikit-image: CC0, by Rachel Michetti (Pikolo Espresso Bar)
    cat              chelsea.png of scikit-image: CC0, by Stefan van der Walt
"""

from __future__ import annotations

import csv
import io
import shutil
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data
from sklearn.datasets import load_sample_image

HERE = Path(__file__).parent
SIDE = 64
SOURCES = {"dahlia": ("flower", 8), "temple": ("china", 8), "cat": ("chelsea", 8)}


def source(name: str) -> Image.Image:
    """The photograph behind a class."""
    if name in ("flower", "china"):
        return Image.fromarray(load_sample_image(f"{name}.jpg"))
    return Image.fromarray(getattr(data, name)())


def crops(name: str, count: int, seed: int) -> list[Image.Image]:
    """Square cut-outs of a photograph, no two alike."""
    picture = source(name)
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        side = int(random.integers(120, min(picture.size) - 10))
        left, top = (int(random.integers(0, edge - side)) for edge in picture.size)
        found.append(picture.crop((left, top, left + side, top + side)).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    return found


def jpeg(picture: Image.Image, **options: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=85, **options)
    return out.getvalue()


def photos(folder: Path) -> None:
    """Class folders under train and val."""
    for split, count, seed in (("train", 16, 1), ("val", 5, 2)):
        for number, (label, (photograph, _)) in enumerate(SOURCES.items()):
            target = folder / split / label
            target.mkdir(parents=True)
            for index, picture in enumerate(crops(photograph, count, seed * 10 + number)):
                (target / f"{label}_{index:02}.jpg").write_bytes(jpeg(picture))


def sicken_photos(folder: Path) -> None:
    """One of each: what `dldoctor scan` is to find among the class folders."""
    train, val = folder / "train", folder / "val"
    spare = crops("coffee", 6, 5)
    dahlia = train / "dahlia"
    whole = (dahlia / "dahlia_00.jpg").read_bytes()
    (dahlia / "dahlia_00.jpg").write_bytes(whole[: len(whole) // 2])  # IMG001
    (dahlia / "dahlia_01.jpg").write_bytes(b"<!DOCTYPE html><html><title>404 Not Found</title></html>\n")  # IMG002
    (dahlia / "dahlia_02.jpg").write_bytes(b"")  # IMG003
    damaged = bytearray((dahlia / "dahlia_03.jpg").read_bytes())
    middle = len(damaged) * 2 // 3
    damaged[middle : middle + 48] = bytes(range(48))
    (dahlia / "dahlia_03.jpg").write_bytes(damaged)  # IMG004
    Image.new("RGB", (1, SIDE), (200, 100, 0)).save(dahlia / "dahlia_04.png")  # IMG005
    (dahlia / "dahlia_05.jpg").write_bytes(jpeg(spare[0].convert("L")))  # IMG006
    exif = Image.Exif()
    exif[0x0112] = 6
    (dahlia / "dahlia_06.jpg").write_bytes(jpeg(spare[1], exif=exif))  # IMG008
    shutil.copy(dahlia / "dahlia_07.jpg", dahlia / "dahlia_07 (copy).jpg")  # IMG013
    shutil.copy(train / "temple" / "temple_03.jpg", val / "temple" / "temple_99.jpg")  # SPL001
    for index, picture in enumerate(crops("flower", 31, 7)):  # LBL005
        (train / "dahlia" / f"dahlia_{index + 20}.jpg").write_bytes(jpeg(picture))
    for path in sorted((train / "cat").iterdir())[4:]:
        path.unlink()
    checkpoints = train / ".ipynb_checkpoints"  # LBL010
    checkpoints.mkdir()
    (checkpoints / "dahlia-checkpoint.jpg").write_bytes(jpeg(spare[2]))
    (val / "cat").rename(val / "cats")  # LBL011


def masks(folder: Path, values: str) -> None:
    """Pictures of the dahlia and which pixels belong to it."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for index, picture in enumerate(crops("flower", 6, 11)):
        (folder / "images" / f"bed_{index}.jpg").write_bytes(jpeg(picture))
        red, green, blue = np.asarray(picture).astype(int).transpose(2, 0, 1)
        blossom = (red > 120) & (red > blue + 40) & (red > green)
        if values == "index":
            mask = Image.fromarray(blossom.astype(np.uint8))
        elif values == "255":
            mask = Image.fromarray(blossom.astype(np.uint8) * 255)
        else:
            mask = Image.fromarray(np.where(blossom[..., None], (200, 30, 30), (0, 0, 0)).astype(np.uint8))
        mask.save(folder / "masks" / f"bed_{index}.png")


def sicken_masks(folder: Path) -> None:
    file = folder / "masks" / "bed_1.png"
    with Image.open(file) as mask:
        mask.resize((32, 32), Image.Resampling.NEAREST).save(file)  # MSK004
    (folder / "masks" / "bed_2.png").unlink()  # MSK005


def table(folder: Path, labels: list[str]) -> None:
    """Pictures in one folder, labels in a CSV beside it."""
    (folder / "images").mkdir(parents=True)
    pictures = crops("coffee", len(labels), 13 + len(labels))
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow(["image", "label"])
        for index, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
            (folder / "images" / f"cup_{index:02}.jpg").write_bytes(jpeg(picture))
            writer.writerow([f"images/cup_{index:02}.jpg", label])


def boxes(folder: Path) -> None:
    """Pictures of the dahlia with the box around its blossom, as YOLO has them."""
    for index, picture in enumerate(crops("flower", 16, 17)):
        split = "val" if index % 4 == 3 else "train"
        for name in ("images", "labels"):
            (folder / name / split).mkdir(parents=True, exist_ok=True)
        (folder / "images" / split / f"bloom_{index:02}.jpg").write_bytes(jpeg(picture))
        red, green, blue = np.asarray(picture).astype(int).transpose(2, 0, 1)
        rows, columns = np.nonzero((red > 120) & (red > blue + 40) & (red > green))
        line = ""  # background: an empty file
        if rows.size > SIDE:
            left, right = columns.min() / SIDE, (columns.max() + 1) / SIDE
            top, bottom = rows.min() / SIDE, (rows.max() + 1) / SIDE
            line = f"0 {(left + right) / 2:.6f} {(top + bottom) / 2:.6f} {right - left:.6f} {bottom - top:.6f}\n"
        (folder / "labels" / split / f"bloom_{index:02}.txt").write_text(line)
    (folder / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [dahlia]\n")


def sicken_boxes(folder: Path) -> None:
    labels = folder / "labels" / "train"
    (labels / "bloom_00.txt").write_text("0 0.5 0.5 0 0.25\n")  # BOX001
    (labels / "bloom_01.txt").write_text("0 0.9 0.5 0.4 0.4\n")  # BOX002
    (labels / "bloom_02.txt").write_text("0 0.5 0.5 0.25\n")  # LBL012


def checkpoint(projects: tuple[Path, ...]) -> None:
    """The healed network's weights as `flowers.pt`, which train.py starts from."""
    sys.path.insert(0, str(HERE / "flowers-healed"))
    import torch
    from net import FlowerNet

    torch.manual_seed(0)
    weights = FlowerNet().state_dict()
    for project in projects:
        torch.save(weights, project / "flowers.pt")


def main() -> None:
    sick, healed = HERE / "flowers", HERE / "flowers-healed"
    for project in (sick, healed):
        for name in ("photos", "beds", "paths", "cups", "grades", "blooms"):
            shutil.rmtree(project / name, ignore_errors=True)
        photos(project / "photos")
    sicken_photos(sick / "photos")
    masks(sick / "beds", "255")  # MSK001
    sicken_masks(sick / "beds")
    masks(sick / "paths", "rgb")  # MSK003
    table(sick / "cups", ["0", "1", "2", "0", "", "2", "7", "1", "0", "2"])  # LBL001 and LBL002
    table(sick / "grades", ["1", "2", "3", "1", "2", "3", "3", "1", "2"])  # LBL003
    boxes(sick / "blooms")
    sicken_boxes(sick / "blooms")
    boxes(healed / "blooms")
    masks(healed / "beds", "index")
    masks(healed / "paths", "index")
    table(healed / "cups", ["0", "1", "2", "0", "1", "2", "2", "1", "0", "2"])
    table(healed / "grades", ["0", "1", "2", "0", "1", "2", "2", "0", "1"])
    checkpoint((sick, healed))


if __name__ == "__main__":
    main()
