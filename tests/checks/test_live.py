"""Short trainings that are in order and that are not, one line each."""

from typing import Any

import pytest
from dldoctor.checks import live

from dldoctor import Severity
from dldoctor.facts.live.items import Failure
from dldoctor.facts.live.smoke import Leak, NonFinite, Overfit, OwnStepRun, Step
from dldoctor.facts.pitfalls import KnownPitfalls
from dldoctor.isolation import ChildEnd, StackFrame

from .facts import found, parameter, run

ERROR, WARNING, INFO = Severity.ERROR, Severity.WARNING, Severity.INFO
CRASH = Failure(None, "RuntimeError", "mat1 and mat2 shapes cannot be multiplied (16x32 and 31x3)",
                (StackFrame("net.py", 5, "forward"),), "    return self.last(x)", None, {"x": "16 x 32"})  # fmt: skip
EVERY = [live.graph_leak, live.non_finite, live.cannot_overfit_one_batch, live.constant_output,
         live.parameters_not_updated, live.loader_bound, live.implausible_initial_loss]  # fmt: skip


@pytest.mark.parametrize("check", EVERY)
def test_a_healthy_run_is_silent(check: Any) -> None:
    assert not found(check, run())


def test_a_crash_names_its_pitfall_and_its_line() -> None:
    known = KnownPitfalls((("MOD001", "linear-in-features-mismatch", "mat1 and mat2 shapes cannot be multiplied"),))
    finding = found(live.crashed, run(crash=CRASH, crash_layer="last, Linear()"), known)[0]
    assert (finding.at.path, finding.at.line) == ("net.py", 5)
    assert "MOD001" in str(finding.fix)
    assert finding.message.startswith("step 31 raises RuntimeError in last, Linear(): mat1")


@pytest.mark.parametrize("kind", ["exit", "signal", "timeout", "memory"])
def test_a_training_that_leaves_is_a_crash(kind: Any) -> None:
    stack = (StackFrame("net.py", 5, "forward"), StackFrame("/usr/lib/python3/queue.py", 9, "get"))
    finding = found(live.crashed, run(end=ChildEnd(kind, "was gone", stack=stack)), None)[0]
    assert finding.message == "the training was gone after 30 steps"
    assert finding.at.path == "net.py"
    assert ("--time-limit" in str(finding.fix)) == (kind in ("timeout", "memory"))


def test_a_leak_names_who_holds_it() -> None:
    named = found(live.graph_leak, run(leak=Leak(22, 30, "losses", "net.py", 9, "losses.append(loss)")))[0]
    assert named.message == "losses keeps the graphs of 22 of 30 steps alive"
    assert found(live.graph_leak, run(leak=Leak(22, 30)))[0].message.startswith("something keeps")


@pytest.mark.parametrize(
    ("what", "fix"),
    [
        (NonFinite(0, "input", ""), "dldoctor loader"), (NonFinite(3, "weight", "last.weight"), "learning rate"),
        (NonFinite(0, "output", "norm", "Norm", -2.0, 3.0), "guard what this layer computes"),
        (NonFinite(2, "output", "last", "Linear", 0.0, 9.5e30), "lower the learning rate"),
        (NonFinite(0, "loss", ""), "log of 0"), (NonFinite(2, "loss", ""), "learning rate"),
        (NonFinite(1, "gradient", "hidden.bias"), "add an epsilon"),
    ],
)  # fmt: skip
def test_the_fix_follows_from_where_the_nan_was_born(what: NonFinite, fix: str) -> None:
    assert fix in str(found(live.non_finite, run(non_finite=what))[0].fix)


@pytest.mark.parametrize(
    ("losses", "gradient", "severity"),
    [
        ((1.1, 1.0, 0.9, 0.2), 1.0, None), ((1.1,) * 40, 0.0, ERROR), ((1.1,) * 40, 0.3, WARNING),
        ((1.1,) * 40, None, WARNING), ((1.1,) * 35 + (1.08,) * 5, 1e-6, None),  # deep and slow
        ((0.0,) * 40, 0.0, None), ((1e-5,) * 40, 0.1, None), ((-1.0,) * 20 + (-3.0,) * 20, 1.0, None),
        ((), None, WARNING),
    ],
)  # fmt: skip
def test_one_batch_is_learned_by_heart(
    losses: tuple[float, ...], gradient: float | None, severity: Severity | None
) -> None:
    attempts = (Overfit("adam", 1e-3, losses, gradient),) if losses else ()
    findings = found(live.cannot_overfit_one_batch, run(overfit=attempts))
    assert [finding.severity for finding in findings] == ([severity] if severity and losses else [])


@pytest.mark.parametrize(("spread", "count"), [(None, 0), (0.4, 0), (5e-7, 0), (0.0, 1)])
def test_outputs_that_do_not_differ(spread: float | None, count: int) -> None:
    assert len(found(live.constant_output, run(spread=spread))) == count


@pytest.mark.parametrize(
    ("left_out", "foreign", "severity"),
    [
        ({"in_optimizer": False}, 2, ERROR),  # the head was replaced
        ({"in_optimizer": False}, 0, WARNING),  # the backbone, perhaps on purpose
        ({"in_optimizer": False, "gradient": False}, 0, None),  # a teacher
        ({"gradient": False, "changed": False}, 0, ERROR),
        ({"gradient": False, "changed": False, "called": False}, 0, WARNING),
        ({"gradient": False, "called": False}, 0, None),  # an average of weights
    ],
)
def test_parameters_that_stay(left_out: dict[str, Any], foreign: int, severity: Severity | None) -> None:
    parameters = (parameter(), parameter("first.weight", **left_out))
    findings = found(live.parameters_not_updated, run(parameters=parameters, foreign=foreign))
    assert [finding.severity for finding in findings] == ([severity] if severity else [])


@pytest.mark.parametrize(("updates", "stale", "count"), [(30, 0, 0), (30, 29, 1), (3, 2, 0), (30, 7, 0), (0, 0, 0)])
def test_stale_gradients(updates: int, stale: int, count: int) -> None:
    own = OwnStepRun(run(own_step=True, updates=updates, stale_updates=stale))
    assert len(found(live.missing_zero_grad, own)) == count


@pytest.mark.parametrize(
    ("wait", "compute", "device", "severity"),
    [(0.2, 0.03, "cuda", WARNING), (0.2, 0.03, "cpu", INFO), (0.01, 0.001, "cuda", None), (0.03, 0.2, "cuda", None)],
)
def test_waiting_for_data(wait: float, compute: float, device: str, severity: Severity | None) -> None:
    findings = found(live.loader_bound, run(device=device, steps=(Step(1.0, wait, compute),) * 12))
    assert [finding.severity for finding in findings] == ([severity] if severity else [])


@pytest.mark.parametrize(
    ("loss", "name", "classes", "count"),
    [(1.1, "cross_entropy", 3, 0), (40.0, "cross_entropy", 3, 1), (40.0, "mse_loss", 3, 0),
     (3.0, "cross_entropy", 3, 0),
     (40.0, "cross_entropy", None, 0), (9.2, "cross_entropy", 1000, 0), (float("nan"), "cross_entropy", 3, 0)],
)  # fmt: skip
def test_the_first_loss_is_near_guessing(loss: float, name: str, classes: int | None, count: int) -> None:
    changed = run(loss=name, classes=classes, steps=(Step(loss, 0.001, 0.01),) * 12)
    assert len(found(live.implausible_initial_loss, changed)) == count
