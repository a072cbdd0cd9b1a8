"""The small languages of the options: what they take, and the one sentence when they don't."""

from pathlib import Path

import pytest

from dldoctor import BadInput, InputSpec
from dldoctor.options import dataset, is_target, parse_bytes, parse_card, parse_classes, parse_input, parse_port


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("3x224x224", InputSpec((3, 224, 224))),
        ("3,224,224", InputSpec((3, 224, 224))),
        ("128:int64", InputSpec((128,), "int64")),
        ("ids=128:int64", InputSpec((128,), "int64", "ids")),
        ("int64", InputSpec((), "int64")),
        ("64X96:bool", InputSpec((64, 96), "bool")),
    ],
)
def test_inputs(text: str, spec: InputSpec) -> None:
    assert parse_input(text) == spec


@pytest.mark.parametrize("text", ["", "3xtwo", "-3x4", "0x4", "3x224x224:flot32", "a b=3", "x"])
def test_inputs_that_are_none(text: str) -> None:
    with pytest.raises(BadInput, match="--input"):
        parse_input(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [("154MB", 154_000_000), ("1.5GiB", 3 << 29), ("64M", 64_000_000), ("4096", 4096), (7, 7), ("2 kib", 2048)],
)
def test_sizes(text: str | int, size: int) -> None:
    assert parse_bytes(text, "--gpu-memory") == size


@pytest.mark.parametrize("text", ["", "many", "12XB", "-3MB"])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(BadInput, match="--gpu-memory"):
        parse_bytes(text, "--gpu-memory")


@pytest.mark.parametrize(
    ("text", "answer"),
    [("net.py:Net", True), ("a/b.py:Net", True), ("pkg.mod:make.it", True), ("data", False), ("C:\\data", False),
     ("C:data", False), ("./a:b c", False)],
)  # fmt: skip
def test_targets(text: str, answer: bool) -> None:
    assert is_target(text) is answer


def test_classes_are_a_number_or_names() -> None:
    assert parse_classes("5").count == 5
    assert parse_classes("rose, iris").names == ("rose", "iris")
    assert parse_classes(["a", "b", "c"]).count == 3
    for wrong in ("0", "-2", "2.5", "rose"):
        with pytest.raises(BadInput, match="--classes"):
            parse_classes(wrong)


def test_ports() -> None:
    assert parse_port("tcp://10.1.2.3:29500").host == "10.1.2.3"
    assert parse_port(29500).port == 29500
    for wrong in ("0", "70000", "http://x", "port"):
        with pytest.raises(BadInput, match="--port"):
            parse_port(wrong)


def test_a_dataset_must_be_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="no such folder"):
        dataset("nowhere", tmp_path)
    with pytest.raises(BadInput, match="is a file"):
        dataset("file", tmp_path)
    with pytest.raises(BadInput, match="--split val"):
        dataset(".", tmp_path, splits=["val=nope"])


def test_a_card_of_24_gb_has_24_gib() -> None:
    assert [parse_card(text, "--gpu-memory") for text in ("24GB", "24 gb", "24G", "24GiB", 24 << 30)] == [24 << 30] * 5
