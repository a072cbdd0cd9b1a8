"""Pasted text finds its check whatever launchers, terminals and word processors did to it."""

import pytest

from dldoctor.symptoms import diagnose, find

from .engine import records


@pytest.mark.parametrize(
    ("symptom", "text"),
    [
        ("stack expects each tensor to be equal size, but got {a} at entry 0 and {b} at entry {n}",
         "RuntimeError: stack expects each tensor to be equal size, but got [3, 224, 224] at entry 0 and "
         "[1, 224, 224] at entry 3"),
        ("mat1 and mat2 shapes cannot be multiplied (256x233280 and 2000x500)",
         "RuntimeError: mat1 and mat2 shapes cannot be multiplied (4x12 and 7x3)"),
        ("Can't pickle local object", "AttributeError: Can\u2019t pickle  local\n   object 'f.<locals>.g'"),
        ("device-side assert triggered", "[rank0]: CUDA error: device-side assert\n[rank0]: triggered"),
        ("Expected state_dict to be dict-like", "\x1b[31mTypeError: Expected STATE_DICT to be dict-like\x1b[0m"),
        ("got input size [1, 512, 1, 1]", "got input size torch.Size([2, 64, 1, 1])"),
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
    ],
)
def test_not_found(symptom: str, text: str) -> None:
    assert not find(symptom, text)


def test_the_most_specific_check_comes_first() -> None:
    matches = diagnose("ValueError: the batch is far too large", records("AAA001", "AAA002"))
    assert [(match.check.code, match.words) for match in matches] == [("AAA001", "the batch is far too large")]
