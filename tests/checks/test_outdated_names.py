"""Names that the libraries have left behind: what the table says of them is so, and what TorchFix finds is found."""

import ast
import importlib
import warnings
from typing import Any

import pytest

from dldoctor.facts.source.spelling.names import DEPRECATED, DOCUMENTED, GONE, OldName
from dldoctor.facts.source.text import SourceFile
from dldoctor.facts.source.tree import SourceTree
from dldoctor.finding import Edits, Finding
from dldoctor.plugins import load_registry

CHECKS = load_registry().checks
#: these still load; calling them raises, and says so
STUBS = {f"torch.{name}" for name in ("solve", "symeig", "eig", "lstsq", "matrix_rank", "qr", "cholesky")}

#: TorchFix 0.7: code -> a line that it is about, and the check of ours that covers it; "style" with that setting
TORCHFIX = [
    ("TOR001", "torch.solve(B, A)", "SRC080"),
    ("TOR002", "p.require_grad = False", "SRC060"),
    ("TOR003", "checkpoint(f, x)", "SRC018"),
    ("TOR004", "from torch import symeig", "SRC080"),
    ("TOR101", "torch.range(0, 3)", "SRC018"),
    ("TOR101", "torch.ger(a, b)", "SRC018"),
    ("TOR101", "torch.chain_matmul(a, b)", "SRC018"),
    ("TOR101", "torch.norm(a)", "style"),
    ("TOR102", "torch.load(path, weights_only=False)", "SRC010"),
    ("TOR103", "from functorch import vmap", "SRC018"),
    ("TOR104", "torch.utils.data._utils.collate.default_collate(rows)", "SRC018"),
    ("TOR105", "from torch.utils.data._utils.collate import default_convert", "SRC018"),
    ("TOR106", "torch.log(1 + a)", "style"),
    ("TOR107", "torch.exp(a) - 1", "style"),
    ("TOR201", "torchvision.models.resnet18(pretrained=True)", "SRC018"),
    ("TOR202", "v2.ToTensor()", "SRC018"),
    ("TOR203", "import torchvision.models as models", "style"),
    ("TOR401", "torch.utils.data.DataLoader(rows)", "style"),
]  # TOR901 is about the tests of torch itself
HEADER = (
    "import torch\nimport torchvision\nfrom torch.utils.checkpoint import checkpoint\n"
    "from torchvision.transforms import v2\n"
)


def found(text: str, code: str, **settings: Any) -> list[Finding]:
    return list(CHECKS[code].function(SourceTree((SourceFile("a.py", text),)), **settings))


def after(text: str, finding: Finding) -> str:
    assert isinstance(finding.fix, Edits)
    content = text.encode()
    for edit in sorted(finding.fix.edits, key=lambda edit: edit.start, reverse=True):
        content = content[: edit.start] + edit.text.encode() + content[edit.end :]
    ast.parse(content)
    return content.decode()


@pytest.mark.parametrize(("code", "line", "ours"), TORCHFIX, ids=[f"{row[0]}-{row[1]}" for row in TORCHFIX])
def test_what_torchfix_finds_is_found(code: str, line: str, ours: str) -> None:
    settings = {"style": True} if ours == "style" else {}
    ours = "SRC018" if ours == "style" else ours
    if ours not in CHECKS:
        pytest.skip(f"{ours} is not there yet")
    assert [finding.at.line for finding in found(HEADER + line + "\n", ours, **settings)] == [5]


def test_a_load_that_says_nothing_reads_tensors_alone_today() -> None:
    """TorchFix asks for the argument; since torch 2.6 its default is the safe one."""
    assert not found(HEADER + "torch.load(path)\n", "SRC010")


def loaded(name: str) -> bool:
    parts = name.split(".")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for count in range(len(parts), 0, -1):
            try:
                thing: Any = importlib.import_module(".".join(parts[:count]))
            except Exception:  # what fails to import is not there
                continue
            try:
                for part in parts[count:]:
                    thing = getattr(thing, part)
            except AttributeError:
                return False
            return True
    return False


@pytest.mark.parametrize("row", [*GONE.values(), *DEPRECATED.values(), *DOCUMENTED.values()], ids=lambda row: row.name)
def test_a_row_is_true_of_the_libraries_installed(row: OldName) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("torchvision")
    assert row.new or row.words
    assert loaded(row.name) == (row.name not in GONE or row.name in STUBS)
    if row.new and not row.new.endswith("()"):
        assert loaded(row.new.removeprefix("-"))


@pytest.mark.parametrize("name", sorted(STUBS))
def test_a_stub_of_a_gone_function_raises(name: str) -> None:
    torch = pytest.importorskip("torch")
    arguments = (torch.eye(2), torch.eye(2)) if name in ("torch.solve", "torch.lstsq") else (torch.eye(2),)
    with pytest.raises(RuntimeError, match="removed"):
        getattr(torch, name.removeprefix("torch."))(*arguments)


