"""Checks of real values and of single calls, on facts written by hand."""

from dataclasses import replace

import pytest
from dldoctor.checks.memory import dataset_in_memory
from dldoctor.checks.model.batchnorm import small_batch_batchnorm
from dldoctor.checks.model.calls import (
    inplace_breaks_backward,
    mixed_devices,
    mixed_dtypes,
    squeezed_batch,
    wrong_softmax_dim,
)
from dldoctor.checks.model.forward import batchnorm_single_value
from dldoctor.checks.model.values import bad_initialisation, batch_dependent_output, random_evaluation

from dldoctor import (
    BatchSize,
    DatasetRead,
    Finding,
    ForwardEnd,
    LayerTable,
    Place,
    RealValues,
    Severity,
    SingleValues,
    WatchedCalls,
)
from dldoctor.facts.model.records.forward import ForwardFault, Layer, SingleValue
from dldoctor.facts.model.records.forward import Place as Line
from dldoctor.facts.model.records.items import ItemsRead
from dldoctor.facts.model.records.values import (
    DeadAfter,
    LayerValues,
    Neighbour,
    NonFiniteLayer,
    RandomCall,
    Values,
)
from dldoctor.facts.model.records.watched import DeviceFault, Overwritten, SoftmaxCall, Squeezed, Watched

LINE = Line("net.py", 14, "        h += 1")
WELL = Values("normal", "", (), 1.0, None, None, (), random=False, random_calls=())


def layers(*sizes: float, spreads: tuple[float, ...] = ()) -> tuple[LayerValues, ...]:
    pairs = zip(sizes, spreads or sizes, strict=True)
    return tuple(LayerValues(f"net.{n}", "Linear(8, 8)", LINE, a, b, 1.0) for n, (a, b) in enumerate(pairs))


def initialised(values: Values) -> list[Finding]:
    return list(bad_initialisation(RealValues(values), None))


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (layers(4, 60, 900, 14e3, 2e5), "values explode at initialisation: from 4 at net.0 to 2e+05 at net.4"),
        (layers(1, 1, 1, 1, 1e6), ""),  # one layer of a scale set on purpose
        (layers(1, 2, 4, 8, 16), ""),
        (layers(1, 9, 81, 729, 6561), ""),
        (layers(*[1] * 6, spreads=(1, 1e-2, 1e-4, 1e-6, 1e-8, 0)),
         "differences between two inputs vanish at initialisation: from 1 at net.0 to 1e-09 at net.5"),
        (layers(*[1] * 5, spreads=(1, 1, 1, 1, 1e-9)), ""),  # a last layer near zero
        (layers(*[1] * 5, spreads=(1, 1, 1, 1, 0)), ""),  # a last layer of zeros
        (layers(1, 1e-3, 1e-6), ""),
    ],
)  # fmt: skip
def test_a_scale_is_bad_when_layer_after_layer_makes_it_worse(table: tuple[LayerValues, ...], said: str) -> None:
    assert [finding.message for finding in initialised(replace(WELL, layers=table))] == [said] * bool(said)


def test_nan_is_an_error_at_the_line_that_makes_it() -> None:
    (finding,) = initialised(replace(WELL, non_finite=NonFiniteLayer("norm", "log", LINE)))
    assert finding.severity is Severity.ERROR
    assert finding.at == Place("net.py", 14, layer="norm")


def test_a_dead_network_is_named_by_the_last_layer_that_lives() -> None:
    dead = replace(WELL, dead_after=DeadAfter("fc1", "Linear(8, 8)", LINE))
    (finding,) = initialised(dead)
    assert finding.message == "no output depends on the input: nothing behind fc1 does"
    one = SoftmaxCall("softmax", "", LINE, (2, 1), 1, True, "linear", is_output=True)
    assert not list(bad_initialisation(RealValues(dead), WatchedCalls(Watched((one,)), True)))


