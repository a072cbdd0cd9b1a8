"""Twenty ways in which a network's code can misbehave: each ends in time as a finding or as one sentence, and leaves no
process behind."""

from __future__ import annotations

import os
import time
from pathlib import Path

import psutil
import pytest

from dldoctor import BadInput, ModelProbe, ModelTarget, Resources
from dldoctor.facts.subjects import InputSpec
from dldoctor.isolation import MARK

NET = """\
import os, signal, sys, threading, time
{top}
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 3)
        {init}
    def forward(self, x):
        {forward}
        return self.fc(x)
"""
TOP, INIT, FORWARD = 2, 9, 11


def probe(folder: Path, fault: tuple[int, str], time_limit: float = 30.0) -> ModelProbe:
    line, code = fault
    parts = {TOP: "top", INIT: "init", FORWARD: "forward"}
    words = dict.fromkeys(parts.values(), "pass") | {parts[line]: code}
    (folder / "net.py").write_text(NET.format(**words))
    target = ModelTarget("net.py:Net", folder, inputs=(InputSpec((8,)),))
    resources = Resources(time_limit=time_limit, memory_limit=3 << 29)
    return ModelProbe.gather(target, None, None, None, None, None, None, resources)


def left_over(folder: Path) -> list[int]:
    """Processes of a child that still stand in the test's folder."""
    found = []
    for process in psutil.process_iter(["pid"]):
        try:
            here = MARK in process.environ() and process.cwd().startswith(str(folder))
        except psutil.Error:
            continue
        if here and process.status() != psutil.STATUS_ZOMBIE and process.pid != os.getpid():
            found.append(process.pid)
    return found


@pytest.mark.parametrize(
    ("fault", "end", "words"),
    [
        ((TOP, "sys.exit(2)"), "exit", "sys.exit(2)"),
        ((TOP, "import argparse; p = argparse.ArgumentParser(); p.add_argument('--d', required=True); p.parse_args()"),
         "exit", "sys.exit(2)"),
        ((TOP, "class Stop(BaseException): pass\nraise Stop('odd')"), "exception", "Stop: odd"),
        ((INIT, "sys.exit()"), "exit", "sys.exit()"),
        ((INIT, "os.abort()"), "signal", "SIGABRT"),
        ((INIT, "self.held = [bytearray(b'x' * (1 << 28)) for _ in range(160)]"), "memory", "--memory-limit"),
        ((FORWARD, "os._exit(0)"), "exit", "exit status 0"),
        ((FORWARD, "import ctypes; ctypes.string_at(0)"), "signal", "SIGSEGV"),
        ((FORWARD, "os.kill(os.getpid(), signal.SIGKILL)"), "signal", "SIGKILL"),
        ((FORWARD, "held = [bytearray(b'x' * (1 << 28)) for _ in range(160)]"), "memory", "--memory-limit"),
        ((FORWARD, "raise KeyboardInterrupt"), "exception", "KeyboardInterrupt"),
    ],
)  # fmt: skip
def test_what_ends_the_process_is_named_with_its_line(
    tmp_path: Path, fault: tuple[int, str], end: str, words: str
) -> None:
    found = probe(tmp_path, fault)
    assert found.end == end
    assert words in found.end_detail
    own = [frame.line for frame in found.stack if frame.path == "net.py"]
    assert not own or fault[0] <= own[-1] <= fault[0] + 1
    assert not left_over(tmp_path)


@pytest.mark.parametrize(
    "fault",
    [
        (TOP, "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: pass"),
        (TOP, "import torch\nfor _ in range(10**9): torch.randn(64, 64) @ torch.randn(64, 64)  # trains at import"),
        (FORWARD, "\n        while True: time.sleep(0.1)"),
    ],
)
def test_what_never_ends_is_ended_by_the_time_limit(tmp_path: Path, fault: tuple[int, str]) -> None:
    started = time.monotonic()
    found = probe(tmp_path, fault, time_limit=6.0)
    assert (found.end, time.monotonic() - started < 15) == ("timeout", True)
    assert found.phase == "start" or found.stack[-1].path == "net.py"  # a busy machine may still import torch
    assert not left_over(tmp_path)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ((TOP, "import nowhere_to_be_found"), "net.py:2: can't be imported: ModuleNotFoundError"),
        ((TOP, "input('name? ')"), "net.py:2: can't be imported: EOFError"),
    ],
)
def test_what_can_not_be_imported_is_one_sentence(tmp_path: Path, fault: tuple[int, str], words: str) -> None:
    with pytest.raises(BadInput) as error:
        probe(tmp_path, fault)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "fault",
    [
        (TOP, "print('x' * 20_000_000); sys.stderr.write('y' * 1000)"),
        (TOP, "if os.fork() == 0:\n    os.setsid()\n    if os.fork(): os._exit(0)\n    time.sleep(300)"),
        (TOP, "threading.Thread(target=time.sleep, args=(300,)).start()"),
        (TOP, "import atexit; atexit.register(time.sleep, 300)"),
        (TOP, "os.chdir('/'); sys.stdout = None"),
        (INIT, "self.cuda()"),
        (FORWARD, "x = x.cuda()"),
    ],
)
def test_what_only_misbehaves_is_examined_all_the_same(tmp_path: Path, fault: tuple[int, str]) -> None:
    started = time.monotonic()
    found = probe(tmp_path, fault)
    assert found.end == "done"
    assert found.forward is not None
    assert [(layer.path, layer.shape_out) for layer in found.forward.layers] == [("fc", (3,))]
    assert time.monotonic() - started < 25
    assert not left_over(tmp_path)
