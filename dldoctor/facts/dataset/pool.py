"""Decoding in worker processes, as many as the work is worth."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dldoctor.resources import Resources
from dldoctor.workers import Row, ask_all

#: what `decode.measure` is called with: path to open, role; for a member of an archive its offset and length, too
Task = tuple[str, str] | tuple[str, str, int, int]

#: files handed to a worker at once
CHUNK = 32
#: starting a worker costs about as much as decoding this many bytes or this many files
WORTH_BYTES, WORTH_FILES = 24 << 20, 250
#: what one file may take, in seconds
FILE_LIMIT = 60.0


def measure_all(
    tasks: Sequence[Task],
    sizes: Sequence[int],
    resources: Resources,
    done: Callable[[int, Row], None],
    file_limit: float = FILE_LIMIT,
) -> None:
    """Measure every task; `done(index, row)` is called from one thread at a time, in no order.

    Ends early, without a word, when `resources.stop` is set.
    """
    workers = max(1, min(resources.workers, sum(sizes) // WORTH_BYTES + len(tasks) // WORTH_FILES + 1))
    step = max(1, min(CHUNK, len(tasks) // (workers * 4)))
    program = ("dldoctor.facts.dataset.measuring.worker",)
    ask_all(program, tasks, workers, step, resources.stop, done, file_limit)