def test_what_mixes_samples_is_named_with_what_to_write() -> None:
    norm = Neighbour("", 0.2, 0.6, "batch_norm", "bn", "BatchNorm2d(8)", LINE, None)
    attention = replace(norm, operation="multi_head_attention_forward", what="MultiheadAttention(8, 2)")
    (first,) = batch_dependent_output(RealValues(replace(WELL, neighbours=(norm,))))
    (second,) = batch_dependent_output(RealValues(replace(WELL, neighbours=(attention,))))
    assert first.fix is not None
    assert second.fix is not None
    assert "track_running_stats" in first.fix.summary
    assert "batch_first=True" in second.fix.summary
    assert not list(batch_dependent_output(RealValues(WELL)))


def test_chance_without_a_dropout_is_sampling_on_purpose() -> None:
    assert not list(random_evaluation(RealValues(replace(WELL, random=True))))
    call = RandomCall("dropout", "", LINE)
    assert len(list(random_evaluation(RealValues(replace(WELL, random=True, random_calls=(call,)))))) == 1
    assert not list(random_evaluation(RealValues(replace(WELL, random_calls=(call,)))))


OVER_BATCH = SoftmaxCall("softmax", "", LINE, (2, 5), 0, True, "linear", over_batch=True)


@pytest.mark.parametrize(
    ("call", "rows", "severity"),
    [
        (OVER_BATCH, True, Severity.ERROR),
        (OVER_BATCH, False, None),  # a bag of instances
        (replace(OVER_BATCH, other_batch=True), True, None),  # a table of pairs
        (replace(OVER_BATCH, over_batch=False), True, None),  # two branches
        (SoftmaxCall("softmax", "", LINE, (2, 4, 9, 9), 1, False, "product"), True, Severity.ERROR),
        (SoftmaxCall("softmax", "", LINE, (2, 4, 9, 9), 1, False, "conv"), True, None),
        (SoftmaxCall("softmax", "", LINE, (2, 5), 1, False, "linear"), True, None),
        (SoftmaxCall("softmax", "", LINE, (2, 4, 9, 9), 3, True, "conv", is_output=True), True, Severity.WARNING),
        (SoftmaxCall("softmax", "", LINE, (2, 4, 9, 9), 3, True, "product"), True, None),
        (SoftmaxCall("softmax", "", LINE, (2, 7, 4), 1, True, "linear", is_output=True), True, Severity.WARNING),
        (SoftmaxCall("softmax", "", LINE, (2, 7, 1), 1, True, "linear", is_output=True), True, None),
        (SoftmaxCall("softmax", "", LINE, (2, 7, 4), 1, True, "linear"), True, None),
    ],
)
def test_a_softmax_is_wrong_over_what_is_no_class_and_no_position(
    call: SoftmaxCall, rows: bool, severity: Severity | None
) -> None:
    found = [finding.severity for finding in wrong_softmax_dim(WatchedCalls(Watched((call,)), rows))]
    assert found == [severity] * (severity is not None)


@pytest.mark.parametrize(
    ("name", "text", "advice"),
    [
        ("add_", "h += 1", "x = x + y in place of x += y"),
        ("add_", "h.add_(1)", "x = x.add(...) in place of x.add_(...)"),
        ("__setitem__", "h[:, 0] = 0", "x.clone() before it"),
        ("relu", "self.act(h)", "inplace=False"),
    ],
)
def test_what_changes_in_place_is_written_anew(name: str, text: str, advice: str) -> None:
    line = replace(LINE, text=text)
    found = Overwritten("RuntimeError: modified", (2, 8), "sigmoid", Line("net.py", 12), name, "", line)
    (finding,) = inplace_breaks_backward(WatchedCalls(Watched(overwritten=(found,)), True))
    assert finding.fix is not None
    assert advice in finding.fix.summary


def test_a_tensor_left_on_the_cpu_is_found_where_it_is_made() -> None:
    fault = DeviceFault("mul", "", LINE, "RuntimeError: two", Line("net.py", 9), "")
    held = replace(fault, made=None, attribute="block.mean")
    made, kept = mixed_devices(WatchedCalls(Watched(devices=(fault, held)), True), None)
    assert made.at == Place("net.py", 9)
    assert kept.fix is not None
    assert 'register_buffer("mean"' in kept.fix.summary