@pytest.mark.parametrize(
    ("line", "better"),
    [
        ("torch.range(1, 4)", "torch.arange(1, 5, dtype=torch.float32)"),
        ("torch.ger(torch.ones(2), torch.ones(3))", "torch.outer(torch.ones(2), torch.ones(3))"),
        ("torch.chain_matmul(torch.eye(2), torch.eye(2))", "torch.linalg.multi_dot([torch.eye(2), torch.eye(2)])"),
        ("torch.meshgrid(torch.arange(2), torch.arange(3))",
         'torch.meshgrid(torch.arange(2), torch.arange(3), indexing="ij")'),
    ],
)  # fmt: skip
def test_an_edit_computes_the_same(line: str, better: str) -> None:
    torch = pytest.importorskip("torch")
    text = HEADER + f"y = {line}\n"
    (finding,) = found(text, "SRC018")
    assert after(text, finding).endswith(f"y = {better}\n")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        old, new = eval(line), eval(better)  # the lines above
    torch.testing.assert_close(old, new, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("text", "better"),
    [
        ("from numpy import NaN, zeros\nx = NaN\n", "from numpy import nan, zeros\nx = nan\n"),
        ("from numpy import NaN\n__all__ = ['NaN']\n", "from numpy import nan as NaN\n__all__ = ['NaN']\n"),
        ("import numpy as np\nx = np.NINF ** 2\n", "import numpy as np\nx = (-np.inf) ** 2\n"),
        ("import torchvision.ops.misc as m\nx = m.Conv2d(1, 1, 1)\n",
         "import torch\nimport torchvision.ops.misc as m\nx = torch.nn.Conv2d(1, 1, 1)\n"),
        ("from torch.optim.lr_scheduler import StepLR\nx = StepLR(o, 3, verbose=True)\n",
         "from torch.optim.lr_scheduler import StepLR\nx = StepLR(o, 3)\n"),
    ],
)  # fmt: skip
def test_an_edit_keeps_the_names_of_the_file(text: str, better: str) -> None:
    (finding,) = found(text, "SRC080")
    assert after(text, finding) == better


def test_pretrained_weights_are_those_that_the_flag_meant() -> None:
    models = pytest.importorskip("torchvision.models")
    for call, weights in (
        ("resnet18(pretrained=True)", 'resnet18(weights="IMAGENET1K_V1")'),
        ("detection.fcos_resnet50_fpn(pretrained=True)", 'detection.fcos_resnet50_fpn(weights="COCO_V1")'),
        ("segmentation.fcn_resnet50(True)", 'segmentation.fcn_resnet50(weights="COCO_WITH_VOC_LABELS_V1")'),
        ("video.r3d_18(pretrained=True)", 'video.r3d_18(weights="KINETICS400_V1")'),
        ("optical_flow.raft_large(pretrained=True)", 'optical_flow.raft_large(weights="C_T_SKHT_V2")'),
    ):
        text = f"from torchvision import models\nnet = models.{call}\n"
        (finding,) = found(text, "SRC018")
        assert after(text, finding).endswith(f"models.{weights}\n")
        assert models.get_model_weights(call.partition("(")[0].rpartition(".")[2])[weights.split('"')[1]]


@pytest.mark.parametrize(
    "text",
    [
        "try:\n    x = np.float(3)\nexcept AttributeError:\n    x = 3.0\n",
        "try:\n    from torch._six import inf\nexcept ImportError:\n    inf = float('inf')\n",
        "x = np.float(3) if hasattr(np, 'float') else 3.0\n",
        "OLD = Version(np.__version__) < Version('1.20')\nif OLD:\n    x = np.float(3)\n",
        "def f():\n    if np.__version__ >= '1.20':\n        return float(3)\n    return np.float(3)\n",
        "np.float = float\nx = np.float(3)\n",
        "setattr(np, 'float', float)\nx = np.float(3)\n",
        "with pytest.raises(AttributeError):\n    np.float(3)\n",
        "def f(np):\n    return np.float(3)\n",
        "class np:\n    float = 3\nx = np.float\n",
    ],
)
def test_code_for_several_versions_is_left_alone(text: str) -> None:
    header = "" if "class np" in text or "def f(np)" in text else "import numpy as np\n"
    assert not found(header + text, "SRC080")


def test_a_question_of_the_machine_is_none_of_the_version() -> None:
    text = "import numpy as np\nimport torch\nif torch.cuda.is_available():\n    x = np.float(3)\n"
    assert [finding.at.line for finding in found(text, "SRC080")] == [4]


def test_an_edit_adds_the_import_that_it_needs() -> None:
    text = (
        '"""A script."""\nfrom __future__ import annotations\nimport torch.cuda.amp as amp\nscaler = amp.GradScaler()\n'
    )
    (finding,) = found(text, "SRC018")
    assert after(text, finding) == text.replace("import torch.cuda", "import torch\nimport torch.cuda").replace(
        "amp.GradScaler()", 'torch.amp.GradScaler("cuda")'
    )
