"""Checks of networks, losses and memory on facts written by hand."""

from dataclasses import replace

import pytest
from dldoctor.checks.losses.inputs import softmax_before_cross_entropy
from dldoctor.checks.losses.targets import wrong_target_dtype, wrong_target_shape
from dldoctor.checks.model.forward import batchnorm_single_value
from dldoctor.checks.model.outputs import classes_mismatch, softmax_in_model
from dldoctor.checks.model.registration import unregistered_layers
from dldoctor.checks.model.shapes import linear_in_features_mismatch

from dldoctor import (
    BatchSize,
    Edits,
    Finding,
    HiddenLayers,
    KnownClasses,
    LossProbe,
    ModelOutputs,
    Severity,
    ShapeMismatches,
    SingleValues,
)
from dldoctor.facts.model.records.forward import Argument, HiddenLayer, OutputEnd, Place, ShapeFault, SingleValue, Step
from dldoctor.facts.model.records.loss import LossCall, LossRun

LINE = Place("net.py", 18, "        self.fc1 = nn.Linear(2000, 500)")
FAULT = ShapeFault(
    "linear",
    "fc1",
    "Linear(2000, 500)",
    "in_features",
    "2000",
    "233280",
    (233280,),
    LINE,
    Argument(LINE, 30, 34, 400, 404, "2000", literal=True),
    Place("net.py", 31),
    (Step("-", "view, net.py:31", "80 x 54 x 54", "233280"), Step("fc1", "Linear(2000, 500)", "233280", "500", True)),
)
END = OutputEnd("", (5,), "float32", True, "linear", "fc", LINE, "fc", "Linear(500, 5)", 5, LINE, None)
CALL = LossCall("cross_entropy", (2, 5), "float32", (2,), "int64", "linear", True, "fc", LINE)
RUN = LossRun("cross_entropy", False, (CALL,), True, 2, "", None, 1.6)


def shape_findings(*faults: ShapeFault) -> list[Finding]:
    return list(linear_in_features_mismatch(ShapeMismatches(faults, ("3x224x224",))))


def test_the_number_to_write_is_an_edit_and_pooling_is_named_as_the_other_way() -> None:
    (finding,) = shape_findings(FAULT)
    assert finding.message == "fc1 declares 2000 features, 233280 arrive"
    assert isinstance(finding.fix, Edits)
    assert not finding.fix.safe
    assert [(edit.start, edit.end, edit.text) for edit in finding.fix.edits] == [(400, 404, "233280")]
    assert "nn.AdaptiveAvgPool2d(5)" in finding.fix.summary
    assert "saves 115.6 M weights" in finding.fix.summary


def test_one_literal_that_two_layers_want_otherwise_is_not_edited() -> None:
    assert not any(isinstance(f.fix, Edits) for f in shape_findings(FAULT, replace(FAULT, layer="fc2", arriving="7")))


def test_a_number_seen_past_a_guess_says_so_and_is_not_edited() -> None:
    (finding,) = shape_findings(replace(FAULT, certain=False))
    assert "seen past a repair" in finding.message
    assert not isinstance(finding.fix, Edits)


@pytest.mark.parametrize(
    ("width", "shape", "classes", "severity"),
    [
        (5, (5,), 5, None),
        (1, (1,), 2, None),
        (1, (), 2, None),
        (6, (6,), 5, Severity.WARNING),
        (6, (6, 64, 64), 5, None),
        (1000, (1000,), 5, Severity.ERROR),
        (4, (4,), 5, Severity.ERROR),
        (4, (64, 4), 5, None),
    ],
)
def test_outputs_are_compared_with_classes(
    width: int, shape: tuple[int, ...], classes: int, severity: Severity | None
) -> None:
    end = replace(END, head_width=width, shape=shape)
    found = list(classes_mismatch(ModelOutputs((end,), end), KnownClasses(classes), LossProbe(RUN)))
    assert [finding.severity for finding in found] == ([severity] if severity else [])


def test_an_embedding_trained_by_another_loss_counts_no_classes() -> None:
    regression = replace(RUN, name="mse_loss", calls=())
    assert not list(classes_mismatch(ModelOutputs((END,), END), KnownClasses(9), LossProbe(regression)))


@pytest.mark.parametrize(
    ("function", "made_by", "speaks"),
    [
        ("cross_entropy", "softmax", True),
        ("cross_entropy", "log_softmax", False),
        ("cross_entropy", "linear", False),
        ("nll_loss", "log_softmax", False),
        ("binary_cross_entropy", "sigmoid", False),
        ("binary_cross_entropy_with_logits", "sigmoid", True),
    ],
)
def test_only_a_loss_that_squashes_again_is_told_of_a_softmax(function: str, made_by: str, speaks: bool) -> None:
    run = replace(RUN, calls=(replace(CALL, function=function, input_is=made_by),))
    assert bool(list(softmax_in_model(ModelOutputs((END,), END), LossProbe(run)))) is speaks
    assert not list(softmax_before_cross_entropy(LossProbe(run)))


@pytest.mark.parametrize("made_by", ["linear", "softmax", "conv"])
def test_nll_loss_wants_log_probabilities(made_by: str) -> None:
    run = replace(RUN, calls=(replace(CALL, function="nll_loss", input_is=made_by),))
    assert len(list(softmax_before_cross_entropy(LossProbe(run)))) == 1


def test_shape_and_dtype_of_a_target_are_judged_only_where_the_loss_raised() -> None:
    odd = replace(CALL, target_shape=(2, 1), target_dtype="int32")
    assert not list(wrong_target_shape(LossProbe(replace(RUN, calls=(odd,)))))
    failed = LossProbe(replace(RUN, calls=(odd,), error="RuntimeError: 0D or 1D target tensor expected"))
    assert next(wrong_target_shape(failed)).message == (
        "cross_entropy gets a target of shape [B, 1] for an output of shape [B, 5], and wants [B]"
    )
    assert not list(wrong_target_dtype(failed))


def test_batchnorm_over_one_value_raises_at_batch_one_alone() -> None:
    norm = SingleValue("bn", "BatchNorm2d(8)", LINE, (8, 1, 1), 1, over_batch=True)
    assert not list(batchnorm_single_value(SingleValues((norm,)), BatchSize(2), None))
    assert not list(batchnorm_single_value(SingleValues((norm,)), None, None))
    assert list(batchnorm_single_value(SingleValues((norm,)), BatchSize(1), None))
    assert list(batchnorm_single_value(SingleValues((replace(norm, over_batch=False),)), None, None))


HIDDEN = HiddenLayer("blocks", "", "list", 3, "Linear", 300, 300, True, False, LINE)


@pytest.mark.parametrize(
    ("layer", "severity"),
    [
        (HIDDEN, Severity.ERROR),
        (replace(HIDDEN, trainable=0), None),
        (replace(HIDDEN, called=False, called_without_gradient=True), None),
        (replace(HIDDEN, called=False), None),
        (replace(HIDDEN, parameters=0, trainable=0, only_mode=True), Severity.WARNING),
    ],
    ids=["trained", "frozen teacher", "teacher under no_grad", "never called", "dropout"],
)
def test_layers_hidden_on_purpose_are_left_alone(layer: HiddenLayer, severity: Severity | None) -> None:
    found = list(unregistered_layers(HiddenLayers((layer,), complete=True)))
    assert [finding.severity for finding in found] == ([severity] if severity else [])