@pytest.mark.parametrize(
    ("before", "advice"),
    [
        ((1, 16, 1, 1), "x.flatten(1)"),
        ((1, 1), "x.squeeze(1)"),
        ((1, 1, 8), "x.squeeze(1)"),
        ((1, 8, 1), "x.squeeze(2)"),
    ],
)
def test_a_squeeze_names_its_axes(before: tuple[int, ...], advice: str) -> None:
    entry = Squeezed(LINE, "", before, (16,), (4,), (2, 4))
    (finding,) = squeezed_batch(WatchedCalls(Watched(squeezed=(entry,)), True))
    assert finding.fix is not None
    assert finding.fix.summary == advice


def test_dtypes_are_told_from_other_failures() -> None:
    fault = ForwardFault("RuntimeError: Linear(8, 4) gets uint8 and its weights are float32", "fc", LINE, "forward",
                         "dtype", (), repaired=True, advice="convert the input: x.to(torch.float32)")  # fmt: skip
    other = replace(fault, operation="cat")
    end = ForwardEnd("forward", "done", "", (), "", None, (fault, other))
    (finding,) = mixed_dtypes(end)
    assert finding.message == "Linear(8, 4) gets uint8 and its weights are float32"
    assert finding.fix is not None
    assert "x.float() / 255" in finding.fix.summary


NORM = Layer("bn", "BatchNorm2d", "BatchNorm2d(16)", LINE, (16, 7, 7), (16, 7, 7), "float32", 32, 32, 0, 0)


@pytest.mark.parametrize(
    ("layer", "batch", "said"),
    [
        (NORM, 2, "the BatchNorm layer sees 2 samples at a time: 98 values per channel in bn"),
        (NORM, 8, ""),
        (replace(NORM, trainable=0), 2, ""),
        (replace(NORM, parameters=0, trainable=0), 2, "the BatchNorm layer sees 2 samples at a time: 98 values per "
                                                      "channel in bn"),
        (replace(NORM, kind="SyncBatchNorm"), 2, ""),
        (replace(NORM, kind="GroupNorm"), 2, ""),
    ],
)  # fmt: skip
def test_batchnorm_wants_more_than_four_samples(layer: Layer, batch: int, said: str) -> None:
    table = LayerTable((layer,), (), 0, 0, 0, 0, "fake")
    assert [f.message for f in small_batch_batchnorm(table, BatchSize(batch))] == [said] * bool(said)


READ = ItemsRead("data.py:train", "Slides", 33, 33, 0, None, copied=False, kept_batch=None)
GIB = 2**30


@pytest.mark.parametrize(
    ("grown", "workers", "copied", "found"),
    [(30, None, False, 1), (9, None, False, 0), (9, 4, True, 1), (9, 4, False, 0), (0, 64, True, 0)],
)
def test_a_dataset_in_memory_counts_once_for_each_copy(
    grown: int, workers: int | None, copied: bool, found: int
) -> None:
    read = replace(READ, grown=grown * GIB, workers=workers, copied=copied)
    assert len(list(dataset_in_memory(DatasetRead(read, 64 * GIB)))) == found


def test_a_loader_whose_last_batch_is_one_sample_meets_a_norm_of_one_value() -> None:
    norms = SingleValues((SingleValue("bn", "BatchNorm1d(8)", LINE, (8,), 1, over_batch=True),))
    (finding,) = batchnorm_single_value(norms, None, DatasetRead(replace(READ, kept_batch=8), 64 * GIB))
    assert "the last batch of 33 items in batches of 8" in finding.message
    for read in (READ, replace(READ, kept_batch=16, length=32), replace(READ, kept_batch=10)):
        assert not list(batchnorm_single_value(norms, None, DatasetRead(read, 64 * GIB)))
