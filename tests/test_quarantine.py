"""A quarantine loses nothing, writes over nothing, and can be undone: whatever fails, and whenever it is killed."""

import errno
import hashlib
import json
import os
import signal
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dldoctor import BadInput
from dldoctor.quarantine import MANIFEST, Move, quarantine, restore

Tree = dict[str, str]
CALLS = ("mkdir", "open", "write", "fsync", "link", "symlink", "unlink", "rename", "replace")


def tree(folder: Path) -> Tree:
    """All files and links of a folder by path, with what they hold."""
    return {
        os.fsencode(path.relative_to(folder)).decode("latin-1"): os.readlink(path)
        if path.is_symlink()
        else hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    }


def dataset(folder: Path) -> list[Move]:
    """Files, a link, a link to nowhere, names with line breaks and bytes that are no UTF-8; what to move of it."""
    names = ["cat/a.jpg", "cat/new\nline.jpg", os.fsdecode(b"dog/caf\xe9.jpg"), "kept.jpg"]
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(bytes([number]) * (100 + number))
    (folder / "dog" / "link.jpg").symlink_to("../cat/a.jpg")
    (folder / "dog" / "nowhere.jpg").symlink_to("gone.jpg")
    return [Move(name, "AAA001") for name in (*names[:3], "dog/link.jpg", "dog/nowhere.jpg")]


def no_links(*_: Any, **__: Any) -> None:
    raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))


