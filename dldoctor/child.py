"""The child's side of `dldoctor.isolation`: run by path, under any interpreter, with the standard library alone.

`dldoctor` itself need not be installed for that interpreter: it is registered as a bare package whose `__init__` does
not run, so that its modules that need no third-party package can be imported.
"""

from __future__ import annotations

import faulthandler
import importlib
import json
import os
import signal
import sys
import traceback
import types
from typing import Any, BinaryIO

HERE = os.path.dirname(os.path.abspath(__file__))


class UserError(Exception):
    """The user's target can't be examined: one sentence that says where and what to do."""


class MemoryLimit:
    """Bounds the private memory from the moment it is armed: what is there by then (torch's own) does not count.

    Private and writable memory alone, so that a mapped file (numpy.memmap, LMDB, Arrow) may be of any size.
    """

    allowance: int | None = None

    @classmethod
    def arm(cls) -> None:
        if cls.allowance is None or not sys.platform.startswith("linux"):
            return
        import resource

        with open("/proc/self/status", encoding="ascii", errors="replace") as status:
            held = next((int(line.split()[1]) * 1024 for line in status if line.startswith("VmData:")), 0)
        resource.setrlimit(resource.RLIMIT_DATA, (held + cls.allowance, resource.RLIM_INFINITY))


def main() -> None:
    facts_fd, crash_fd = int(sys.argv[1]), int(sys.argv[2])
    os.set_inheritable(facts_fd, False)
    os.set_inheritable(crash_fd, False)
    _die_with_parent()
    faulthandler.enable(crash_fd, all_threads=True)
    faulthandler.register(signal.SIGUSR1, crash_fd, all_threads=True)
    request = json.loads(sys.stdin.buffer.read())
    sys.stdin = open(os.devnull)  # noqa: SIM115  # stays open for as long as the process
    sys.argv = ["dldoctor"]
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or ".") != HERE]  # our names stay ours
    package = types.ModuleType("dldoctor")
    package.__path__ = [HERE]
    sys.modules["dldoctor"] = package
    sys.modules["dldoctor.child"] = sys.modules["__main__"]
    MemoryLimit.allowance = request["private_memory"]
    owner = os.getpid()
    with os.fdopen(facts_fd, "wb", buffering=0) as pipe:

        def send(name: str, value: Any) -> None:
            if os.getpid() == owner:  # a fork of user code must not speak for us
                _write(pipe, {"name": name, "value": value})

        module, _, function = request["task"].partition(":")
        try:
            getattr(importlib.import_module(module), function)(request["arguments"], send)
            send("$done", True)
        except UserError as error:
            send("$bad_input", str(error))
        except SystemExit as error:
            send(
                "$exit",
                {
                    "text": f"sys.exit({'' if error.code is None else repr(error.code)})",
                    "stack": frames_of(error.__traceback__),
                },
            )
        except BaseException as error:
            missing = error.name if isinstance(error, ModuleNotFoundError) else None
            if missing in ("torch", "numpy"):  # what user code misses is a UserError already
                send(
                    "$bad_input", f"{sys.executable}: has no {missing}; name the interpreter that has it with --python"
                )
            send(
                "$exception",
                {
                    "text": "".join(traceback.format_exception_only(error)).strip(),
                    "stack": frames_of(error.__traceback__),
                },
            )
            traceback.print_exc()
    # Threads and atexit handlers of user code must not keep a finished child alive.
    sys.stdout.flush()
    os._exit(0)


def _write(pipe: BinaryIO, record: Any) -> None:
    data = memoryview(json.dumps(record).encode() + b"\n")
    while data:
        data = data[os.write(pipe.fileno(), data) :]


def frames_of(trace: types.TracebackType | None) -> list[dict[str, Any]]:
    """The frames of a traceback that are not ours, innermost last."""
    return [
        {"path": frame.filename, "line": frame.lineno or 0, "function": frame.name}
        for frame in traceback.extract_tb(trace)
        if not frame.filename.startswith(HERE + os.sep) and not frame.filename.startswith("<frozen")
    ]


def _die_with_parent() -> None:
    """Ask Linux to kill this process when the doctor dies, however it dies."""
    if sys.platform.startswith("linux"):
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # 1 is PR_SET_PDEATHSIG


if __name__ == "__main__":
    main()
