"""Checks of what arrives at the loss, on calls written by hand."""

from dataclasses import replace
from typing import Any

import pytest
from dldoctor.checks.losses.inputs import (
    class_weight_mismatch,
    one_class_softmax,
    out_of_range_bce_input,
    silent_broadcast,
    softmax_before_cross_entropy,
)
from dldoctor.checks.losses.targets import (
    float64_target,
    one_hot_target,
    target_out_of_range,
    target_requires_grad,
    wrong_target_dtype,
    wrong_target_shape,
)
from dldoctor.checks.losses.values import implausible_initial_loss, mismatched_regression_scale, non_scalar_loss
from dldoctor.checks.model.forward import forward_fails

from dldoctor import Finding, ForwardEnd, LossProbe, Place, Severity, WatchedCalls
from dldoctor.facts.model.records.forward import Place as Line
from dldoctor.facts.model.records.loss import Broadcast, LossCall, LossRun
from dldoctor.facts.model.records.watched import SoftmaxCall, Watched
from dldoctor.plugins import load_registry

LINE = Line("losses.py", 5, "    return F.cross_entropy(output, target)")
CALL = LossCall("cross_entropy", (2, 5), "float32", (2,), "int64", "linear", True, "fc", LINE, LINE)
RUN = LossRun("losses.py:criterion", True, (CALL,), True, 2, "", None, 1.6, result=())
RAISED = "RuntimeError: it raised"


def probe(error: str = "", **changes: Any) -> LossProbe:
    return LossProbe(replace(RUN, calls=(replace(CALL, **changes),), error=error))


def messages(found: Any) -> list[str]:
    return [finding.message for finding in found]


def advice(finding: Finding) -> str:
    return finding.fix.summary if finding.fix else ""


@pytest.mark.parametrize(
    ("span", "ignore", "advised"),
    [
        ((1, 5), -100, "target - 1"),
        ((0, 7), -100, "make the last layer 8 wide"),
        ((0, 255), -100, "ignore_index=255"),
        ((-1, 4), -100, "ignore_index=-1"),
        ((0, 4), -100, ""),
    ],
)
def test_a_class_index_outside_the_outputs_is_found_with_what_it_probably_is(
    span: tuple[float, float], ignore: int, advised: str
) -> None:
    found = list(target_out_of_range(probe(target_range=span, ignore_index=ignore)))
    assert [advised in advice(finding) for finding in found] == [True] * bool(advised)


def test_binary_targets_of_a_mask_in_greys_are_to_be_divided() -> None:
    call = {"function": "binary_cross_entropy_with_logits", "target_shape": (2, 5), "target_dtype": "float32"}
    (finding,) = target_out_of_range(probe(target_range=(0, 255), **call))
    assert advice(finding) == "target / 255"
    assert not list(target_out_of_range(probe(target_range=(0, 1), **call)))


def test_targets_that_were_made_up_have_no_range() -> None:
    assert not list(target_out_of_range(probe()))


@pytest.mark.parametrize(
    ("function", "output", "target", "raised", "speaks"),
    [
        ("mse_loss", (2, 1), (2,), False, Severity.ERROR),
        ("l1_loss", (2,), (2, 1), False, Severity.ERROR),
        ("mse_loss", (2, 1, 8, 8), (2, 8, 8), False, Severity.ERROR),
        ("smooth_l1_loss", (2, 1), (2, 4), False, Severity.WARNING),
        ("mse_loss", (2, 4), (2, 1), False, None),
        ("mse_loss", (2, 1, 4), (1, 2, 4), False, None),
        ("mse_loss", (2, 4), (2, 4), False, None),
        ("cross_entropy", (2, 1), (2,), False, None),
    ],
)
def test_a_broadcast_is_one_when_both_sides_grow(
    function: str, output: tuple[int, ...], target: tuple[int, ...], raised: bool, speaks: Severity | None
) -> None:
    call = {"function": function, "input_shape": output, "target_shape": target, "target_from": "told"}
    found = list(silent_broadcast(probe(RAISED * raised, **call)))
    assert [finding.severity for finding in found] == [speaks] * (speaks is not None)


