"""Checks of the structure of networks on facts written by hand."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from dldoctor.checks.model.gradients import (
    frozen_batchnorm_updates,
    frozen_parameters,
    gradient_blocked,
    unused_parameters,
)
from dldoctor.checks.model.registration import needs_gpu, shared_module, unregistered_tensor
from dldoctor.checks.model.widths import misaligned_channels, oversized_linear
from dldoctor.checks.model.wiring import (
    batch_dimension_changed,
    bias_before_batchnorm,
    checkerboard_upsampling,
    missing_nonlinearity,
    norm_after_activation,
    relu_on_logits,
    reused_stateful_module,
)

from dldoctor import (
    AmpAsked,
    ClassesAsked,
    Finding,
    Gradients,
    LossProbe,
    Registered,
    Severity,
    TargetSpec,
    Widths,
    Wiring,
)
from dldoctor.facts.model.records.forward import Place
from dldoctor.facts.model.records.graph import (
    BatchAxis,
    FlattenedMap,
    Frozen,
    LinearPair,
    Norm,
    ReluEnd,
    Reuse,
    SharedModule,
    TensorAttribute,
    Untrained,
    Upsampling,
    Width,
)
from dldoctor.facts.model.records.loss import LossCall, LossRun

LINE = Place("net.py", 9, "        self.fc = nn.Linear(64, 5)", 19, 35)
WIRING = Wiring((), (), (), (), (), None)
REGISTERED = Registered(1000, 1000, (), (), (), ())


def severities(findings: Sequence[Finding], default: Severity) -> list[Severity]:
    return [finding.severity or default for finding in findings]


def loss_of(function: str) -> LossProbe:
    call = LossCall(function, (2, 5), "float32", (2,), "int64", "relu", True, "fc", None)
    return LossProbe(LossRun(function, False, (call,), True, 2, "", None, 1.6))


# --- gradients ---


def blocked(**changes: Any) -> Untrained:
    group = Untrained(
        "blocked", "encoder", "Encoder", ("encoder.a.weight",), 4, 500, LINE, "no_grad", Place("net.py", 20, "with")
    )
    return replace(group, **changes)


@pytest.mark.parametrize(
    ("meant", "expected"),
    [
        ("", [Severity.ERROR]),
        ("library", [Severity.INFO]),
        ("eval", [Severity.INFO]),
        ("loaded", [Severity.INFO]),
        ("twin", []),
        ("named", []),
    ],
)
def test_a_blocked_gradient_is_an_error_unless_something_shows_that_it_is_meant(
    meant: str, expected: list[Severity]
) -> None:
    found = list(gradient_blocked(Gradients(100, (blocked(meant=meant),))))
    assert severities(found, Severity.ERROR) == expected
    assert all((finding.at.path, finding.at.line) == ("net.py", 20) for finding in found)


def test_a_network_of_which_nothing_trains_is_an_error_whatever_is_meant() -> None:
    (finding,) = gradient_blocked(Gradients(0, (blocked(meant="eval", holder=""),)))
    assert finding.severity is Severity.ERROR
    assert "all 4 parameters of the network" in finding.message
    assert finding.fix is not None
    assert "net.requires_grad_(False)" in finding.fix.summary


@pytest.mark.parametrize(
    ("cut", "word"),
    [
        ("no_grad", "out of torch.no_grad()"),
        ("checkpoint", "use_reentrant=False"),
        ("detach", "straight through"),
        ("numpy", "torch's own operations"),
        ("argmax", "gumbel_softmax"),
        ("gt", "gt has no gradient"),
    ],
)
def test_the_way_out_of_a_blocked_gradient_depends_on_what_cuts_it(cut: str, word: str) -> None:
    (finding,) = gradient_blocked(Gradients(100, (blocked(cut=cut),)))
    assert finding.fix is not None
    assert word in finding.fix.summary


def test_blocked_parameters_are_not_said_to_be_unused() -> None:
    assert not list(unused_parameters(Gradients(100, (blocked(),))))
    states = [blocked(state="unused", what="Parameter"), blocked(state="dropped")]
    never, nothing = unused_parameters(Gradients(100, tuple(states)))
    assert "forward never uses" in never.message
    assert never.fix is not None
    assert never.fix.summary.startswith("use encoder in forward")
    assert "no output depends on" in nothing.message


def frozen(layer: str, weights: int, moving: int = 0, *, twin: bool = False) -> Frozen:
    return Frozen(layer, "Sequential", weights, moving, f"{layer}.norm" if moving else "", moving, LINE, twin)


@pytest.mark.parametrize(
    ("trainable", "parts", "expected"),
    [
        (1000, (), []),
        (600, (frozen("stem", 400),), []),
        (100, (frozen("backbone", 900),), [Severity.INFO]),
        (500, (frozen("teacher", 500, twin=True),), []),
        (0, (), [Severity.ERROR]),
    ],
    ids=["all train", "a small part", "most", "a teacher", "nothing trains"],
)
def test_frozen_weights_are_told_and_nothing_to_train_is_an_error(
    trainable: int, parts: tuple[Frozen, ...], expected: list[Severity]
) -> None:
    found = list(frozen_parameters(replace(REGISTERED, trainable=trainable, frozen=parts)))
    assert severities(found, Severity.INFO) == expected


def test_a_network_without_parameters_is_not_called_frozen() -> None:
    assert not list(frozen_parameters(Registered(0, 0, (), (), (), ())))


def test_frozen_norms_of_one_backbone_are_one_finding_with_the_method_to_write() -> None:
    parts = (frozen("net.layer1", 10, 4), frozen("net.layer2", 10, 5), frozen("net.conv", 10))
    (finding,) = frozen_batchnorm_updates(replace(REGISTERED, frozen=parts))
    assert finding.message.startswith("9 frozen BatchNorm layers of net move")
    assert "self.net.layer2.eval()" in str(finding.show)


def test_the_norms_of_a_momentum_encoder_may_move() -> None:
    assert not list(frozen_batchnorm_updates(replace(REGISTERED, frozen=(frozen("key", 10, 4, twin=True),))))


# --- registration ---


def attribute(**changes: Any) -> TensorAttribute:
    tensor = TensorAttribute("norm", "mean", "Norm", (3,), "float32", False, False, True, "sub", LINE, LINE)
    return replace(tensor, **changes)


@pytest.mark.parametrize(
    ("tensor", "expected", "word"),
    [
        (attribute(), [Severity.WARNING], "self.register_buffer('mean', ...)"),
        (attribute(mixed=False), [], ""),
        (attribute(requires_grad=True, mixed=False), [Severity.ERROR], "self.mean = nn.Parameter(...)"),
        (attribute(requires_grad=True, computed=True), [Severity.ERROR], "wrap last"),
    ],
    ids=["constant", "moved in forward", "weight", "product"],
)
def test_a_plain_tensor_is_wrong_when_it_is_learned_or_left_behind(
    tensor: TensorAttribute, expected: list[Severity], word: str
) -> None:
    found = list(unregistered_tensor(replace(REGISTERED, tensors=(tensor,))))
    assert severities(found, Severity.ERROR) == expected
    assert all(finding.fix is not None and word in finding.fix.summary for finding in found)


def test_shared_entries_are_named_with_what_makes_them_separate() -> None:
    shared = SharedModule("layers", "ModuleList", ("0", "1", "2"), "Linear(64, 64)", 4160, LINE)
    (finding,) = shared_module(replace(REGISTERED, shared=(shared,)))
    assert finding.message == "the entries 0, 1 and 2 of layers are one Linear, which they share"
    assert finding.fix is not None
    assert "nn.ModuleList([Linear(...) for _ in range(3)])" in finding.fix.summary


def test_each_line_that_names_a_gpu_is_told() -> None:
    found = list(needs_gpu(replace(REGISTERED, gpu=(LINE, Place("net.py", 30, "x.cuda()")))))
    assert [finding.at.line for finding in found] == [9, 30]


# --- wiring ---

RELU = ReluEnd("head.1", LINE, "head.0", "Linear(64, 5)", 5)


@pytest.mark.parametrize(
    ("loss", "classes", "count"),
    [
        (loss_of("cross_entropy"), None, 1),
        (loss_of("binary_cross_entropy_with_logits"), None, 1),
        (loss_of("mse_loss"), None, 0),
        (loss_of("mse_loss"), ClassesAsked(5), 0),
        (None, ClassesAsked(5), 1),
        (None, ClassesAsked(7), 0),
        (None, None, 0),
    ],
)
def test_a_relu_at_the_end_is_wrong_for_logits_alone(
    loss: LossProbe | None, classes: ClassesAsked | None, count: int
) -> None:
    assert len(list(relu_on_logits(replace(WIRING, relu_end=RELU), loss, classes))) == count


NORM = Norm("norm", "BatchNorm2d(16)", "conv", "Conv2d(3, 16, 3)", LINE, 16)


def test_a_bias_before_a_norm_is_wasted_unless_an_activation_stands_between() -> None:
    (finding,) = bias_before_batchnorm(replace(WIRING, norms=(NORM, replace(NORM, bias=0))))
    assert finding.fix is not None
    assert finding.fix.summary == "nn.Conv2d(3, 16, 3, ..., bias=False)"
    behind = replace(WIRING, norms=(replace(NORM, activation="relu", activation_made=LINE),))
    assert not list(bias_before_batchnorm(behind))
    (order,) = norm_after_activation(behind)
    assert order.message == "relu stands between conv and norm"
    assert not list(norm_after_activation(replace(WIRING, norms=(NORM,))))


@pytest.mark.parametrize(
    ("kernel", "stride", "word"),
    [
        ((4, 4), (2, 2), ""),
        ((2, 2), (2, 2), ""),
        ((3, 3), (1, 1), ""),
        ((16,), (8,), ""),
        ((3, 3), (2, 2), "kernel_size=4, stride=2, padding=1, output_padding=0"),
        ((5, 5), (2, 2), "kernel_size=6, stride=2, padding=2, output_padding=0"),
        ((1, 4), (1, 3), "a kernel_size that 3 divides"),
    ],
)
def test_a_kernel_that_the_stride_does_not_divide_overlaps_unevenly(
    kernel: tuple[int, ...], stride: tuple[int, ...], word: str
) -> None:
    up = Upsampling("up", "ConvTranspose2d(16, 8, 3)", kernel, stride, LINE, None)
    found = list(checkerboard_upsampling(replace(WIRING, upsamplings=(up,))))
    assert len(found) == bool(word)
    assert all(finding.fix is not None and word in finding.fix.summary for finding in found)


AXIS = BatchAxis("", (8, 12), (8, 5), "view", LINE, (2, 32, 8, 8), (8, 512), True)


@pytest.mark.parametrize(
    ("axis", "target", "count"),
    [
        (AXIS, None, 1),
        (replace(AXIS, through=False), None, 0),
        (replace(AXIS, through=False), TargetSpec((), "int64"), 1),
        (replace(AXIS, through=False), TargetSpec((4,), "int64"), 0),
        (replace(AXIS, rows=(8, 8)), None, 0),
        (replace(AXIS, rows=(1, 1)), None, 0),
    ],
    ids=["through an axis", "rows of tokens", "one label each", "a label per token", "no batch", "one row"],
)
def test_rows_that_are_parts_of_samples_are_wrong(axis: BatchAxis, target: TargetSpec | None, count: int) -> None:
    found = list(batch_dimension_changed(replace(WIRING, batch_axes=(axis,)), target, loss_of("cross_entropy")))
    assert len(found) == count
    assert all("8 rows of 2 samples: each has 2048 values, and a row takes 512" in f.message for f in found)


@pytest.mark.parametrize(
    ("widths", "count"), [((128, 64, 5), 1), ((64, 64, 64), 1), ((64, 8, 64), 0), ((784, 16, 784), 0)]
)
def test_a_pair_of_linear_layers_is_wrong_unless_it_is_a_factorisation(
    widths: tuple[int, int, int], count: int
) -> None:
    width_in, width, width_out = widths
    pair = LinearPair(
        "a", f"Linear({width_in}, {width})", "b", f"Linear({width}, {width_out})", LINE, ("dropout",), widths
    )
    found = list(missing_nonlinearity(replace(WIRING, pairs=(pair,))))
    assert len(found) == count
    assert all(f.fix is not None and f"Linear({width_in}, {width_out}) alone" in f.fix.summary for f in found)


def test_a_norm_behind_different_layers_is_a_warning_and_a_shared_encoder_is_told() -> None:
    behind = Reuse("norm", "BatchNorm2d(16)", 1, 2, ("conv1", "conv2"), LINE)
    shared = Reuse("encoder", "Encoder", 20, 2, (), LINE)
    found = list(reused_stateful_module(replace(WIRING, reused=(behind, shared))))
    assert severities(found, Severity.WARNING) == [Severity.WARNING, Severity.INFO]


# --- widths ---


@pytest.mark.parametrize(
    ("sides", "out", "total", "count"),
    [
        ((80, 54, 54), 500, 120_000_000, 1),
        ((512, 7, 7), 4096, 138_000_000, 1),
        ((512, 7, 7), 4096, 300_000_000, 0),
        ((64, 12, 12), 128, 1_200_000, 0),
    ],
    ids=["large", "VGG", "not most", "a small network"],
)
def test_a_linear_is_oversized_when_it_is_large_and_holds_most(
    sides: tuple[int, ...], out: int, total: int, count: int
) -> None:
    values = sides[0] * sides[1] * sides[2]
    layer = FlattenedMap("fc", f"Linear({values}, {out})", sides, values * out, out, LINE, None)
    found = list(oversized_linear(Widths((layer,), (), total, 1)))
    assert len(found) == count
    for finding in found:
        pooled = sides[1] // 4
        assert finding.fix is not None
        assert f"nn.AdaptiveAvgPool2d({pooled})" in finding.fix.summary
        assert f"nn.Linear({sides[0] * pooled * pooled}, {out})" in finding.fix.summary


@pytest.mark.parametrize(
    ("amp", "dtype", "madds", "count"),
    [
        (AmpAsked("bfloat16"), "float32", 500, 1),
        (None, "float32", 500, 0),
        (None, "float16", 500, 1),
        (AmpAsked("bfloat16"), "float32", 50, 0),
    ],
    ids=["autocast", "float32", "half", "a small share"],
)
def test_odd_widths_matter_in_half_precision_and_in_a_large_share(
    amp: AmpAsked | None, dtype: str, madds: int, count: int
) -> None:
    layer = Width("conv", "Conv2d(50, 64, 3)", 50, 64, madds, dtype, LINE)
    found = list(misaligned_channels(Widths((), (layer,), 1, 1000), amp))
    assert len(found) == count
    assert all(finding.fix is not None and "56 for 50" in finding.fix.summary for finding in found)
