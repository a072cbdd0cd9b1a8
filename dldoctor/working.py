"""A worker process' own side: takes chunks of tasks as lines of JSON on stdin, answers rows as lines of JSON on stdout.

Started as `python -P -m MODULE`: a process of our own rather than multiprocessing's, which would import the caller's
`__main__` again and so asks every script for a guard.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import msgspec

#: seconds of results that may wait; the parent takes silence for a task that doesn't end
FLUSH = 0.2


def serve(answer: Callable[[Any], Any], complete: Callable[[list[Any]], object] = len) -> None:
    """Answer every task that comes, until stdin ends. `complete` gets the rows of a batch before they are sent."""
    # Ctrl-C reaches the whole group; the parent ends its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform.startswith("linux"):
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # 1 is PR_SET_PDEATHSIG: die with the parent
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not mix with the answers
    encoder = msgspec.json.Encoder()
    for line in sys.stdin:
        rows, last = [], time.monotonic()
        chunk = json.loads(line)
        for number, task in enumerate(chunk, 1):
            rows.append(answer(task))
            now = time.monotonic()
            if number == len(chunk) or now - last > FLUSH:
                complete(rows)
                answers.write(encoder.encode(rows) + b"\n")
                answers.flush()
                rows, last = [], now
