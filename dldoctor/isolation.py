"""The child process: user code runs there, under limits, and facts come back over a pipe of their own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from dldoctor.fact import BadInput, Unavailable
from dldoctor.resources import Resources

#: what is kept of the child's stdout and stderr, in bytes
TAIL = 64 * 1024
#: marks every process that descends from one child, so that none is left over
MARK = "DLDOCTOR_CHILD"

EndKind = Literal["done", "exit", "exception", "signal", "timeout", "memory"]


@dataclass(frozen=True)
class StackFrame:
    """One frame of a stack, innermost last."""

    path: str
    line: int
    function: str


@dataclass(frozen=True)
class ChildEnd:
    """How the child ended.

    `done`: the task returned. `exit`: user code left the process (`sys.exit`, `os._exit`). `exception`: an exception
    nobody caught. `signal`: killed, `detail` names the signal. `timeout`, `memory`: the limit it ran over.
    """

    kind: EndKind
    #: what happened, as half a sentence: "was killed by SIGSEGV", "did not end within 20 s"
    detail: str
    #: the last of its stdout and stderr
    output: str = ""
    #: where it stood, innermost last, when that is known
    stack: tuple[StackFrame, ...] = ()

    @property
    def innermost(self) -> StackFrame | None:
        """The innermost frame in the user's folder; the innermost of all where none lies there."""
        own = [frame for frame in self.stack if not frame.path.startswith("/") and "site-packages" not in frame.path]
        return next(reversed(own or self.stack), None)


@dataclass
class ChildRun:
    """What a child sent, by name, in the order it was sent, and how it ended."""

    end: ChildEnd
    facts: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


def run_child(
    task: str,
    arguments: Mapping[str, Any],
    resources: Resources,
    *,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    limit_private_memory: bool = True,
) -> ChildRun:
    """Run `task` ("module:function" of dldoctor) in a child and collect what it sends.

    The function is called as `function(arguments, send)`; `send(name, plain)` may be called at any time, and what was
    sent before a crash is kept. No process that the child started outlives the call.

    Args:
        arguments: JSON values.
        environment: variables set for the child on top of this process's own.
        limit_private_memory: also bound the memory that is asked for, which gives a clean MemoryError with its line;
            CUDA asks for far more than it uses, so turn it off where the child may use a GPU.

    Raises:
        BadInput: the child said that the user's target can't be examined, or the interpreter can't be started.
        Unavailable: the examination was interrupted.
    """
    interpreter = resources.python or sys.executable
    token = uuid.uuid4().hex
    read_end, write_end = os.pipe()
    started = time.monotonic()
    with tempfile.TemporaryFile() as crash_file:
        command = [
            interpreter,
            "-u",
            str(Path(__file__).with_name("child.py")),
            str(write_end),
            str(crash_file.fileno()),
        ]
        variables = {
            **os.environ,
            "PYTHONUNBUFFERED": "1",
            "PYTHONIOENCODING": "utf-8:backslashreplace",
            "PYTHONDONTWRITEBYTECODE": "1",
            **(environment or {}),
            MARK: token,
        }
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(write_end, crash_file.fileno()),
                cwd=cwd,
                env=variables,
                start_new_session=True,
            )
        except OSError as error:
            os.close(read_end)
            raise BadInput(
                f"{interpreter}: can't be started ({error.strerror}); --python takes the path of a Python "
                "interpreter that has torch"
            ) from None
        finally:
            os.close(write_end)
        request = {
            "task": task,
            "arguments": dict(arguments),
            "private_memory": resources.memory_limit if limit_private_memory else None,
        }
        facts = _Collector(read_end)
        output = _Tail(process.stdout)
        try:
            _feed(process, json.dumps(request).encode())
            broken = _watch(process, resources, started)
        finally:
            _end_all(process, token)
            facts.join()
            output.join()
        crash_file.seek(0)
        stack = _stack(crash_file.read().decode("utf-8", "replace"), cwd or Path.cwd())
    run = ChildRun(
        _ended(process, broken, facts, output.text, stack, resources, cwd or Path.cwd()),
        facts.sent,
        time.monotonic() - started,
    )
    if "$bad_input" in facts.sent:
        raise BadInput(facts.sent["$bad_input"])
    if broken == "interrupted":
        raise Unavailable("interrupted")
    return run


def _feed(process: subprocess.Popen[bytes], request: bytes) -> None:
    assert process.stdin is not None  # a PIPE was asked for
    try:
        process.stdin.write(request)
        process.stdin.close()
    except BrokenPipeError:
        pass  # it died at once: the end says how


def _watch(process: subprocess.Popen[bytes], resources: Resources, started: float) -> str | None:
    """Wait for the end; kill on a limit or on Ctrl-C. The name of the limit that was run over, if one was."""
    import psutil

    # Starts short so that quick children cost no waiting; stays far below the time it takes to fill memory.
    interval = 0.01
    next_look = started
    while process.poll() is None:
        if resources.stop.is_set():
            return "interrupted"
        now = time.monotonic()
        if now - started > resources.time_limit:
            _ask_for_stack(process)
            return "timeout"
        if now >= next_look:
            next_look = now + 0.05
            if _over(psutil, process.pid, resources.memory_limit):
                _ask_for_stack(process)
                return "memory"
        time.sleep(interval)
        interval = min(interval * 1.3, 0.05)
    return None


