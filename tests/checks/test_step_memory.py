"""The memory of a step against a card: what is said, and when nothing is."""

from dataclasses import replace

import pytest
from dldoctor.checks.model.memory import will_not_fit

from dldoctor import BatchSize, Finding, MemoryDemand, PlannedCard, Severity
from dldoctor.facts.model.records.memory import Saving, StepMemory, Verdict

GIB = 1 << 30
STEP = StepMemory(
    batch=64,
    peak=10 * GIB,
    low=9 * GIB,
    high=11 * GIB,
    by_category=(("parameters", GIB), ("buffers", 100), ("optimizer", 2 * GIB), ("activations", 7 * GIB)),
    card=8 * GIB,
    fits="no",
    largest_batch=48,
    savings=(Saving("checkpointing 12 Block blocks", 7 * GIB), Saving("both", 5 * GIB), Saving("autocast", 8 * GIB)),
    loss="cross_entropy",
    optimizer="adam",
    optimizer_assumed=True,
)


def found(step: StepMemory) -> list[Finding]:
    return list(will_not_fit(MemoryDemand(step), PlannedCard(8 * GIB, "--gpu-memory"), BatchSize(64)))


@pytest.mark.parametrize(
    ("fits", "severity"), [("yes", None), ("perhaps", Severity.WARNING), ("no", Severity.ERROR), ("", None)]
)
def test_it_is_an_error_only_when_not_even_the_low_end_fits(fits: Verdict, severity: Severity | None) -> None:
    assert [finding.severity for finding in found(replace(STEP, fits=fits))] == ([severity] if severity else [])


def test_the_sentence_gives_the_range_and_the_fix_what_brings_it_below_the_card() -> None:
    (finding,) = found(STEP)
    assert finding.message == (
        "a step at batch 64 takes 9.0 GiB to 11.0 GiB of GPU memory, 10.0 GiB most likely, of 8.0 GiB (--gpu-memory)"
    )
    assert finding.fix is not None
    assert finding.fix.summary == (
        "the largest batch that surely fits is 48; at batch 64, checkpointing 12 Block blocks would do"
    )
    rows = dict(finding.show[0].rows)  # type: ignore[union-attr]  # it shows a table
    assert rows["optimizer, adam (assumed: --optimizer)"] == "2.0 GiB"
    assert rows["instead, with autocast"] == "8.0 GiB"
    assert "buffers" not in rows


def test_where_no_batch_fits_what_stands_is_named() -> None:
    (finding,) = found(replace(STEP, largest_batch=0, savings=()))
    assert finding.fix is not None
    assert finding.fix.summary.startswith("no batch fits: parameters, gradients and optimizer state take 3.0 GiB")


def test_both_ways_together_are_named_where_neither_does() -> None:
    (finding,) = found(replace(STEP, largest_batch=0, savings=(Saving("both", 5 * GIB),)))
    assert finding.fix is not None
    assert finding.fix.summary == "bfloat16 and checkpointing together would do"