@pytest.fixture(params=["one file system", "two file systems"])
def systems(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The calls as they are, or as they answer where files can't be linked."""
    if request.param == "two file systems":
        monkeypatch.setattr(os, "link", no_links)
    return str(request.param)


@pytest.mark.usefixtures("systems")
def test_a_quarantine_is_undone_by_its_manifest(tmp_path: Path) -> None:
    moves = dataset(tmp_path / "data")
    before = tree(tmp_path / "data")
    modes = {path: path.lstat().st_mtime_ns for path in (tmp_path / "data").rglob("*.jpg")}
    manifest = quarantine(moves, tmp_path / "data")
    assert list(tree(tmp_path / "data")) == ["kept.jpg"]
    assert restore(manifest) == (5, [])
    assert tree(tmp_path / "data") == before
    assert {path: path.lstat().st_mtime_ns for path in modes if not path.is_symlink()} == {
        path: when for path, when in modes.items() if not path.is_symlink()
    }
    assert restore(manifest.parent) == (0, [])
    assert tree(manifest.parent).keys() == {MANIFEST}


@pytest.mark.usefixtures("systems")
def test_restore_writes_over_nothing(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.jpg").write_bytes(b"old")
    manifest = quarantine([Move("a.jpg", "AAA001")], tmp_path / "data")
    (tmp_path / "data/a.jpg").write_bytes(b"new")
    count, problems = restore(manifest)
    assert count == 0
    assert "exists again" in problems[0]
    assert (tmp_path / "data/a.jpg").read_bytes() == b"new"
    assert (manifest.parent / "a.jpg").read_bytes() == b"old"


@pytest.mark.usefixtures("systems")
def test_a_quarantine_that_was_moved_elsewhere_is_restored(tmp_path: Path) -> None:
    moves = dataset(tmp_path / "data")
    before = tree(tmp_path / "data")
    manifest = quarantine(moves, tmp_path / "data")
    (tmp_path / "archive").mkdir()
    moved = manifest.parent.rename(tmp_path / "archive" / "q")
    assert restore(moved) == (5, [])
    assert tree(tmp_path / "data") == before


def killed(work: Callable[[], object], at: int) -> bool:
    """Run in a child that kills itself before the `at`-th call that changes the disk; whether it came to that."""
    child = os.fork()
    if child == 0:
        count = 0

        def counted(real: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **options: Any) -> Any:
                nonlocal count
                count += 1
                if count == at:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*arguments, **options)

            return call

        for name in CALLS:
            setattr(os, name, counted(getattr(os, name)))
        try:
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


@pytest.mark.usefixtures("systems")
def test_a_kill_at_any_step_loses_nothing_and_restore_puts_all_back(tmp_path: Path) -> None:
    for at in range(1, 1000):
        base = tmp_path / str(at)
        moves = dataset(base / "data")
        before = tree(base / "data")
        came = killed(lambda base=base, moves=moves: quarantine(moves, base / "data"), at)
        held = list(tree(base).values())
        assert all(held.count(value) for value in before.values()), f"lost at step {at}"
        for manifest in base.rglob(MANIFEST):
            assert restore(manifest)[1] == []
        assert tree(base / "data") == before, f"not put back after step {at}"
        if not came:
            break
    assert at > 40


@pytest.mark.usefixtures("systems")
def test_a_restore_that_was_killed_is_taken_up_again(tmp_path: Path) -> None:
    for at in range(1, 1000):
        base = tmp_path / str(at)
        moves = dataset(base / "data")
        before = tree(base / "data")
        manifest = quarantine(moves, base / "data")
        came = killed(lambda manifest=manifest: restore(manifest), at)
        held = list(tree(base).values())
        assert all(held.count(value) for value in before.values()), f"lost at step {at}"
        assert restore(manifest)[1] == []
        assert tree(base / "data") == before, f"not put back after step {at}"
        if not came:
            break
    assert at > 15


def test_a_copy_that_differs_is_not_taken_for_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moves = dataset(tmp_path / "data")
    before = tree(tmp_path / "data")
    monkeypatch.setattr(os, "link", no_links)

    def cut(source: Path, target: Path) -> None:
        target.write_bytes(source.read_bytes()[:-1])

    monkeypatch.setattr("shutil.copyfile", cut)
    with pytest.raises(BadInput, match=r"the copy differs from the file\); nothing was moved"):
        quarantine(moves, tmp_path / "data")
    assert tree(tmp_path / "data") == before


def test_what_was_moved_is_put_back_when_a_later_file_can_t_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moves = dataset(tmp_path / "data")
    before = tree(tmp_path / "data")
    real, calls = os.unlink, 0

    def refuse(path: Any, **options: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        real(path, **options)

    monkeypatch.setattr(os, "unlink", refuse)
    with pytest.raises(BadInput, match=r"Read-only file system\); nothing was moved"):
        quarantine(moves, tmp_path / "data")
    assert tree(tmp_path / "data") == before


def test_a_hard_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.jpg").write_bytes(b"one")
    os.link(tmp_path / "data/a.jpg", tmp_path / "data/b.jpg")
    manifest = quarantine([Move("a.jpg", "AAA001")], tmp_path / "data")
    assert (tmp_path / "data/b.jpg").read_bytes() == b"one"
    assert restore(manifest) == (1, [])
    assert os.path.samefile(tmp_path / "data/a.jpg", tmp_path / "data/b.jpg")


def test_two_quarantines_at_once_take_two_folders(tmp_path: Path) -> None:
    dataset(tmp_path / "data")
    before = tree(tmp_path / "data")
    one = quarantine([Move("cat/a.jpg", "AAA001")], tmp_path / "data")
    other = quarantine([Move("kept.jpg", "AAA001")], tmp_path / "data")
    assert one != other
    assert restore(other) == (1, [])
    assert restore(one) == (1, [])
    assert tree(tmp_path / "data") == before


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only to root")
@pytest.mark.parametrize("closed", ["data/cat", "."])
def test_a_folder_that_can_t_be_written_is_said_before_anything_moves(tmp_path: Path, closed: str) -> None:
    moves = dataset(tmp_path / "data")
    before = tree(tmp_path)
    (tmp_path / closed).chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        with pytest.raises(BadInput, match=r"can't be written.*nothing was moved"):
            quarantine(moves, tmp_path / "data")
    finally:
        (tmp_path / closed).chmod(0o755)
    assert tree(tmp_path) == before


def test_a_parent_that_can_t_be_written_asks_for_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moves = dataset(tmp_path / "data")

    def refuse(path: Any, *_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    with monkeypatch.context() as patched:
        patched.setattr(os, "mkdir", refuse)
        with pytest.raises(BadInput, match=r"nothing was moved; give a folder for the quarantine with --quarantine"):
            quarantine(moves, tmp_path / "data")
    (tmp_path / "elsewhere").mkdir()
    manifest = quarantine(moves, tmp_path / "data", tmp_path / "elsewhere")
    assert manifest.parent.parent == tmp_path / "elsewhere"
    with pytest.raises(BadInput, match="lies in the dataset"):
        quarantine([Move("kept.jpg", "AAA001")], tmp_path / "data", tmp_path / "data/cat")


def test_a_file_that_is_gone_stops_it_before_anything_moves(tmp_path: Path) -> None:
    moves = dataset(tmp_path / "data")
    with pytest.raises(BadInput, match="nothing was moved"):
        quarantine([*moves, Move("cat/gone.jpg", "AAA001")], tmp_path / "data")
    assert (tmp_path / "data/cat/a.jpg").exists()


def test_the_last_line_of_a_manifest_may_be_cut(tmp_path: Path) -> None:
    manifest = quarantine(dataset(tmp_path / "data"), tmp_path / "data")
    with manifest.open("a") as file:
        file.write(json.dumps({"from": "x"})[:7])
    assert restore(manifest) == (5, [])


def test_a_manifest_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="can't be read"):
        restore(tmp_path / "nowhere")
    (tmp_path / MANIFEST).write_text("{}\n")
    with pytest.raises(BadInput, match="is no quarantine manifest"):
        restore(tmp_path)
