"""Pasted text finds its check whatever launchers, terminals and word processors did to it."""

import pytest

from dldoctor.symptoms import diagnose, find

from .engine import records


@pytest.mark.parametrize(
    ("symptom", "text"),
    [
        ("stack expects each tensor to be equal size, but got {one} at entry 0 and {two} at entry {n}",
         "RuntimeError: stack expects each tensor to be equal size, but got [3, 224, 224] at entry 0 and "
         "[1, 224, 224] at entry 3"),
        ("mat1 and mat2 shapes cannot be multiplied ({b}x{a} and {d}x{o})",
         "RuntimeError: mat1 and mat2 shapes cannot be multiplied (4x12 and 7x3)"),
        ("Can't pickle local object", "AttributeError: Can\u2019t pickle  local\n   object 'f.<locals>.g'"),
        ("device-side assert triggered", "[rank0]: CUDA error: device-side assert\n[rank0]: triggered"),
        ("Expected state_dict to be dict-like", "\x1b[31mTypeError: Expected STATE_DICT to be dict-like\x1b[0m"),
        ("got input size [1, {c}, 1, 1]", "got input size torch.Size([1, 64, 1, 1])"),
        ("input [{b}, {h}, {w}, 3], got {h} channels", "input [8, 24, 32, 3], got 24 channels"),
        ("no shape of None & imread & !exists", "img = cv2.imread(path)\nno shape of None"),
    ],
)  # fmt: skip
def test_found(symptom: str, text: str) -> None:
    assert find(symptom, text)


@pytest.mark.parametrize(
    ("symptom", "text"),
    [
        ("shape {a} is invalid for input of size {n}", "shape is invalid"),
        ("{n}", "anything at all"),
        ("oops {n}", "oops 3"),
        ("Address already in use", "the address is in use by nobody"),
        ("got input size [1, {c}, 1, 1]", "got input size [2, 64, 1, 1]"),
        ("input [{b}, {h}, {w}, 3], got {h} channels", "input [8, 24, 32, 3], got 3 channels"),
        ("no shape of None & imread", "no shape of None"),
        ("no shape of None & !exists", "no shape of None; os.path.exists"),
    ],
)
def test_not_found(symptom: str, text: str) -> None:
    assert not find(symptom, text)


def test_a_match_says_where_it_stands() -> None:
    matches = diagnose("a line\nValueError: the batch is far too large\n", records("AAA001", "AAA002"))
    assert [(match.check.code, match.words) for match in matches] == [
        ("AAA001", "ValueError: the batch is far too large")
    ]