def test_a_difference_of_your_own_is_found_at_its_line() -> None:
    pair = Broadcast("sub", (2, 1), (2,), (2, 2), Line("losses.py", 9))
    (finding,) = silent_broadcast(LossProbe(replace(RUN, calls=(), broadcasts=(pair,))))
    assert finding.at == Place("losses.py", 9)
    assert finding.message == "[B, 1] - [B] gives [B, B]: every output against every target"


@pytest.mark.parametrize(
    ("changes", "count"),
    [
        ({"weight": (3,)}, 1),
        ({"weight": (5,)}, 0),
        ({"weight": None}, 0),
        ({"function": "binary_cross_entropy_with_logits", "pos_weight": (3,)}, 1),
        ({"function": "binary_cross_entropy_with_logits", "pos_weight": (1,)}, 0),
        ({"function": "binary_cross_entropy_with_logits", "input_shape": (2, 1), "pos_weight": (5,)}, 1),
        ({"function": "binary_cross_entropy_with_logits", "input_shape": (2, 5, 8, 8), "pos_weight": (5, 1, 1)}, 0),
        ({"function": "binary_cross_entropy_with_logits", "input_shape": (2, 5, 8, 8), "pos_weight": (5,)}, 1),
    ],
)
def test_weights_are_one_per_class(changes: dict[str, Any], count: int) -> None:
    assert len(list(class_weight_mismatch(probe(**changes)))) == count


@pytest.mark.parametrize(
    ("changes", "count"),
    [
        ({"input_range": (-2.0, 3.0)}, 1),
        ({"input_range": (0.0, 1.0)}, 0),
        ({"input_range": (0.1, 0.9), "input_is": "linear"}, 0),
        ({"input_is": "tanh"}, 1),
        ({"input_is": "sigmoid"}, 0),
        ({"input_is": ""}, 0),
    ],
)
def test_binary_cross_entropy_takes_what_was_measured_or_else_what_is_known(
    changes: dict[str, Any], count: int
) -> None:
    call = {"function": "binary_cross_entropy", **changes}
    assert len(list(out_of_range_bce_input(probe(**call)))) == count


@pytest.mark.parametrize(
    ("function", "origin", "error", "severity"),
    [
        ("cross_entropy", "output", "", Severity.WARNING),
        ("cross_entropy", "", "", None),
        ("mse_loss", "output", "", None),
        ("mse_loss", "told", "", Severity.ERROR),
        ("soft_margin_loss", "output", "RuntimeError: & not differentiable with respect to argument 'target'",
         Severity.ERROR),
    ],
)  # fmt: skip
def test_a_target_with_a_gradient_is_told_from_two_outputs_that_are_pulled_together(
    function: str, origin: str, error: str, severity: Severity | None
) -> None:
    call = {"function": function, "target_requires_grad": True, "target_from": origin}
    found = [finding.severity for finding in target_requires_grad(probe(error, **call))]
    assert found == [severity] * (severity is not None)


@pytest.mark.parametrize(
    ("changes", "speakers"),
    [
        ({"target_shape": (2, 5)}, ["LOS011"]),
        ({"target_shape": (2, 1)}, ["LOS001"]),
        ({"target_dtype": "int32"}, ["LOS002"]),
        ({"target_dtype": "float64"}, ["LOS002"]),
        ({"function": "binary_cross_entropy", "target_shape": (2, 5), "target_dtype": "float64"},
         ["LOS010"]),
        ({"function": "huber_loss", "target_shape": (2, 5)}, ["LOS002"]),
        ({"function": "mse_loss", "target_shape": (2, 4), "target_dtype": "float32"}, ["LOS001"]),
        ({"function": "mse_loss", "input_shape": (2, 1), "target_dtype": "float32"}, []),
    ],
)  # fmt: skip
def test_one_code_speaks_for_a_call_that_raised(changes: dict[str, Any], speakers: list[str]) -> None:
    checks = {
        "LOS001": wrong_target_shape,
        "LOS002": wrong_target_dtype,
        "LOS010": float64_target,
        "LOS011": one_hot_target,
    }
    registered = load_registry().checks
    spoken = {code for code, check in checks.items() if list(check(probe(RAISED, **changes)))}
    assert speakers == sorted(code for code in spoken if not spoken & set(registered[code].unless))


