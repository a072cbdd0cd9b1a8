"""A worker process that measures files: `python -P -m dldoctor.facts.dataset.measuring.worker`."""

from __future__ import annotations

import contextlib
import sys

from dldoctor.facts.dataset.measuring.decode import complete, measure
from dldoctor.working import serve


def main() -> None:
    if sys.platform.startswith("linux"):
        import ctypes

        library = ctypes.CDLL(None)
        with contextlib.suppress(AttributeError):  # not every C library has it
            # M_MMAP_THRESHOLD and M_TRIM_THRESHOLD: arrays of a megabyte that come and go with each batch would
            # otherwise be pages that the system has to clear anew, which takes longer than what is computed in them
            library.mallopt(-3, 32 << 20)
            library.mallopt(-1, 64 << 20)
    serve(lambda task: measure(*task), complete)


if __name__ == "__main__":
    main()
