"""A worker process: takes chunks of tasks as lines of JSON on stdin, answers rows as lines of JSON on stdout.

Started as `python -P -m dldoctor.facts.dataset.measuring.worker`: a process of our own rather than multiprocessing's,
which would import the caller's `__main__` again and so asks every script for a guard.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time

import msgspec

from dldoctor.facts.dataset.measuring.decode import complete, measure

#: seconds of results that may wait; the parent takes silence for a file that doesn't end
FLUSH = 0.2


def main() -> None:
    # Ctrl-C reaches the whole group; the parent ends its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform.startswith("linux"):
        import ctypes

        library = ctypes.CDLL(None)
        library.prctl(1, signal.SIGKILL)  # 1 is PR_SET_PDEATHSIG: die with the parent
        with contextlib.suppress(AttributeError):  # not every C library has it
            # M_MMAP_THRESHOLD and M_TRIM_THRESHOLD: arrays of a megabyte that come and go with each batch would
            # otherwise be pages that the system has to clear anew, which takes longer than what is computed in them
            library.mallopt(-3, 32 << 20)
            library.mallopt(-1, 64 << 20)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a decoder's own words must not mix with the answers
    encoder = msgspec.json.Encoder()
    for line in sys.stdin:
        rows, last = [], time.monotonic()
        chunk = json.loads(line)
        for number, task in enumerate(chunk, 1):
            rows.append(measure(*task))
            now = time.monotonic()
            if number == len(chunk) or now - last > FLUSH:
                complete(rows)
                answers.write(encoder.encode(rows) + b"\n")
                answers.flush()
                rows, last = [], now


if __name__ == "__main__":
    main()
