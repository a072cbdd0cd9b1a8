"""What is shown of a step's memory, and the same from Python through a child process."""

import json
from pathlib import Path
from textwrap import dedent

import pytest

from dldoctor import BadInput, MemoryPlan, examine_model, predict_memory
from dldoctor.facts.model.records.memory import LayerMemory, Saving, StepMemory
from dldoctor.report import Look
from dldoctor.report.exhibits import draw

MIB = 1 << 20
STEP = StepMemory(
    batch=64,
    peak=7490 * MIB,
    low=6935 * MIB,
    high=7940 * MIB,
    by_category=(("parameters", 97 * MIB), ("buffers", 900), ("activations", 5206 * MIB), ("CUDA context", 550 * MIB)),
    by_layer=(LayerMemory("encoder.layers.layer1.2.conv3", "Conv2d(64, 256, 1)", 196 * MIB),),
    batches=((32, 4128 * MIB), (56, 6636 * MIB), (64, 7490 * MIB)),
    card=7630 * MIB,
    fits="perhaps",
    largest_batch=56,
    squeezed_batch=80,
    savings=(Saving("torch.autocast('cuda', torch.bfloat16)", 4282 * MIB),),
    loss="cross_entropy",
    loss_assumed=True,
    optimizer="adam",
    doubts=("cuDNN chooses its workspaces itself",),
)


def shown(step: StepMemory, width: int) -> str:
    look = Look(width=width)
    return "\n".join(line.plain.rstrip() for exhibit in MemoryPlan(step).drawn(False) for line in draw(exhibit, look))


def test_the_screen_at_80_columns() -> None:
    assert shown(STEP, 80) == (
        "GPU memory of a training step, batch 64: 7.3 GiB, from 6.8 GiB to 7.8 GiB,\n"
        "  may or may not fit in 7.5 GiB\n"
        "parameters    ▍ 97 MiB\n"
        "activations   ████████████████████ 5,206 MiB\n"
        "CUDA context  ██▏ 550 MiB\n"
        "\nLayers that hold most of it\n"
        "layer                          type                MiB\n"
        "encoder.layers.layer1.2.conv3  Conv2d(64, 256, 1)  196\n"
        "\n"
        "batch    MiB\n"
        "   32  4,128\n"
        "   56  6,636  the largest that surely fits\n"
        "   64  7,490\n"
        "\n"
        "instead, at batch 64                      MiB\n"
        "torch.autocast('cuda', torch.bfloat16)  4,282  -43%\n"
        "\n"
        "- cross_entropy stood in for the loss, --loss names another\n"
        "- up to about batch 80 may get through,\n"
        "  slowed down by an allocator that must release its cache\n"
        "- cuDNN chooses its workspaces itself"
    )


@pytest.mark.parametrize("width", [40, 60])
def test_a_narrow_screen_is_kept_to(width: int) -> None:
    assert max(map(len, shown(STEP, width).splitlines())) <= width
    assert "activations" in shown(STEP, width)


def test_what_cannot_be_predicted_is_said_and_nothing_else() -> None:
    text = shown(StepMemory(why_not="forward runs in evaluation mode alone"), 80)
    assert text == "The memory of a training step can't be predicted:\n  forward runs in evaluation mode alone"


def test_a_report_in_json_holds_it_all() -> None:
    assert json.loads(json.dumps(MemoryPlan(STEP).reported()))["by_layer"][0]["bytes"] == 196 * MIB


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    text = """
        import torch
        from torch import nn
        class Net(nn.Module):
            def __init__(self, width=512):
                super().__init__()
                self.a, self.b = nn.LazyLinear(width), nn.Linear(width, 10)
            def forward(self, x):
                x = self.a(x.cuda())
                if x.shape[1] == 100 and x.mean() > 0:
                    x = x * 2
                return self.b(x)
        def mine(output, target):
            return (output - target).pow(2).mean()
        """
    (tmp_path / "net.py").write_text(dedent(text))
    return tmp_path


def test_a_name_is_predicted_in_a_child_lazy_layers_given_their_shapes(net: Path) -> None:
    found = predict_memory("net.py:Net", "1024", 16, "net.py:mine", "sgd", gpu_memory="1GB", target="10", savings=False)
    assert (found.why_not, found.fits, found.loss) == ("", "yes", "mine")
    assert found.by_category["parameters"] == 4 * (1024 * 512 + 512 + 512 * 10 + 10)
    assert json.loads(found.to_json())["largest_batch"] % 8 == 0


def test_options_of_the_command_reach_the_prediction(net: Path) -> None:
    report = examine_model(
        "net.py:Net", input="1024", batch=16, memory=True, amp=True, cudnn_benchmark=True, optimizer="adamw",
        select=["MEM"],
    )  # fmt: skip
    assert not list(report)
    (plan,) = (fact for fact in report.outcome.facts if isinstance(fact, MemoryPlan))
    assert (plan.step.amp, plan.step.benchmark, plan.step.optimizer, plan.step.batch) == ("bfloat16", True, "adamw", 16)
    assert not plan.step.batch_assumed
    assert plan.step.loss_assumed
    assert any("autocast" in doubt for doubt in plan.step.doubts)


def test_a_branch_on_a_value_is_not_predicted_and_says_where(net: Path) -> None:
    found = predict_memory("net.py:Net", "1024", 16, init=["width=100"])
    assert "net.py:10" in found.why_not


@pytest.mark.parametrize(
    ("model", "options", "said"),
    [
        ("net.py", {"input": "8"}, r"write FILE\.py:NAME"),
        ("net.py:Nett", {"input": "8"}, "did you mean 'Net'"),
        (3, {"input": "8"}, "model: is a int"),
        ("net.py:Net", {"input": "8", "batch": 0}, "--batch 0"),
        ("net.py:Net", {"input": "8", "gpu_memory": "much"}, "--gpu-memory much"),
        ("net.py:Net", {"input": "8", "amp": "float8"}, "float8"),
        ("net.py:Net", {"input": "8", "loss": print}, "a function goes with a Module"),
        ("net.py:Net", {"input": "8", "context": "x"}, "context x"),
        ("net.py:Net", {"input": "8", "optimizer": "adm"}, "did you mean adam"),
    ],
)
def test_bad_input_is_one_sentence(net: Path, model: object, options: dict[str, object], said: str) -> None:
    with pytest.raises(BadInput, match=said) as raised:
        predict_memory(model, **options)  # type: ignore[arg-type]  # wrong on purpose
    assert "\n" not in str(raised.value)