def _over(psutil: Any, pid: int, limit: int) -> bool:
    """Whether the child and its children hold more than `limit` bytes; pages that they share count once."""
    try:
        root = psutil.Process(pid)
        processes = [root, *root.children(recursive=True)]
        if sum(_resident(psutil, process) for process in processes) <= limit:
            return False
        # forked workers share the dataset's pages, which the cheap figure counts again for each
        return sum(_share(psutil, process) for process in processes) > limit
    except psutil.Error:
        return False


def _resident(psutil: Any, process: Any) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def _share(psutil: Any, process: Any) -> int:
    """Its proportional share of the pages it holds, where the system tells."""
    try:
        lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
        return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    except (OSError, ValueError, IndexError):
        return _resident(psutil, process)


def _ask_for_stack(process: subprocess.Popen[bytes]) -> None:
    """SIGUSR1 makes the child write where it stands; then it gets a moment to do so."""
    try:
        process.send_signal(signal.SIGUSR1)
        process.wait(timeout=0.3)
    except (subprocess.TimeoutExpired, ProcessLookupError):
        pass


def _end_all(process: subprocess.Popen[bytes], token: str) -> None:
    """Kill the child, its process group, and whatever left the group but still carries the mark."""
    import psutil

    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for other in psutil.process_iter(["pid"]):
        try:
            if other.pid != os.getpid() and other.environ().get(MARK) == token:
                other.kill()
        except psutil.Error:
            continue


def _ended(
    process: subprocess.Popen[bytes],
    broken: str | None,
    facts: _Collector,
    output: str,
    stack: tuple[StackFrame, ...],
    resources: Resources,
    root: Path,
) -> ChildEnd:
    status = process.returncode
    if broken == "timeout":
        return ChildEnd("timeout", f"did not end within {resources.time_limit:g} s (--time-limit)", output, stack)
    if broken == "memory":
        return ChildEnd(
            "memory", f"took more than {resources.memory_limit / 2**30:.3g} GiB (--memory-limit)", output, stack
        )
    if "$exception" in facts.sent:
        frames = tuple(relative_frame(StackFrame(**frame), root) for frame in facts.sent["$exception"]["stack"])
        return ChildEnd("exception", facts.sent["$exception"]["text"], output, frames)
    if "$done" in facts.sent:
        return ChildEnd("done", "", output)
    if "$exit" in facts.sent:
        frames = tuple(relative_frame(StackFrame(**frame), root) for frame in facts.sent["$exit"]["stack"])
        return ChildEnd("exit", f"left the process with {facts.sent['$exit']['text']}", output, frames)
    if status < 0:
        name = signal.Signals(-status).name if -status in set(signal.Signals) else f"signal {-status}"
        return ChildEnd("signal", f"was killed by {name}", output, stack)
    return ChildEnd("exit", f"left the process with exit status {status}", output, stack)


def _stack(text: str, root: Path) -> tuple[StackFrame, ...]:
    """The frames of faulthandler's current thread, innermost last, paths relative to `root`; our own are left out."""
    current = re.split(r"^(?=Thread |Current thread )", text, flags=re.MULTILINE)
    chosen = next((part for part in current if "most recent call first" in part and part.startswith("Current")), text)
    frames = [
        StackFrame(path, int(line), function)
        for path, line, function in re.findall(r'File "(.+?)", line (\d+) in (\S+)', chosen)
    ]
    own = str(Path(__file__).parent) + os.sep
    return tuple(
        relative_frame(frame, root) for frame in reversed(frames) if not frame.path.startswith((own, "<frozen"))
    )


def relative_frame(frame: StackFrame, root: Path) -> StackFrame:
    """The frame with its path relative to `root`, when it lies below."""
    path = Path(frame.path)
    inside = path.is_absolute() and path.resolve().is_relative_to(root.resolve())
    return replace(frame, path=path.resolve().relative_to(root.resolve()).as_posix()) if inside else frame


class _Reader(threading.Thread):
    """Drains a file descriptor; ends at its end or shortly after the child did (a grandchild may hold it open)."""

    def __init__(self, fd: int) -> None:
        super().__init__(daemon=True)
        self.fd = fd
        self.start()

    def take(self, data: bytes) -> None:
        raise NotImplementedError

    def run(self) -> None:
        while data := os.read(self.fd, 1 << 16):
            self.take(data)

    def join(self, timeout: float | None = 2.0) -> None:
        super().join(timeout)
        if not self.is_alive():
            os.close(self.fd)


class _Collector(_Reader):
    def __init__(self, fd: int) -> None:
        self.sent: dict[str, Any] = {}
        self.rest = b""
        super().__init__(fd)

    def take(self, data: bytes) -> None:
        *lines, self.rest = (self.rest + data).split(b"\n") if b"\n" in data else (self.rest + data,)
        for line in lines:
            record = json.loads(line)
            self.sent[record["name"]] = record["value"]


class _Tail(_Reader):
    def __init__(self, stream: Any) -> None:
        self.kept = b""
        self.stream = stream
        super().__init__(os.dup(stream.fileno()))
        stream.close()

    def take(self, data: bytes) -> None:
        self.kept = (self.kept + data)[-TAIL:]

    @property
    def text(self) -> str:
        return self.kept.decode("utf-8", "replace")
