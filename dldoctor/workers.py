"""Worker processes, and what becomes of a task that kills or stalls one."""

from __future__ import annotations

import contextlib
import json
import queue
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

Row = dict[str, Any]


class WorkerDied(Exception):
    """The worker is gone, or was killed for its silence; `rows` are the answers it gave to the chunk before."""

    def __init__(self, outcome: str, message: str, rows: list[Row]) -> None:
        super().__init__(message)
        self.outcome = outcome
        self.message = message
        self.rows = rows


def ask_all(
    program: Sequence[str],
    tasks: Sequence[Any],
    workers: int,
    step: int,
    stop: threading.Event,
    done: Callable[[int, Row], None],
    limit: float,
) -> None:
    """Have every task answered by processes; `done(index, row)` is called from one thread at a time, in no order.

    A task whose worker dies or falls silent gets the row `{"outcome": ..., "message": ...}`. Ends early, without a
    word, when `stop` is set.

    Args:
        program: the module that runs `working.serve`, and its arguments.
        tasks: JSON values.
        workers: how many processes.
        step: tasks handed to a process at once.
        stop: the wish to end.
        done: takes the answers.
        limit: seconds that one task may take.
    """
    chunks: queue.SimpleQueue[list[int]] = queue.SimpleQueue()
    for start in range(0, len(tasks), step):
        chunks.put(list(range(start, min(start + step, len(tasks)))))
    lock = threading.Lock()
    errors: list[BaseException] = []

    def serve() -> None:
        try:
            _serve(program, chunks, tasks, stop, limit, report)
        except BaseException as error:
            errors.append(error)

    def report(index: int, row: Row) -> None:
        with lock:
            done(index, row)

    threads = [threading.Thread(target=serve, name=f"worker-{n}", daemon=True) for n in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def _serve(
    program: Sequence[str],
    chunks: queue.SimpleQueue[list[int]],
    tasks: Sequence[Any],
    stop: threading.Event,
    limit: float,
    report: Callable[[int, Row], None],
) -> None:
    worker: _Worker | None = None
    try:
        while not stop.is_set():
            try:
                chunk = chunks.get_nowait()
            except queue.Empty:
                return
            while chunk:
                worker = worker or _Worker(program, stop, limit)
                try:
                    rows = worker.ask([tasks[index] for index in chunk])
                except WorkerDied as death:
                    worker.end()
                    worker = None
                    if stop.is_set():
                        return
                    answered = len(death.rows)
                    for index, row in zip(chunk, death.rows, strict=False):
                        report(index, row)
                    if len(chunk) == 1:
                        report(chunk[0], {"outcome": death.outcome, "message": death.message})
                        break
                    # Results may have been lost with the worker: the rest goes one by one, which finds the culprit.
                    for index in chunk[answered + 1 :]:
                        chunks.put([index])
                    chunk = chunk[answered : answered + 1]
                    continue
                for index, row in zip(chunk, rows, strict=True):
                    report(index, row)
                break
    finally:
        if worker is not None:
            worker.end()


class _Worker:
    """One worker process and its two pipes."""

    def __init__(self, program: Sequence[str], stop: threading.Event, limit: float) -> None:
        self.program = program
        self.stop = stop
        self.limit = limit
        self.started = False
        self.rest = b""
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", *program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(),
        )

    def ask(self, tasks: Sequence[Any]) -> list[Row]:
        """The rows of a chunk.

        Raises:
            WorkerDied: the process ended or fell silent for longer than one task may take.
        """
        assert self.process.stdin is not None  # a PIPE was asked for
        rows: list[Row] = []
        try:
            self.process.stdin.write(json.dumps(tasks).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise self._death(rows) from None
        while len(rows) < len(tasks):
            rows += self._line(rows)
        return rows

    def _line(self, before: list[Row]) -> list[Row]:
        assert self.process.stdout is not None  # a PIPE was asked for
        last = time.monotonic()
        while b"\n" not in self.rest:
            ready, _, _ = select.select([self.process.stdout], [], [], 0.2)
            if self.stop.is_set():
                raise WorkerDied("interrupted", "interrupted", before)
            if not ready:
                if time.monotonic() - last > self.limit:
                    raise WorkerDied("timeout", f"did not end within {self.limit:g} s", before)
                continue
            data = self.process.stdout.read1(1 << 20)  # type: ignore[attr-defined]  # a BufferedReader
            if not data:
                raise self._death(before)
            self.rest += data
        line, _, self.rest = self.rest.partition(b"\n")
        self.started = True
        found: list[Row] = msgspec.json.decode(line)
        return found

    def _death(self, rows: list[Row]) -> Exception:
        status = self.process.wait()
        if not self.started and status > 0:
            return RuntimeError(
                f"the worker can't start (exit status {status}); try {sys.executable} -P -m {self.program[0]}"
            )
        if status < 0 and -status in set(signal.Signals):
            return WorkerDied("died", f"was killed by {signal.Signals(-status).name}", rows)
        return WorkerDied("died", f"ended with exit status {status}", rows)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):  # what was still buffered for a dead worker
                    pipe.close()


def _environment() -> dict[str, str]:
    """This process's environment, with the folder dldoctor was imported from, and one thread per worker."""
    import os

    package = str(Path(__file__).resolve().parents[1])
    known = os.environ.get("PYTHONPATH")
    return {
        **os.environ,
        "PYTHONPATH": package + (os.pathsep + known if known else ""),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
