"""A checkpoint is read by what its bytes are, whole or not, and nothing that it says is run."""

from __future__ import annotations

import argparse
import json
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dldoctor import Checkpoint, CheckpointAsked, ModelTarget

WEIGHTS = {"conv.weight": torch.ones(3, 2), "conv.bias": torch.zeros(3), "norm.num_batches_tracked": torch.tensor(4)}
OPTIMIZER = {"state": {}, "param_groups": [{"lr": 0.1, "params": [0, 1]}]}


def read(file: Path) -> Checkpoint:
    return Checkpoint.gather(CheckpointAsked(file, file.name), ModelTarget("net.py:Net", file.parent))


def saved(folder: Path, content: Any, **options: Any) -> Path:
    file = folder / "weights.pt"
    torch.save(content, file, **options)
    return file


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}])
def test_both_forms_of_torch_save_are_read(tmp_path: Path, options: dict[str, Any]) -> None:
    found = read(saved(tmp_path, WEIGHTS, **options))
    (state,) = found.states
    assert (found.holds, found.broken, found.foreign, state.at) == ("state_dict", "", (), ())
    assert [(t.name, t.shape, t.dtype, t.device) for t in state.tensors] == [
        ("conv.weight", (3, 2), "float32", "cpu"),
        ("conv.bias", (3,), "float32", "cpu"),
        ("norm.num_batches_tracked", (), "int64", "cpu"),
    ]


@pytest.mark.parametrize(
    ("content", "holds", "at", "optimizer"),
    [
        ({"model": WEIGHTS, "optimizer": OPTIMIZER, "epoch": 3}, "parts", [("model",)], True),
        ({"state_dict": WEIGHTS, "optimizer_states": [OPTIMIZER]}, "parts", [("state_dict",)], True),
        ({"models": {"g": WEIGHTS, "d": WEIGHTS}}, "parts", [("models", "g"), ("models", "d")], False),
        (OPTIMIZER, "optimizer", [], True),
        ([torch.zeros(2)], "tensors", [], False),
        (torch.zeros(2), "tensors", [], False),
        ({"epoch": 3, "loss": 0.4}, "object", [], False),
        ({}, "object", [], False),
    ],
)
def test_weights_are_found_by_what_they_are(
    tmp_path: Path, content: Any, holds: str, at: list[tuple[str, ...]], optimizer: bool
) -> None:
    found = read(saved(tmp_path, content))
    assert (found.holds, [state.at for state in found.states], found.optimizer) == (holds, at, optimizer)


def test_a_pickled_network_and_a_method_are_told_apart(tmp_path: Path) -> None:
    net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU())
    whole = read(saved(tmp_path, net))
    assert (whole.holds, whole.root) == ("module", "torch.nn.modules.container.Sequential")
    assert [t.name for t in whole.states[0].tensors] == ["0.weight", "0.bias"]
    assert read(saved(tmp_path, net.state_dict)).holds == "method"


def test_what_weights_only_refuses_is_named(tmp_path: Path) -> None:
    found = read(saved(tmp_path, {"model": WEIGHTS, "args": argparse.Namespace(a=1), "best": numpy.float64(0.5)}))
    assert "argparse.Namespace" in found.foreign
    assert any(name.startswith("numpy") for name in found.foreign)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64])
def test_numbers_that_are_not_finite_are_counted(tmp_path: Path, dtype: torch.dtype) -> None:
    values = torch.tensor([1.0, float("nan"), float("inf"), -float("inf"), 5.0]).to(dtype)
    (state,) = read(saved(tmp_path, {"w": values})).states
    assert (state.tensors[0].nan, state.tensors[0].infinite) == (1, 2)


def test_a_view_counts_its_own_numbers_alone(tmp_path: Path) -> None:
    whole = torch.zeros(4, 4)
    whole[0, 0] = float("nan")
    (state,) = read(saved(tmp_path, {"first": whole[0], "second": whole[1]})).states
    assert [tensor.nan for tensor in state.tensors] == [1, 0]


def test_a_flipped_bit_is_found_where_checksums_were_written(tmp_path: Path) -> None:
    file = saved(tmp_path, WEIGHTS)
    data = bytearray(file.read_bytes())
    data[data.find(WEIGHTS["conv.weight"].numpy().tobytes()) + 2] ^= 1
    file.write_bytes(data)
    torch.load(file)  # passes it in silence
    found = read(file)
    assert "checksum" in found.broken
    assert [t.name for t in found.states[0].tensors if t.damaged] == ["conv.weight"]


def test_a_file_without_checksums_is_whole(tmp_path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        file = saved(tmp_path, WEIGHTS)
    finally:
        torch.serialization.set_crc32_options(True)
    assert read(file).broken == ""


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}])
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(share=st.floats(0.001, 0.995))
def test_a_file_that_was_cut_off_is_called_so(tmp_path: Path, options: dict[str, Any], share: float) -> None:
    file = saved(tmp_path, {"w": torch.arange(500.0)}, **options)
    data = file.read_bytes()
    file.write_bytes(data[: max(1, int(len(data) * share))])
    assert read(file).broken


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.binary(max_size=400), head=st.sampled_from([b"", b"PK\x03\x04", b"\x80\x02", b"\x10\0\0\0\0\0\0\0{"]))
def test_no_bytes_make_the_reader_fail(tmp_path: Path, data: bytes, head: bytes) -> None:
    file = tmp_path / "weights.pt"
    file.write_bytes(head + data)
    found = read(file)
    assert found.broken or found.holds in ("object", "tensors")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "git lfs pull"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b'{"message": "not found"}', "JSON text"),
        (b"\0" * 4096, "zeros"),
        (b"\x89HDF\r\n\x1a\n" + b"\0" * 50, "HDF5"),
    ],
)
def test_strangers_are_named(tmp_path: Path, data: bytes, words: str) -> None:
    file = tmp_path / "weights.pt"
    file.write_bytes(data)
    assert words in read(file).broken


class _Runs:
    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.file),)


def test_nothing_that_a_pickle_says_is_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    plain = tmp_path / "plain.pt"
    plain.write_bytes(pickle.dumps(_Runs(marker)))
    zipped = tmp_path / "zipped.pt"
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"w": _Runs(marker)}, protocol=2))
    for file in (plain, zipped):
        assert any(name.endswith("mkdir") for name in read(file).foreign)
    assert not marker.exists()


def test_safetensors_are_read_and_cut_ones_found(tmp_path: Path) -> None:
    numbers = numpy.arange(4, dtype="<f4")
    numbers[1] = numpy.nan
    header = json.dumps({"w": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}, "__metadata__": {}}).encode()
    file = tmp_path / "model.safetensors"
    file.write_bytes(len(header).to_bytes(8, "little") + header + numbers.tobytes())
    (state,) = read(file).states
    assert (state.tensors[0].name, state.tensors[0].shape, state.tensors[0].nan) == ("w", (2, 2), 1)
    file.write_bytes(file.read_bytes()[:-3])
    assert "cut off" in read(file).broken
