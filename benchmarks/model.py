"""`dldoctor model` against its floor and torchinfo, in pairs, and a network of 70 billion parameters.

    python benchmarks/model.py [ROUNDS]

The floor is a process that imports torch and torchvision and makes the network. Only ratios within one run count.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NETWORKS = ("resnet50", "vit_b_16")
FLOOR = "import torch, torchvision; torchvision.models.{name}()"
TORCHINFO = (
    "import torchvision, torchinfo; "
    "print(torchinfo.summary(torchvision.models.{name}(), input_size=(2, 3, 224, 224), verbose=0))"
)


def seconds(command: list[str], folder: str) -> tuple[float, float]:
    """Wall time of one run, and the most memory that a process of it held, in MiB."""
    began = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(command)}: exit status {status}")
    return time.perf_counter() - began, usage.ru_maxrss / 1024


def main(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "net.py").write_text("from torchvision.models import resnet50, vit_b_16\n")
        for name in NETWORKS:
            commands = {
                "floor": [sys.executable, "-c", FLOOR.format(name=name)],
                "dldoctor": [sys.executable, "-m", "dldoctor", "model", f"net.py:{name}", "--input", "3x224x224"],
                "torchinfo": [sys.executable, "-c", TORCHINFO.format(name=name)],
            }
            for command in commands.values():
                seconds(command, folder)  # fills the caches
            rows = [{key: seconds(command, folder)[0] for key, command in commands.items()} for _ in range(rounds)]
            print(f"{name}, {rounds} rounds")
            for key in commands:
                ratios = sorted(row[key] / row["floor"] for row in rows)
                print(
                    f"  {key:<10} {statistics.median(row[key] for row in rows):6.2f} s   "
                    f"{statistics.median(ratios):5.2f} of the floor ({ratios[0]:.2f} to {ratios[-1]:.2f})"
                )
    large = Path(__file__).with_name("llama.py")
    command = [sys.executable, "-m", "dldoctor", "model", f"{large.name}:Llama", "--input", "4096:int64"]
    took, _ = seconds(command, str(large.parent))
    floor, floor_mib = seconds([sys.executable, "-c", "import torch"], str(large.parent))
    mib = _child_memory(command, str(large.parent))
    print(f"70.6 billion parameters, 4,096 tokens: {took:.1f} s, {mib:,.0f} MiB at most; import torch alone: "
          f"{floor:.1f} s, {floor_mib:,.0f} MiB")  # fmt: skip


def _child_memory(command: list[str], folder: str) -> float:
    """The most memory that a process below this command held at any time, in MiB."""
    import psutil

    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    most = 0
    while process.poll() is None:
        try:
            below = psutil.Process(process.pid).children(recursive=True)
            most = max(most, *(child.memory_info().rss for child in below), 0)
        except psutil.Error:
            pass
        time.sleep(0.02)
    return most / 2**20


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
