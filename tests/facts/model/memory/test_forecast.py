"""A step traced in this process: what is counted for what, what is said instead, and that nothing is left behind."""

import csv
import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  # the field's own name for it
from torch import nn

from dldoctor import MemoryPrediction, predict_memory
from dldoctor.child import UserError
from dldoctor.facts.model.inside.inputs import Spec
from dldoctor.facts.model.inside.memory import blocks, gpu_path, optimizers, replay, step
from dldoctor.facts.model.inside.memory.forecast import Ask, forecast

MIB = 1 << 20


def predicted(net: nn.Module, shape: str, batch: int | None = 8, **options: Any) -> MemoryPrediction:
    return predict_memory(net, shape, batch, **{"savings": False, **options})


def wide() -> nn.Sequential:
    return nn.Sequential(nn.Linear(1024, 1024, bias=False), nn.ReLU(), nn.Linear(1024, 1024, bias=False))


@pytest.mark.parametrize(
    ("optimizer", "times"),
    [("sgd", 0), ("momentum", 1), ("Adam", 2), ("torch.optim.AdamW", 2), ("adagrad", 1), ("amsgrad", 3), ("lion", 1),
     ("adan", 4)],
)  # fmt: skip
def test_the_optimizer_s_state_is_counted_once_for_each_trainable_weight(optimizer: str, times: int) -> None:
    found = predicted(wide(), "1024", optimizer=optimizer)
    assert found.by_category["parameters"] == 8 * MIB
    assert found.by_category["gradients"] == 8 * MIB
    assert found.by_category["optimizer"] == times * 8 * MIB
    assert sum(found.by_category.values()) == found.peak_bytes


def test_state_in_8_bits_takes_a_quarter_and_its_scales() -> None:
    assert predicted(wide(), "1024", optimizer="adamw8bit").by_category["optimizer"] == 4 * MIB + 2 * 2**21 // 256 * 4


def test_frozen_weights_have_neither_gradient_nor_state() -> None:
    net = wide()
    net[0].weight.requires_grad = False
    found = predicted(net, "1024")
    assert found.by_category["parameters"] == 8 * MIB
    assert (found.by_category["gradients"], found.by_category["optimizer"]) == (4 * MIB, 8 * MIB)


def test_tied_weights_count_once() -> None:
    net = wide()
    net[2].weight = net[0].weight
    assert predicted(net, "1024").by_category["parameters"] == 4 * MIB


def test_activations_grow_with_the_batch_and_belong_to_their_layers() -> None:
    net = nn.Sequential(nn.Linear(8, 65536), nn.GELU(), nn.Linear(65536, 2))
    found = predicted(net, "8", 32, optimizer="sgd")
    assert 16 * MIB <= found.by_category["activations"] < 16.1 * MIB  # what GELU got and what it gave
    assert [(layer.path, layer.what) for layer in found.by_layer[:2]] == [("0", "Linear(8, 65536)"), ("1", "GELU()")]
    sizes = list(found.batches.values())
    assert sizes == sorted(sizes)
    assert found.batches[32] == found.peak_bytes


