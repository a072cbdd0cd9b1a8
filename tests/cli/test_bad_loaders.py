"""What a loader or a short training can't begin with: one sentence, exit status 2, no traceback."""

from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Answer

pytest.importorskip("torch")
Run = Callable[..., Answer]

PROBE = """
import sys
import torch
from torch.utils.data import DataLoader, Dataset

class Set(Dataset):
    def __init__(self, count=8): self.count = count
    def __len__(self): return self.count
    def __getitem__(self, index): return torch.rand(4), index % 2

class Unsized(Dataset):
    def __len__(self): return len(self.files)

loaders = {"train": DataLoader(Set(), 2), "val": DataLoader(Set(), 2)}
none_left = DataLoader(Set(3), 4, drop_last=True)
def sets(): return Set(), Set()
def quits(): sys.exit("no")
class Net(torch.nn.Linear):
    def __init__(self): super().__init__(4, 2)
def step(model, batch): return 1.0
def nothing(output, target): return None
def optimizer(model): raise ValueError("no groups")
number = 3
"""


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["loader", "probe.py:loaders"], "is or returns a dict of 2 things; name a function that returns one"),
        (["loader", "probe.py:sets"], "is or returns a tuple of 2 things"),
        (["loader", "probe.py:quits"], "probe.py:17: probe.py:quits can't be made: SystemExit: no"),
        (["loader", "probe.py:Unsized"], "probe.py:12: len() of the Dataset fails: AttributeError"),
        (["loader", "probe.py:Set", "--init", "count=0"], "is empty, its length is 0"),
        (["loader", "probe.py:none_left"], "gives no batch (3 items, batch_size=4, drop_last=True)"),
        (["loader", "probe.py:Set", "--loss", "crossentropie"], "no such loss"),
        (["smoke", "probe.py:Net", "--data", "probe.py:Set", "--step", "probe.py:step"], "is not f(model, batch,"),
        (["smoke", "probe.py:Net", "--data", "probe.py:Set", "--step", "probe.py:number"], "is a int; name a function"),
        (["smoke", "probe.py:Net", "--data", "probe.py:Set", "--loss", "probe.py:nothing"], "gives a NoneType; a loss"),
        (["smoke", "probe.py:Net", "--data", "probe.py:Set", "--optimizer", "probe.py:optimizer"],
         "can't be made: ValueError: no groups"),
        (["smoke", "probe.py:Net", "--data", "probe.py:Set", "--optimizer", "lbfgs"], "needs a closure"),
    ],
)  # fmt: skip
def test_one_sentence_and_status_2(dldoctor: Run, tmp_path: Path, words: list[str], sentence: str) -> None:
    (tmp_path / "probe.py").write_text(PROBE)
    (tmp_path / "parses.py").write_text(
        "import argparse\nargparse.ArgumentParser().parse_args(['--nonsense'])\nnumber = 1\n"
    )
    answer = dldoctor(*words)
    said = " ".join((answer.err + answer.out).split())
    assert sentence in said
    assert answer.status == 2
    assert "Traceback" not in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["parses.py", "probe.py"]
