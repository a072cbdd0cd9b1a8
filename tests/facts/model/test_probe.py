"""The network in the child, end to end: what is found, and that what is advised runs."""

import re
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from dldoctor import BadInput, Edits, LayerTable, ModelHead, ModelProbe, ModelTarget, Report, examine_model
from dldoctor.fact import Unavailable
from dldoctor.resources import Resources


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "net.py"


def write(net: Path, init: str, forward: str, top: str = "") -> None:
    body = dedent(init).strip().splitlines()
    lines = [
        "import os, sys, time",
        "import torch",
        "from torch import nn",
        "import torch.nn.functional as F",
        top,
        "",
        "class Net(nn.Module):",
        "    def __init__(self):",
        "        super().__init__()",
        *(f"        {line}" for line in body),
        "    def forward(self, x):",
        *(f"        {line}" for line in dedent(forward).strip().splitlines()),
    ]
    net.write_text("\n".join(lines) + "\n", encoding="utf-8")


def examined(**options: Any) -> Report:
    return examine_model("net.py:Net", resources=Resources(time_limit=60), **options)


def codes(report: Report) -> list[str]:
    assert not report.outcome.crashes
    return [entry.check.code for entry in report]


def probe(report: Report) -> ModelProbe:
    return next(fact for fact in report.outcome.facts if isinstance(fact, ModelProbe))


def apply(net: Path, report: Report) -> None:
    """Write every number that the report says, from the end of the file to its start."""
    edits = [edit for entry in report if isinstance(entry.finding.fix, Edits) for edit in entry.finding.fix.edits]
    data = net.read_bytes()
    for edit in sorted(edits, key=lambda edit: -edit.start):
        data = data[: edit.start] + edit.text.encode() + data[edit.end :]
    net.write_bytes(data)


@pytest.mark.parametrize(
    ("init", "forward", "shape", "expected"),
    [
        (
            """
            self.conv1 = nn.Conv2d(3, 16, 5)
            self.conv2 = nn.Conv2d(32, 80, 3, bias=False)
            self.norm = nn.BatchNorm2d(num_features=64)
            self.fc1 = nn.Linear(2000, 500)
            self.fc2 = nn.Linear(40 * 10, 5)
            """,
            """
            x = F.max_pool2d(F.relu(self.conv1(x)), 2)
            x = F.relu(self.norm(self.conv2(x)))
            return self.fc2(F.relu(self.fc1(x.view(x.size(0), -1))))
            """,
            "3x32x32",
            ["MOD001", "MOD001", "MOD002", "MOD003"],
        ),
        (
            """
            self.rnn = nn.LSTM(10, 32, batch_first=True)
            self.encoder = nn.TransformerEncoderLayer(64, 4, batch_first=True)
            self.norm = nn.LayerNorm(32)
            self.out = nn.Linear(in_features=32, out_features=5)
            self.last = nn.Linear(4, 2)
            """,
            "return self.last(F.gelu(self.out(self.norm(self.encoder(self.rnn(x)[0])))))",
            "10x20",
            ["MOD001", "MOD001", "MOD001"],
        ),
        (
            """
            self.up = nn.ConvTranspose2d(8, 4, 2, 2)
            self.conv = nn.Conv2d(6, 7, 3)
            self.norm2 = nn.GroupNorm(1, 5)
            """,
            "return self.norm2(self.conv(F.relu(self.up(x))))",
            "3x16x16",
            ["MOD002", "MOD002", "MOD003"],
        ),
    ],
    ids=["convolutions", "sequences", "upsampling"],
)
def test_every_wrong_number_is_found_in_one_pass_and_the_number_said_runs(
    net: Path, init: str, forward: str, shape: str, expected: list[str]
) -> None:
    write(net, init, forward)
    report = examined(input=shape)
    assert codes(report) == expected
    apply(net, report)
    assert codes(examined(input=shape)) == []


@pytest.mark.parametrize(
    ("layer", "call", "shape", "words"),
    [
        ("nn.TransformerEncoderLayer(64, 8, 64, batch_first=True)", "self.a(x)", "20x50", "d_model=50); and nhead"),
        ("nn.MultiheadAttention(64, 8, batch_first=True)", "self.a(x, x, x)[0]", "20x50", "embed_dim=50); and num_"),
        ("nn.GroupNorm(8, 32)", "self.a(x)", "30x4x4", "num_channels=30); and num_groups"),
    ],
)
def test_a_number_that_the_constructor_refuses_is_not_written(
    net: Path, layer: str, call: str, shape: str, words: str
) -> None:
    write(net, f"self.a = {layer}", f"return {call}")
    (entry,) = examined(input=shape)
    assert not isinstance(entry.finding.fix, Edits)
    assert words in entry.finding.fix.summary if entry.finding.fix else False


@pytest.mark.parametrize(
    ("init", "forward", "shape"),
    [
        ("self.n = nn.BatchNorm1d(24)", "return self.n(x{there}){back}", "12x24"),
        ("self.c = nn.Conv2d(3, 32, 3)\nself.n = nn.LayerNorm(32)", "return self.n(self.c(x){there}){back}", "3x9x9"),
    ],
)
def test_features_on_another_axis_are_moved_and_not_renumbered(net: Path, init: str, forward: str, shape: str) -> None:
    write(net, init, forward.format(there="", back=""))
    (entry,) = examined(input=shape)
    assert entry.check.code == "MOD003"
    assert entry.finding.fix is not None
    assert not isinstance(entry.finding.fix, Edits)
    there, back = re.findall(r"\.movedim\([^)]*\)", entry.finding.fix.summary)
    write(net, init, forward.format(there=there, back=back))
    assert codes(examined(input=shape)) == []


