"""Every fact has one file form: what is saved comes back equal, and what is no facts file is said."""

import json
import os
from pathlib import Path

import pytest

from dldoctor import BadInput, Container, Gpu, GpuProcess, GpuState, SharedMemory
from dldoctor.fileform import load, save, to_plain, write_atomically

KINDS = {"GpuState": GpuState, "SharedMemory": SharedMemory, "Container": Container}
STATE = GpuState("580.1", (13, 0), (Gpu(0, "card", "GPU-1", 10, 5, (9, 0), (GpuProcess(1, "p", "u", None),)),))


def test_what_is_saved_comes_back_equal(tmp_path: Path) -> None:
    facts = [STATE, SharedMemory(64, 3), Container("docker", None, 3, 1.5)]
    save(facts, tmp_path / "facts.json", {"kind": "machine"})
    about, back = load(tmp_path / "facts.json", KINDS)
    assert sorted(back, key=repr) == sorted(facts, key=repr)
    assert about["kind"] == "machine"


def test_the_home_folder_is_shortened(tmp_path: Path) -> None:
    fact = Container(f"{Path.home()}/secret", None, None, None)
    save([fact], tmp_path / "facts.json", {})
    assert "~/secret" in (tmp_path / "facts.json").read_text()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "is no facts file"),
        ("{", "is no facts file"),
        ('{"facts": {"Unheard": {}}}', "no installed check knows the fact 'Unheard'"),
        ('{"facts": {"SharedMemory": {"total": 1}}}', "SharedMemory does not fit this version"),
        ('{"facts": {"SharedMemory": {"total": "much", "free": 1}}}', "SharedMemory does not fit this version"),
    ],
)
def test_what_is_no_facts_file_is_one_sentence(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "facts.json").write_text(text)
    with pytest.raises(BadInput) as error:
        load(tmp_path / "facts.json", KINDS)
    assert words in str(error.value)


def test_values_that_facts_may_not_hold_are_refused() -> None:
    with pytest.raises(TypeError, match="can't hold a"):
        to_plain(Container(object(), None, None, None))  # type: ignore[arg-type]  # on purpose


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.json"
    file.write_text("old")

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", refuse)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(file, b"new")
    assert file.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_written_file_keeps_its_rights(tmp_path: Path) -> None:
    file = tmp_path / "run.py"
    file.write_text("x")
    file.chmod(0o750)
    write_atomically(file, json.dumps({}).encode())
    assert file.stat().st_mode & 0o777 == 0o750


def test_a_pipe_is_written_to_and_stays_one(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_atomically(pipe, b"new")
        assert os.read(reader, 10) == b"new"
    finally:
        os.close(reader)
    assert pipe.is_fifo()
