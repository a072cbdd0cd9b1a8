"""`--fix` on a dataset and `restore`: what goes along, what is offered, what a second time does."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ..checks.dataset_folder import encoded, photo, put
from ..checks.test_masks import areas
from .conftest import Answer

Run = Callable[..., Answer]
CUT = encoded(photo(40, (96, 72)))[:700]


def listed(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def fix(dldoctor: Run, *words: str) -> Answer:
    return dldoctor("scan", "data", "--no-cache", "--select", "IMG001", *words)


def manifest_of(answer: Answer) -> str:
    return answer.err.partition("dldoctor restore ")[2].splitlines()[0]


def test_the_mask_goes_with_its_picture_and_both_come_back(dldoctor: Run, tmp_path: Path) -> None:
    files: dict[str, Any] = {f"data/images/{n}.jpg": photo(n) for n in range(4)}
    files |= {f"data/masks/{n}.png": areas([0, 1], n) for n in range(4)}
    put(tmp_path, files | {"data/images/2.jpg": CUT})
    before = listed(tmp_path / "data")
    shown = fix(dldoctor, "--diff")
    assert "would move images/2.jpg (IMG001)" in shown.err
    assert "would move masks/2.png (with images/2.jpg)" in shown.err
    assert listed(tmp_path / "data") == before
    done = fix(dldoctor, "--fix")
    assert "2 moved; undo: dldoctor restore" in done.err
    assert listed(tmp_path / "data").keys() == before.keys() - {"images/2.jpg", "masks/2.png"}
    again = fix(dldoctor, "--fix")
    assert "nothing here can be fixed" in again.err
    assert again.status == 0
    assert dldoctor("restore", manifest_of(done)).out == "2 put back\n"
    assert listed(tmp_path / "data") == before
    assert dldoctor("restore", manifest_of(done)) == (0, "0 put back\n", "")


def test_with_a_damaged_mask_go_its_picture_and_the_other_masks(dldoctor: Run, tmp_path: Path) -> None:
    files: dict[str, Any] = {f"data/a{n}.png": photo(n) for n in range(4)}
    files |= {f"data/a{n}_mask.png": areas([0, 1], n) for n in range(4)}
    files |= {"data/a2_mask_1.png": areas([0, 1], 9), "data/a2_mask.png": encoded(areas([0, 1]), "PNG")[:-30]}
    put(tmp_path, files)
    assert "3 moved" in fix(dldoctor, "--fix").err
    assert sorted(listed(tmp_path / "data")) == sorted(f"a{n}{end}.png" for n in (0, 1, 3) for end in ("", "_mask"))


def test_a_cleaned_table_keeps_the_bytes_of_the_other_rows(dldoctor: Run, tmp_path: Path) -> None:
    put(tmp_path, {**{f"data/images/{n}.jpg": photo(n) for n in range(4)}, "data/images/2.jpg": CUT})
    rows = ['\ufefffile,"the\nlabel",age', '"0.jpg",cat,2', "1.jpg ,dog,  2.50", "2.jpg,cat,1", '3.jpg,"a\r\nb",2']
    table = "\r\n".join(rows).encode()
    (tmp_path / "data/labels.csv").write_bytes(table)
    done = fix(dldoctor, "--fix")
    assert "labels.csv was left alone; without the 1 entry of what moves: " in done.err
    assert (tmp_path / "data/labels.csv").read_bytes() == table
    copy = Path(manifest_of(done)).with_name("labels.cleaned.csv")
    assert copy.read_bytes() == table.replace(b"2.jpg,cat,1\r\n", b"")


def test_a_cleaned_coco_file_loses_the_picture_and_its_boxes(dldoctor: Run, tmp_path: Path) -> None:
    put(tmp_path, {**{f"data/images/{n}.jpg": photo(n) for n in range(3)}, "data/images/2.jpg": CUT})
    content = {
        "images": [{"id": 7 + n, "file_name": f"{n}.jpg", "width": 48, "height": 36} for n in range(3)],
        "annotations": [{"id": n, "image_id": 7 + n, "category_id": 1, "bbox": [1, 1, 9, 9], "area": 81, "iscrowd": 0}
                        for n in range(3)],
        "categories": [{"id": 1, "name": "cat"}],
    }  # fmt: skip
    put(tmp_path, {"data/annotations/instances.json": json.dumps(content)})
    done = fix(dldoctor, "--fix")
    copy = json.loads(Path(manifest_of(done)).with_name("annotations").joinpath("instances.cleaned.json").read_text())
    assert [image["id"] for image in copy["images"]] == [7, 8]
    assert [one["image_id"] for one in copy["annotations"]] == [7, 8]
    assert copy["categories"] == content["categories"]


def test_a_list_of_names_is_cleaned_too_and_numbers_are_no_names(dldoctor: Run, tmp_path: Path) -> None:
    put(tmp_path, {**{f"data/images/{n}.jpg": photo(n) for n in range(4)}, "data/images/2.jpg": CUT})
    put(
        tmp_path, {"data/train.txt": "images/0.jpg 2\nimages/2.jpg 0\nimages/3.jpg 2\n", "data/notes.txt": "2\n9\n11\n"}
    )
    done = fix(dldoctor, "--fix")
    folder = Path(manifest_of(done)).parent
    assert (folder / "train.cleaned.txt").read_text() == "images/0.jpg 2\nimages/3.jpg 2\n"
    assert not (folder / "notes.cleaned.txt").exists()


def test_names_of_any_bytes_go_and_come_back(dldoctor: Run, tmp_path: Path) -> None:
    put(tmp_path, {f"data/{n}.jpg": photo(n) for n in range(3)})
    name = os.fsdecode(b"caf\xe9\n\x1b[31m.jpg")
    (tmp_path / "data" / name).write_bytes(CUT)
    done = fix(dldoctor, "--fix")
    assert "\x1b" not in done.err
    assert not (tmp_path / "data" / name).exists()
    assert dldoctor("restore", manifest_of(done)).status == 0
    assert (tmp_path / "data" / name).read_bytes() == CUT


@pytest.mark.parametrize("words", [("--fix",), ("--diff",)])
def test_files_behind_a_link_out_of_the_dataset_stay(dldoctor: Run, tmp_path: Path, words: tuple[str, ...]) -> None:
    put(tmp_path, {**{f"data/a/{n}.jpg": photo(n) for n in range(3)}, "store/b/9.jpg": photo(9), "store/b/8.jpg": CUT})
    (tmp_path / "data/b").symlink_to("../store/b")
    assert "b/8.jpg: lies outside the dataset, behind a link" in fix(dldoctor, *words).err
    assert (tmp_path / "store/b/8.jpg").read_bytes() == CUT


def test_a_fix_that_is_not_safe_waits_to_be_asked_for(dldoctor: Run, tmp_path: Path) -> None:
    put(tmp_path, {f"data/{n}.jpg": photo(n) for n in range(3)})
    (tmp_path / "data/copy.jpg").write_bytes((tmp_path / "data/1.jpg").read_bytes())
    words = ("scan", "data", "--no-cache", "--select", "IMG013")
    waiting = dldoctor(*words, "--fix")
    assert "1 more with --unsafe-fixes" in waiting.err
    assert len(listed(tmp_path / "data")) == 4
    assert "1 moved" in dldoctor(*words, "--unsafe-fixes").err
    assert len(listed(tmp_path / "data")) == 3


def test_the_quarantine_may_lie_elsewhere(dldoctor: Run, tmp_path: Path) -> None:
    put(tmp_path, {**{f"data/{n}.jpg": photo(n) for n in range(3)}, "data/bad.jpg": CUT})
    (tmp_path / "elsewhere").mkdir()
    done = fix(dldoctor, "--fix", "--quarantine", "elsewhere")
    assert Path(manifest_of(done)).is_relative_to(tmp_path / "elsewhere")
    put(tmp_path, {"data/bad.jpg": CUT})
    refused = fix(dldoctor, "--fix", "--quarantine", "data")
    assert refused.status == 2
    assert "lies in the dataset" in refused.err


def test_the_label_file_of_a_picture_goes_with_it(dldoctor: Run, tmp_path: Path) -> None:
    files: dict[str, Any] = {f"data/images/train/{n}.jpg": photo(n) for n in range(4)}
    files |= {f"data/labels/train/{n}.txt": "0 0.5 0.5 0.2 0.2\n" for n in range(4)}
    files |= {
        "data/images/train/2.jpg": CUT,
        "data/data.yaml": "train: images/train\nval: images/train\nnames: [cat]\n",
    }
    put(tmp_path, files)
    done = fix(dldoctor, "--fix")
    assert "move labels/train/2.txt (with images/train/2.jpg)" in done.err
    assert not (tmp_path / "data/labels/train/2.txt").exists()
    assert dldoctor("restore", manifest_of(done)).out == "2 put back\n"
    assert (tmp_path / "data/labels/train/2.txt").read_text() == "0 0.5 0.5 0.2 0.2\n"


def test_pascal_voc_gives_its_xml_along_and_lists_are_cleaned(dldoctor: Run, tmp_path: Path) -> None:
    xml = (
        "<annotation><filename>{n}.jpg</filename><size><width>48</width><height>36</height><depth>3</depth></size>"
        "<object><name>cat</name><bndbox><xmin>2</xmin><ymin>2</ymin><xmax>20</xmax><ymax>20</ymax></bndbox></object>"
        "</annotation>"
    )
    files: dict[str, Any] = {f"data/JPEGImages/a{n}.jpg": photo(n) for n in range(4)}
    files |= {f"data/Annotations/a{n}.xml": xml.format(n=f"a{n}") for n in range(4)}
    files |= {"data/JPEGImages/a2.jpg": CUT, "data/ImageSets/Main/train.txt": "a0\na1\na2\na3\n"}
    put(tmp_path, files)
    done = fix(dldoctor, "--fix")
    assert "move Annotations/a2.xml (with JPEGImages/a2.jpg)" in done.err
    folder = Path(manifest_of(done)).parent
    assert (folder / "ImageSets/Main/train.cleaned.txt").read_text() == "a0\na1\na3\n"


def test_preflight_moves_what_each_dataset_names(dldoctor: Run, tmp_path: Path) -> None:
    for name in ("one", "two"):
        put(tmp_path / name, {**{f"{n}.jpg": photo(n + 5 * (name == "two")) for n in range(3)}, "bad.jpg": CUT})
    put(tmp_path, {"pyproject.toml": '[[tool.dldoctor.scan]]\npath = "one"\n[[tool.dldoctor.scan]]\npath = "two"\n'})
    done = dldoctor("preflight", "--no-cache", "--select", "IMG001", "--fix")
    assert done.err.count("1 moved; undo") == 2
    assert len(list(tmp_path.glob("*-quarantine-*/bad.jpg"))) == 2
