"""Facts are gathered once, in order, only where needed; checks run on them, and a crash is a result."""

from pathlib import Path

import pytest

from dldoctor import Fact
from dldoctor import diagnosis as engine
from dldoctor.diagnosis import Examination, FactPool, examine
from dldoctor.outcome import Outcome, merge
from dldoctor.report import Report
from dldoctor.resources import Resources

from .engine import GATHERED, Quadrupled, Thing, Wish, records


@pytest.fixture(autouse=True)
def _fresh() -> None:
    GATHERED.clear()


def run(*codes: str, seeds: tuple[Fact, ...] = (Thing(3),), pool: FactPool | None = None, **options: object) -> Outcome:
    examination = Examination(seeds, Thing, records(*codes), **options)  # type: ignore[arg-type]  # settings
    return examine(examination, pool or FactPool(Resources()))


def said(outcome: Outcome) -> list[tuple[str, str, str]]:
    return [(e.check.code, str(e.finding.at), e.finding.message) for e in outcome.entries]


def test_facts_come_in_the_order_of_their_needs() -> None:
    assert said(run("AAA001")) == [("AAA001", "thing.py", "12 is too much")]
    assert GATHERED == ["Doubled", "Quadrupled"]


def test_only_what_the_selected_checks_need_is_gathered() -> None:
    run("AAA002")
    assert GATHERED == ["Doubled"]


def test_an_optional_fact_is_used_when_it_is_there() -> None:
    outcome = run("AAA001", seeds=(Thing(3), Wish(100)))
    assert said(outcome) == [("AAA001", "thing.py", "112 is too much")]


def test_a_fact_that_can_not_be_had_skips_its_checks_with_the_reason() -> None:
    outcome = run("AAA003", "AAA004")
    assert [(s.check.code, s.reason) for s in outcome.skipped] == [
        ("AAA003", "needs --wish N"),
        ("AAA004", "no such device"),
    ]
    assert Report(outcome).exit_status == 0


def test_settings_are_keyword_arguments() -> None:
    assert said(run("AAA001", settings={"AAA001": {"most": 20}})) == []


def test_a_crashing_check_is_named_and_the_others_go_on() -> None:
    outcome = run("AAA001", "AAA005")
    assert [entry.check.code for entry in outcome.entries] == ["AAA001"]
    assert [(crash.code, "KeyError" in crash.error) for crash in outcome.crashes] == [("AAA005", True)]
    assert Report(outcome).exit_status == 2


def test_an_undeclared_severity_is_a_crash() -> None:
    assert "does not declare" in run("AAA006").crashes[0].error


def test_a_crashing_gatherer_is_named() -> None:
    outcome = run("AAA001", "AAA008")
    assert [crash.what for crash in outcome.crashes] == ["the measurement Broken"]
    assert outcome.skipped[0].reason == "Broken could not be measured"
    assert Report(outcome).exit_status == 2


def test_bad_input_is_the_user_s_and_ends_with_2() -> None:
    outcome = run("AAA001", "AAA009")
    assert [(crash.error, crash.bad_input) for crash in outcome.crashes] == [("thing.py: no such file", True)]
    assert Report(outcome).exit_status == 2


def test_a_check_that_does_not_end_is_stopped_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "CHECK_LIMIT", 0.05)
    outcome = run("AAA001", "AAA010")
    assert [crash.code for crash in outcome.crashes] == ["AAA010"]
    assert [entry.check.code for entry in outcome.entries] == ["AAA001"]


def test_the_graver_check_speaks_alone_at_the_same_place() -> None:
    assert said(run("AAA001", "AAA002")) == [("AAA002", "other.py:2", "odd"), ("AAA001", "thing.py", "12 is too much")]


def test_a_graver_check_that_was_not_asked_for_keeps_the_other_quiet_without_speaking() -> None:
    outcome = run("AAA001", "AAA002", unreported=frozenset({"AAA001"}))
    assert said(outcome) == [("AAA002", "other.py:2", "odd")]
    assert outcome.checks_run == ("AAA002",)


def test_a_preview_check_is_shown_and_never_fails() -> None:
    outcome = run("AAA007")
    assert len(outcome.entries) == 1
    assert Report(outcome).exit_status == 0


def test_a_pool_measures_once_for_several_examinations_and_apart_for_other_subjects() -> None:
    pool = FactPool(Resources())
    run("AAA001", pool=pool)
    run("AAA002", pool=pool)
    assert GATHERED == ["Doubled", "Quadrupled"]
    run("AAA002", seeds=(Thing(4),), pool=pool)
    assert GATHERED == ["Doubled", "Quadrupled", "Doubled"]


def test_replay_gathers_nothing() -> None:
    outcome = run("AAA001", "AAA002", seeds=(Quadrupled(99),), replayed=True)
    assert said(outcome) == [("AAA001", "thing.py", "99 is too much")]
    assert [s.reason for s in outcome.skipped] == ["Doubled was not measured"]
    assert GATHERED == []


def test_merging_rebases_paths_and_keeps_a_finding_of_two_parts_once(tmp_path: Path) -> None:
    part = run("AAA001", seeds=(Thing(3, tmp_path / "a"),))
    merged = merge([part, part], "project", "p", tmp_path)
    assert [str(entry.finding.at) for entry in merged.entries] == ["a/thing.py"]
    assert merged.checks_run == ("AAA001",)


def test_exit_status_follows_the_threshold() -> None:
    outcome = run("AAA001")
    threshold = type(outcome.entries[0].severity)
    assert Report(outcome, threshold.ERROR).exit_status == 0
    assert Report(outcome, threshold.WARNING).exit_status == 1
    assert Report(outcome, None).exit_status == 0