def test_dropout_keeps_a_mask_of_bytes_as_on_a_gpu() -> None:
    class Dropping(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.dropout(x, 0.5, self.training)

    plain, dropping = (nn.Sequential(nn.Linear(8, 65536), last) for last in (nn.Identity(), Dropping()))
    before, after = (predicted(net, "8", 16, loss=lambda out, _: out.sum()) for net in (plain, dropping))
    assert after.by_category["activations"] - before.by_category["activations"] == MIB


@pytest.mark.parametrize("weights", [False, True])
def test_attention_keeps_no_square_matrix_unless_its_weights_are_wanted(weights: bool) -> None:
    class Attending(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(64, 4, dropout=0.1, batch_first=True)

        def forward(self, x: torch.Tensor) -> Any:
            return self.attention(x, x, x, need_weights=weights)[0]

    found = predicted(Attending(), "512x64", 8)
    square = 8 * 4 * 512 * 512 * 4
    assert (found.by_category["activations"] > square) is weights


def test_recurrent_layers_are_one_kernel_with_a_wider_range() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(16, 64, num_layers=2, batch_first=True, bidirectional=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.lstm(x)[0].mean(1)

    found = predicted(Recurrent(), "50x16")
    assert any("recurrent" in doubt for doubt in found.doubts)
    assert found.high / found.peak_bytes > 1.2


def test_autocast_halves_activations_and_computes_norms_in_float32_as_on_a_gpu() -> None:
    net = nn.Sequential(nn.Linear(8, 4096), nn.GELU(), nn.Linear(4096, 8))
    full, mixed = predicted(net, "8", 4096), predicted(net, "8", 4096, amp=True)
    assert mixed.by_category["activations"] == pytest.approx(full.by_category["activations"] / 2, rel=0.02)
    assert any("autocast" in doubt for doubt in mixed.doubts)
    half = torch.zeros(2, 4, dtype=torch.bfloat16)
    with gpu_path.autocast(torch.bfloat16):
        assert F.layer_norm(half, (4,)).dtype == torch.float32
        assert F.softmax(half, -1).dtype == torch.float32
        assert (half @ half.T).dtype == torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        assert F.layer_norm(half, (4,)).dtype == torch.bfloat16  # what was registered is gone


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(256, 1024), nn.GELU(), nn.Linear(1024, 256))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.layers(x)


def test_what_saves_memory_is_traced_and_the_network_is_as_before() -> None:
    net = nn.Sequential(*(Block() for _ in range(8)))
    found = predict_memory(net, "256", 1024, optimizer="sgd")
    ways = {saving.way: saving.peak for saving in found.savings}
    assert set(ways) == {
        "torch.autocast('cuda', torch.bfloat16)",
        "checkpointing 8 Block blocks",
        "both",
        "2 micro-batches of 512, accumulated",
    }
    assert max(ways.values()) < found.peak_bytes
    assert ways["both"] == min(ways.values())
    assert all("forward" not in vars(module) for module in net.modules())


def test_a_flat_network_is_checkpointed_in_pieces() -> None:
    net = nn.Sequential(*itertools.chain(*((nn.Linear(8, 8), nn.ReLU()) for _ in range(8))))
    found = blocks.find(net, {str(i): 100 for i in range(16)})
    assert found is not None
    assert (found.words, found.pieces) == ("the network in 4 pieces", 4)
    assert blocks.find(nn.Linear(8, 8), {"": 100}) is None


def plan(net: nn.Module, *shape: int) -> step.Plan:
    return step.Plan(net, (Spec(shape, "float32"),), None, None, optimizers.maker("adam"))


@pytest.mark.parametrize("batch", [3, 50])
def test_a_trace_of_another_batch_is_what_two_traces_said(batch: int) -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(72, 4)
    )
    what = plan(net, 3, 8, 8)
    span = replay.Span.of(step.run(what, 8).trace, step.run(what, 16).trace)
    assert span is not None
    assert span.at(batch).events == step.run(what, batch).trace.events


def test_nothing_of_the_network_or_the_process_is_changed() -> None:
    class Caching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.norm = nn.Linear(8, 8), nn.BatchNorm1d(8)
            self.seen: list[torch.Tensor] = []
            self.last: torch.Tensor | None = None

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.last = self.norm(F.dropout(self.fc(x)))
            self.seen.append(x)
            return self.last

    net = Caching().eval()
    state = {name: value.clone() for name, value in net.state_dict().items()}
    parameters, random = list(net.parameters()), torch.get_rng_state()
    forward, dropout = nn.Module.__call__, F.dropout
    predict_memory(net, "8", 4)
    assert not net.training
    assert (net.last, net.seen) == (None, [])
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert all(a is b and a.grad is None for a, b in zip(net.parameters(), parameters, strict=True))
    assert torch.equal(torch.get_rng_state(), random)
    assert (nn.Module.__call__, F.dropout) == (forward, dropout)
    assert net(torch.zeros(4, 8)).shape == (4, 8)


def lazily(forward: Callable[[nn.Module, torch.Tensor], Any]) -> nn.Module:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(8, 4)

        def forward(self, x: torch.Tensor) -> Any:
            return forward(self.fc, x)

    return Net()


@pytest.mark.parametrize(
    ("net", "said"),
    [
        (lazily(lambda fc, x: fc(x) if x.sum() > 0 else x), r"depends on values.*test_forecast\.py:\d+"),
        (lazily(lambda fc, x: fc(x[x[:, 0] > 0])), "depends on values"),
        (lazily(lambda fc, x: fc(x * float(x.numpy().mean()))), "needs values"),
        (lazily(lambda fc, x: fc(x[:, :7])), "fails at batch 8"),
        (nn.Sequential(nn.LazyLinear(4)), "lazy layers have no shapes"),
    ],
    ids=["branch", "selection", "numpy", "wrong shape", "lazy"],
)
def test_what_cannot_be_predicted_is_not(net: nn.Module, said: str) -> None:
    found = predicted(net, "8")
    assert found.peak_bytes == 0
    assert re.search(said, found.why_not)


def test_a_step_that_takes_one_batch_size_alone_is_told_for_it() -> None:
    found = predicted(lazily(lambda fc, x: fc(x.view(8, 8))), "8", 8, gpu_memory="4GB")
    assert found.fits == "yes"
    assert found.largest_batch is None
    assert list(found.batches) == [8]


@pytest.mark.parametrize(
    ("forward", "loss"),
    [
        (lambda fc, x: {"logits": fc(x), "hidden": (x,)}, "cross_entropy"),
        (lambda fc, x: (fc(x), fc(x).sum()), "the network's own"),
        (lambda fc, x: fc(x).unsqueeze(1), "mse_loss"),
        (lambda fc, x: fc(x).argmax(1), ""),
    ],
    ids=["dict", "own loss", "sequence", "no float"],
)
def test_a_loss_that_suits_the_output_stands_in(forward: Callable[..., Any], loss: str) -> None:
    found = predicted(lazily(forward), "8")
    assert (found.why_not, found.loss) == ("", loss)
    assert bool(found.doubts) is (loss == "")


def test_without_a_batch_the_largest_that_fits_is_taken() -> None:
    net = nn.Sequential(nn.Linear(8, 1 << 18), nn.ReLU(), nn.Linear(1 << 18, 2))
    found = predicted(net, "8", None, gpu_memory="2GiB", optimizer="sgd")
    assert found.fits == "yes"
    assert found.batch == found.largest_batch
    assert found.batch % 8 == 0
    larger = predicted(net, "8", found.batch + 8, gpu_memory="2GiB", optimizer="sgd")
    assert larger.fits != "yes"
    assert predicted(net, "8", 10 * found.batch, gpu_memory="2GiB", optimizer="sgd").fits == "no"


@pytest.mark.parametrize(("name", "nearest"), [("adammm", "did you mean adam"), ("whatever", "known are adadelta")])
def test_an_unknown_optimizer_is_one_sentence(name: str, nearest: str) -> None:
    with pytest.raises(UserError, match=nearest):
        optimizers.maker(name)


MEASURED = Path(__file__).parents[4] / "benchmarks" / "memory_measured.csv"


@pytest.mark.parametrize("model", ["resnet18", "resnet34", "mobilenet_v2"])
def test_predictions_are_what_was_measured(model: str) -> None:
    """Twelve runs on an A100; torchvision's resnets have the layers of timm's that were run."""
    models = pytest.importorskip("torchvision.models")
    with MEASURED.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(line for line in file if line[0] != "#") if row["model"] == model]
    assert len(rows) == 3
    net = getattr(models, model)(num_classes=int(rows[0]["classes"]))
    shape = tuple(map(int, rows[0]["input"].split("x")))
    ask = Ask(64, optimizer=rows[0]["optimizer"], context=528 * MIB, savings=False)
    found = forecast(net, (Spec(shape, "float32"),), (F.cross_entropy, "cross_entropy"), None, ask)
    batches = dict(found.batches)
    for row in rows:
        error = batches[int(row["batch"])] / (int(row["mib"]) * MIB) - 1
        assert abs(error) < (0.08 if row["batch"] == "128" else 0.025), row