def test_the_layer_table_counts_parameters_and_multiply_adds(net: Path) -> None:
    write(
        net, "self.conv = nn.Conv2d(3, 8, 3)\nself.fc = nn.Linear(8, 10)", "return self.fc(self.conv(x).mean((2, 3)))"
    )
    report = examined(input="3x10x10")
    table = LayerTable.gather(probe(report), ModelTarget("net.py:Net", Path()))
    conv, fc = table.layers
    assert (conv.path, conv.shape_in, conv.shape_out, conv.parameters) == ("conv", (3, 10, 10), (8, 8, 8), 8 * 28)
    assert conv.madds == 8 * 8 * 8 * 27
    assert (fc.what, fc.madds, table.parameters) == ("Linear(8, 10)", 80, 8 * 28 + 90)
    head = ModelHead.gather(probe(report))
    assert (head.layer, head.width, head.path, head.line) == ("fc", 10, "net.py", 11)


def test_a_network_larger_than_the_memory_limit_is_examined_without_memory(net: Path) -> None:
    write(net, "self.a = nn.Linear(40_000, 40_000)\nself.b = nn.Linear(30_000, 2)", "return self.b(self.a(x))")
    report = examine_model("net.py:Net", input="40000", resources=Resources(memory_limit=2 << 30))
    assert codes(report) == ["MOD001"]
    assert LayerTable.gather(probe(report), ModelTarget("net.py:Net", Path())).mode == "fake"


def test_forward_that_needs_values_is_run_for_real(net: Path) -> None:
    write(net, "self.fc = nn.Linear(9, 2)", "return self.fc(x * float(x.detach().numpy().mean()))")
    report = examined(input="8")
    assert codes(report) == ["MOD001"]
    assert probe(report).forward is not None
    assert LayerTable.gather(probe(report), ModelTarget("net.py:Net", Path())).mode == "real"


def test_a_single_output_counts_no_classes(net: Path) -> None:
    write(net, "self.fc = nn.Linear(8, 1)", "return self.fc(x).squeeze(1)")
    report = examined(input="8", loss="bce_with_logits", classes=2)
    assert codes(report) == []
    with pytest.raises(Unavailable, match="single output"):
        ModelHead.gather(probe(report))


@pytest.mark.parametrize(
    ("top", "forward", "said"),
    [
        ("sys.exit('usage')", "return x", "sys.exit('usage') while it was imported"),
        ("", "os._exit(5)", "exit status 5 in forward"),
        ("", "while True: time.sleep(0.01)", "did not end within 12 s"),
        ("import ctypes", "ctypes.string_at(0)", "SIGSEGV in forward"),
    ],
    ids=["exit at import", "hard exit", "endless", "segfault"],
)
def test_a_network_that_ends_the_process_is_a_finding(net: Path, top: str, forward: str, said: str) -> None:
    write(net, "self.fc = nn.Linear(8, 1)", forward, top)
    report = examine_model("net.py:Net", input="8", resources=Resources(time_limit=12 if "while" in forward else 60))
    assert codes(report) == ["MOD005"]
    assert said in next(iter(report)).finding.message


@pytest.mark.parametrize(
    ("target", "options", "sentence"),
    [
        ("net.py:Nett", {"input": "8"}, "did you mean 'Net'"),
        ("nothing.py:Net", {"input": "8"}, "no such file"),
        ("net.py:os", {"input": "8"}, "no torch.nn.Module"),
        ("net.py:Net", {}, "--input 3x224x224"),
        ("net.py:Net", {"input": ["8", "8"]}, "2 inputs were given"),
        ("net.py:Net", {"input": "8", "loss": "cross_entrop"}, "did you mean cross_entropy"),
        ("net.py:Net", {"input": "8", "init": ["width=3"]}, "has no argument 'width'"),
        ("net.py:Net", {"input": "8", "gpu_memory": "0"}, "write a number of bytes"),
        ("net.py:Net", {"input": "8", "checkpoint": "."}, "is a folder"),
        ("net.py:Net", {"input": "8", "loss_target": "nonsense"}, "64x96:int64 (a mask)"),
    ],
)
def test_a_target_that_cannot_be_examined_is_one_sentence(
    net: Path, target: str, options: dict[str, Any], sentence: str
) -> None:
    write(net, "self.fc = nn.Linear(8, 1)", "return self.fc(x)")
    with pytest.raises(BadInput) as raised:
        examine_model(target, **options)
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_trace_shows_shapes_line_by_line(net: Path) -> None:
    write(net, "self.fc = nn.Linear(9, 1)", "y = x * 2\nreturn self.fc(y)")
    trace = probe(examined(input="8", trace=True)).trace
    assert "y = tensor [2, 8] float32" in trace
    assert "exception" in trace


def test_inputs_and_target_are_learned_from_the_first_item(net: Path) -> None:
    write(net, "self.fc = nn.Linear(8, 4)", "return self.fc(x)")
    (net.parent / "data.py").write_text("import numpy as np\ntrain_set = [(np.zeros(8, 'float32'), np.int32(1))]\n")
    report = examined(data="data.py:train_set", loss="cross_entropy")
    assert codes(report) == ["LOS002"]


def test_bad_input_of_the_request_is_raised_before_anything_runs(net: Path) -> None:
    with pytest.raises(BadInput, match=r"write FILE\.py:NAME"):
        examine_model("net.py")
