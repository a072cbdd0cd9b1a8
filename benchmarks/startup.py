"""Start-up of `dldoctor --help` against the floor, `python -c "import typer, rich.console"`, in pairs.

    python benchmarks/startup.py [ROUNDS]

Prints the median of each and of the pairwise ratios; machines are noisy, so only the ratio counts.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

FLOOR = [sys.executable, "-c", "import typer, rich.console"]
OURS = [sys.executable, "-m", "dldoctor", "--help"]
EMPTY = [sys.executable, "-c", "pass"]


def seconds(command: list[str]) -> float:
    """Wall time of one run, output thrown away."""
    began = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def main(rounds: int) -> None:
    for command in (FLOOR, OURS, EMPTY):
        seconds(command)  # fills the caches
    rows = [(seconds(FLOOR), seconds(OURS), seconds(EMPTY)) for _ in range(rounds)]
    for name, column in (("python -c pass", 2), ("import typer, rich.console", 0), ("dldoctor --help", 1)):
        print(f"{name:<28} {statistics.median(row[column] for row in rows) * 1e3:6.0f} ms")
    ratios = sorted(row[1] / row[0] for row in rows)
    print(f"ratio to the floor           {statistics.median(ratios):6.2f}   ({ratios[0]:.2f} to {ratios[-1]:.2f})")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
