"""Tar archives of samples: measured by offset, never unpacked, and what is wrong with them is said with its place."""

import io
import json
import tarfile
from pathlib import Path

import pytest

from dldoctor import Advice, Quarantine
from dldoctor.examine import scan
from dldoctor.facts.dataset.layout import Layout
from dldoctor.facts.dataset.pictures import ImageTable
from dldoctor.report import Report
from dldoctor.resources import Resources

from ...checks.detection_folders import jpeg, scene

Members = dict[str, bytes]


def pack(path: Path, members: Members) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def samples(first: int, count: int = 30) -> Members:
    found: Members = {}
    for n in range(first, first + count):
        found[f"{n:06d}.jpg"] = jpeg(n)
        found[f"{n:06d}.cls"] = str(n % 3).encode()
        found[f"{n:06d}.json"] = json.dumps({"n": n}).encode()
    return found


def seen(folder: Path) -> tuple[Report, Layout]:
    report = scan(folder, resources=Resources(workers=1))
    assert report.outcome.crashes == ()
    return report, next(fact for fact in report.outcome.facts if isinstance(fact, Layout))


def found(report: Report) -> list[tuple[str, str, str]]:
    return [(entry.check.code, str(entry.finding.at), entry.finding.message) for entry in report]


def test_shards_are_recognised_and_healthy_ones_are_silent(tmp_path: Path) -> None:
    for shard in range(3):
        pack(tmp_path / f"train-{shard:04d}.tar", samples(30 * shard))
    pack(tmp_path / "val-0000.tar", samples(90))
    report, layout = seen(tmp_path)
    assert layout.said == "WebDataset with train and val, 3 classes, 120 pictures"
    assert found(report) == []
    images = next(fact for fact in report.outcome.facts if isinstance(fact, ImageTable))
    assert images.frame["width"].to_list() == [48] * 120
    assert images.frame["path"][0] == "train-0000.tar/000000.jpg"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "train-0000.tar", "train-0001.tar", "train-0002.tar", "val-0000.tar"
    ]  # fmt: skip


def test_a_damaged_picture_is_found_inside_of_its_shard(tmp_path: Path) -> None:
    members = samples(0)
    members["000007.jpg"] = members["000007.jpg"][:-300]
    pack(tmp_path / "train/00000.tar", members)
    pack(tmp_path / "val/00000.tar", samples(30))
    report, _ = seen(tmp_path)
    assert [(code, at) for code, at, _ in found(report)] == [("IMG001", "train/00000.tar/000007.jpg")]


def test_masks_stand_beside_their_pictures(tmp_path: Path) -> None:
    members: Members = {}
    for n in range(8):
        out = io.BytesIO()
        scene(n).convert("L").point(lambda value: value // 128).save(out, "PNG")
        members |= {f"a/{n}.jpg": jpeg(n), f"a/{n}.seg.png": out.getvalue()}
    pack(tmp_path / "data.tar", members)
    _, layout = seen(tmp_path)
    assert layout.said == "WebDataset, 8 pictures, 8 masks"


@pytest.mark.parametrize(("kept", "said"), [(0.5, "ends inside of "), (0.503, "")])
def test_a_cut_shard_is_a_finding_and_the_rest_is_measured(tmp_path: Path, kept: float, said: str) -> None:
    path = pack(tmp_path / "a.tar", samples(0))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    pack(tmp_path / "b.tar", samples(30))
    report, layout = seen(tmp_path)
    assert 30 < layout.pictures < 60
    ((code, at, message),) = [entry for entry in found(report) if entry[0] == "LBL012"]
    assert (code, at) == ("LBL012", "a.tar")
    assert said in message
    assert message.endswith("the archive is cut")


def test_members_that_lead_out_are_named_and_never_written(tmp_path: Path) -> None:
    inside = tmp_path / "data"
    pack(inside / "a.tar", {**samples(0), "../../evil.jpg": jpeg(1), "/tmp/dldoctor-evil.jpg": jpeg(2)})
    report, layout = seen(inside)
    assert layout.pictures == 30
    ((code, at, message),) = [entry for entry in found(report) if entry[0] == "LBL012"]
    assert (code, at) == ("LBL012", "a.tar")
    assert "'../../evil.jpg', and 1 more" in message
    assert [path.name for path in inside.iterdir()] == ["a.tar"]
    assert not Path("/tmp/dldoctor-evil.jpg").exists()


def test_broken_json_of_a_sample_is_named_with_its_place(tmp_path: Path) -> None:
    pack(tmp_path / "a.tar", {**samples(0), "000003.json": b'{"n": 3,\n "x": }'})
    report, _ = seen(tmp_path)
    assert [(code, at) for code, at, _ in found(report) if code == "LBL012"] == [("LBL012", "a.tar/000003.json:2")]


def test_a_sample_without_a_class_among_many_is_found(tmp_path: Path) -> None:
    members = samples(0)
    del members["000005.cls"]
    pack(tmp_path / "a.tar", members)
    report, _ = seen(tmp_path)
    assert [entry[:2] for entry in found(report) if entry[0] == "LBL008"] == [("LBL008", "a.tar")]


def test_archives_beside_what_was_unpacked_from_them_are_left_alone(tmp_path: Path) -> None:
    pack(tmp_path / "images.tar", samples(0))
    for n in range(4):
        (tmp_path / f"{n}.jpg").write_bytes(jpeg(n))
    _, layout = seen(tmp_path)
    assert layout.kind == "pictures"


def test_random_bytes_are_survived(tmp_path: Path) -> None:
    pack(tmp_path / "a.tar", samples(0))
    (tmp_path / "b.tar").write_bytes(b"\x1f\x8b" + bytes(range(256)) * 40)
    (tmp_path / "c.tar").write_bytes(b"")
    report, layout = seen(tmp_path)
    assert layout.pictures == 30
    assert [at for code, at, _ in found(report) if code == "LBL012"] == ["b.tar", "c.tar"]


def test_a_damaged_sample_is_not_offered_to_be_moved(tmp_path: Path) -> None:
    pack(tmp_path / "train-0000.tar", samples(0, 12) | {"000003.jpg": jpeg(3)[:300], "000005.jpg": jpeg(4)})
    report, _ = seen(tmp_path)
    fixes = {entry.check.code: entry.finding.fix for entry in report if entry.check.code in ("IMG001", "IMG013")}
    assert fixes["IMG001"] == Advice("fetch the shard again, or write the shard anew without this sample", safe=False)
    assert not any(isinstance(fix, Quarantine) for fix in fixes.values())
