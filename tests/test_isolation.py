"""The child: whatever user code does ends as an answer within the limits, and nothing is left over."""

import os
import time
from pathlib import Path

import psutil
import pytest

from dldoctor import BadInput, Resources, Unavailable
from dldoctor.isolation import MARK, ChildRun, run_child

PROBE = """
import os, sys, signal, time, threading
def quits(): sys.exit(3)
def exits(): os._exit(4)
def dies(): os.kill(os.getpid(), signal.SIGSEGV)
def loops():
    while True: pass
def raises(): raise ValueError("no")
def prints(): print("x" * 5_000_000); print("the end")
def eats():
    held = []
    while True: held.append(bytearray(50_000_000))
def leaves_child():
    if os.fork() == 0:
        os.setsid()
        time.sleep(60)
def leaves_thread(): threading.Thread(target=time.sleep, args=(60,)).start()
def forks_and_speaks():
    if os.fork() == 0: os._exit(0)
"""


def call(function: str, tmp_path: Path, **limits: object) -> ChildRun:
    (tmp_path / "probe.py").write_text(PROBE)
    resources = Resources(**limits)  # type: ignore[arg-type]  # numbers
    return run_child("dldoctor.facts.user_code:call_target",
                     {"target": f"probe.py:{function}", "folder": str(tmp_path)}, resources, cwd=tmp_path)  # fmt: skip


def test_what_was_sent_arrives(tmp_path: Path) -> None:
    run = call("prints", tmp_path)
    assert run.end.kind == "done"
    assert run.facts["called"] == "probe.py:prints"
    assert run.end.output.endswith("the end\n")
    assert len(run.end.output) <= 64 * 1024


@pytest.mark.parametrize(
    ("function", "kind", "words", "line"),
    [
        ("quits", "exit", "sys.exit(3)", 3),
        ("exits", "exit", "exit status 4", None),
        ("dies", "signal", "SIGSEGV", 5),
        ("raises", "exception", "ValueError: no", 8),
    ],
)
def test_every_way_out_has_a_name_and_a_place(
    tmp_path: Path, function: str, kind: str, words: str, line: int | None
) -> None:
    end = call(function, tmp_path).end
    assert end.kind == kind
    assert words in end.detail
    assert [frame.line for frame in end.stack if frame.path == "probe.py"][-1:] == ([line] if line else [])


def test_an_endless_loop_is_ended_and_its_line_known(tmp_path: Path) -> None:
    end = call("loops", tmp_path, time_limit=1.0).end
    assert end.kind == "timeout"
    assert [frame.line for frame in end.stack][-1] == 7


def test_memory_is_bounded(tmp_path: Path) -> None:
    end = call("eats", tmp_path, memory_limit=300 << 20, time_limit=30.0).end
    assert end.kind == "memory"


@pytest.mark.parametrize("function", ["leaves_child", "leaves_thread", "forks_and_speaks"])
def test_no_process_is_left_over(tmp_path: Path, function: str) -> None:
    started = time.monotonic()
    assert call(function, tmp_path).end.kind == "done"
    assert time.monotonic() - started < 20
    time.sleep(0.1)
    left = []
    for process in psutil.process_iter():
        try:
            if MARK in process.environ() and process.status() != psutil.STATUS_ZOMBIE and process.pid != os.getpid():
                left.append(process.cmdline())
        except psutil.Error:
            continue
    assert not [words for words in left if str(tmp_path) in " ".join(words)]


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("none.py:f", "none.py: no such file"),
        ("probe.py:quit", "has no 'quit'; did you mean 'quits'?"),
        ("broken.py:f", "broken.py:2: can't be imported: SyntaxError"),
        ("failing.py:f", "failing.py:1: can't be imported: ModuleNotFoundError: No module named 'nowhere'; install it"),
        ("pkg/inner.py:value", ""),
    ],
)
def test_targets_that_can_not_be_had_are_one_sentence(tmp_path: Path, target: str, words: str) -> None:
    (tmp_path / "probe.py").write_text(PROBE)
    (tmp_path / "broken.py").write_text("x = 1\ny = = 2\n")
    (tmp_path / "failing.py").write_text("import nowhere\n")
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "__init__.py").touch()
    (tmp_path / "pkg" / "other.py").write_text("def value(): pass\n")
    (tmp_path / "pkg" / "inner.py").write_text("from .other import value\n")
    arguments = {"target": target, "folder": str(tmp_path)}
    if not words:
        assert (
            run_child("dldoctor.facts.user_code:call_target", arguments, Resources(), cwd=tmp_path).end.kind == "done"
        )
        return
    with pytest.raises(BadInput) as error:
        run_child("dldoctor.facts.user_code:call_target", arguments, Resources(), cwd=tmp_path)
    assert words in str(error.value)


def test_a_missing_interpreter_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="can't be started"):
        call("prints", tmp_path, python="/nowhere/python")


def test_a_wish_to_stop_ends_the_child(tmp_path: Path) -> None:
    resources = Resources()
    resources.stop.set()
    (tmp_path / "probe.py").write_text(PROBE)
    with pytest.raises(Unavailable, match="interrupted"):
        run_child("dldoctor.facts.user_code:call_target",
                  {"target": "probe.py:loops", "folder": str(tmp_path)}, resources, cwd=tmp_path)  # fmt: skip