def test_what_raised_elsewhere_is_no_fault_of_the_last_call() -> None:
    run = replace(RUN, calls=(replace(CALL, target_shape=(2, 1)),), error=RAISED, raised_in="elsewhere")
    assert not list(wrong_target_shape(LossProbe(run)))


@pytest.mark.parametrize(("chance", "found"), [(1.7, 0), (4.0, 0), (43.3, 1), (float("inf"), 0), (None, 0)])
def test_a_first_loss_is_held_against_guessing(chance: float | None, found: int) -> None:
    spoken = messages(implausible_initial_loss(probe(chance=chance)))
    assert spoken == ["the first loss is 43.3; guessing among 5 classes gives 1.609"] * found


@pytest.mark.parametrize(
    ("result", "reduction", "severity"),
    [((), "mean", None), ((1,), "mean", None), ((2,), "mean", Severity.ERROR), ((2,), "none", Severity.WARNING),
     (None, "none", None)],
)  # fmt: skip
def test_a_loss_is_one_number(result: tuple[int, ...] | None, reduction: str, severity: Severity | None) -> None:
    run = replace(RUN, calls=(replace(CALL, reduction=reduction),), result=result)
    assert [f.severity for f in non_scalar_loss(LossProbe(run))] == [severity] * (severity is not None)


@pytest.mark.parametrize(
    ("end", "span", "origin", "found"),
    [("sigmoid", (0.0, 224.0), "told", 1), ("tanh", (-90.0, 90.0), "told", 1), ("linear", (0.0, 224.0), "told", 0),
     ("sigmoid", (0.0, 1.0), "told", 0), ("sigmoid", (0.0, 5.0), "told", 0), ("sigmoid", (0.0, 224.0), "", 0)],
)  # fmt: skip
def test_pixels_are_out_of_a_sigmoids_reach(end: str, span: tuple[float, float], origin: str, found: int) -> None:
    call = {"function": "smooth_l1_loss", "input_is": end, "target_range": span, "target_from": origin}
    assert len(list(mismatched_regression_scale(probe(**call)))) == found


def test_a_softmax_of_one_output_is_found_with_and_without_a_loss() -> None:
    end = SoftmaxCall("softmax", "", Line("net.py", 9), (2, 1), 1, True, "linear", is_output=True)
    pooled = replace(end, is_output=False)
    assert len(list(one_class_softmax(probe(input_shape=(2, 1)), None))) == 1
    assert len(list(one_class_softmax(None, WatchedCalls(Watched((end,)), True)))) == 1
    assert not list(one_class_softmax(None, WatchedCalls(Watched((pooled,)), True)))
    assert not list(one_class_softmax(probe(), None))


def test_probabilities_are_no_logits_and_logits_no_log_probabilities() -> None:
    assert messages(softmax_before_cross_entropy(probe(input_is="softmax", in_model=False))) == [
        "cross_entropy gets the output of a softmax and applies its own"
    ]
    assert list(softmax_before_cross_entropy(probe(function="kl_div", input_is="linear")))
    assert not list(softmax_before_cross_entropy(probe(function="kl_div", input_is="log_softmax")))


def test_a_loss_of_ones_own_that_raises_is_told_at_its_line() -> None:
    whole = ForwardEnd("loss", "done", "", (), "", None, ())
    raising = replace(RUN, calls=(), error="AttributeError: no 'nosuch'", raised_in="elsewhere", place=LINE)
    (finding,) = forward_fails(whole, LossProbe(raising))
    assert finding.severity is Severity.WARNING
    assert (finding.at.path, finding.at.line) == ("losses.py", 5)
    assert not list(forward_fails(whole, LossProbe(replace(raising, place=None))))
    assert not list(forward_fails(whole, LossProbe(replace(raising, raised_in="call"))))
    assert not list(forward_fails(whole, LossProbe(replace(raising, target_told=False))))
