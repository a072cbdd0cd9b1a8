"""`--write-fixed` writes the file with the network's names, and touches nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import dldoctor
from dldoctor import BadInput
from dldoctor.facts.checkpoint.reading import safetensors

NET = """
from torch import nn
def build():
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "net.py").write_text(NET)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_renamed_file_loads_and_keeps_all_else(folder: Path) -> None:
    net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3))
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    wrapped = torch.nn.DataParallel(net).state_dict()
    torch.save({"model": wrapped, "optimizer": optimizer.state_dict(), "epoch": 3}, "old.pt")
    before = Path("old.pt").read_bytes()
    report = dldoctor.examine_model(
        "net.py:build", input="4", checkpoint="old.pt", write_fixed="new.pt", select=["CKP001"]
    )
    assert [entry.check.code for entry in report] == ["CKP001"]
    assert any("new.pt written" in note for note in report.outcome.notes)
    fixed = torch.load("new.pt")
    net.load_state_dict(fixed["model"])
    assert (fixed["epoch"], fixed["optimizer"]) == (3, optimizer.state_dict())
    assert fixed["model"]._metadata["1"] == wrapped._metadata["module.1"]
    assert Path("old.pt").read_bytes() == before
    assert sorted(path.name for path in folder.iterdir() if path.name != "__pycache__") == [
        "net.py",
        "new.pt",
        "old.pt",
    ]


def test_a_file_that_is_there_is_not_overwritten(folder: Path) -> None:
    torch.save({}, "old.pt")
    with pytest.raises(BadInput, match="is there already and was left alone"):
        dldoctor.examine_model("net.py:build", input="4", checkpoint="old.pt", write_fixed="old.pt")
    with pytest.raises(BadInput, match="--checkpoint FILE says what to mend"):
        dldoctor.examine_model("net.py:build", input="4", write_fixed="new.pt")


def test_safetensors_keep_their_numbers(folder: Path) -> None:
    import json

    from dldoctor.renaming import _rename_safetensors

    header = json.dumps({"module.w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    Path("old.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"12345678")
    _rename_safetensors(Path("old.safetensors"), Path("new.safetensors"), {"module.w": "w"})
    found = safetensors.read(Path("new.safetensors"))
    assert list(found.root) == ["w"]
    assert found.storages is not None
    assert bytes(found.storages("w")) == b"12345678"
