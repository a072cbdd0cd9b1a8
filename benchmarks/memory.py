"""Predictions of GPU memory, held against measured runs; good or bad, all is printed.

    python benchmarks/memory.py                     # against memory_measured.csv: 30 runs on an A100
    python benchmarks/memory.py --json              # 40 networks of torchvision and timm, to be held against a table
    python benchmarks/memory.py --gpu               # against runs on the GPU that is here (with no GPU: says so)

The measured table needs timm. On a GPU, each of 20 networks runs at three batch sizes, in fp32 and under bf16 autocast,
with Adam and SGD, cudnn.benchmark on and off, each in a process of its own.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MIB = 1 << 20
#: what CUDA itself took on the A100 of the table
CONTEXT = 528 * MIB
TABLE = Path(__file__).with_name("memory_measured.csv")
TORCHVISION = [
    "alexnet",
    "vgg11",
    "vgg16_bn",
    "resnet18",
    "resnet50",
    "resnet101",
    "wide_resnet50_2",
    "resnext50_32x4d",
    "squeezenet1_1",
    "densenet121",
    "googlenet",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "shufflenet_v2_x1_0",
    "mnasnet1_0",
    "efficientnet_b0",
    "efficientnet_v2_s",
    "regnet_y_1_6gf",
    "convnext_tiny",
    "vit_b_16",
    "vit_l_16",
    "swin_t",
    "swin_v2_t",
]
TIMM = [
    "resnet50",
    "resnetv2_50",
    "seresnet50",
    "efficientnet_b3",
    "tf_efficientnetv2_s",
    "mobilenetv3_large_100",
    "convnext_base",
    "vit_small_patch16_224",
    "vit_base_patch16_224",
    "deit_small_patch16_224",
    "swin_tiny_patch4_window7_224",
    "mixer_b16_224",
    "beit_base_patch16_224",
    "coatnet_0_rw_224",
    "ghostnet_100",
    "repvgg_a2",
    "rexnet_100",
]
ON_A_GPU = [("torchvision", name) for name in TORCHVISION if name not in ("vit_l_16", "googlenet", "swin_v2_t")]


def make(library: str, name: str, **arguments: Any) -> Any:
    import importlib

    if library == "timm":
        return importlib.import_module("timm").create_model(name, **arguments)
    return getattr(importlib.import_module("torchvision.models"), name)(**arguments)


def predict(net: Any, shape: str, batch: int, **ask: Any) -> tuple[Any, float]:
    """The prediction, and the seconds it took."""
    import torch.nn.functional as F  # noqa: N812  # the field's own name for it

    from dldoctor.facts.model.inside.inputs import Spec
    from dldoctor.facts.model.inside.memory.forecast import Ask, forecast

    began = time.perf_counter()
    spec = Spec(tuple(map(int, shape.split("x"))), "float32")
    found = forecast(net, (spec,), (F.cross_entropy, "cross_entropy"), None, Ask(batch, **{"savings": False, **ask}))
    return found, time.perf_counter() - began


def against_the_table() -> None:
    from dldoctor.facts.model.inside.runtime import Initialisation

    with TABLE.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    results = []
    for row in rows:
        arguments = dict(pair.split("=") for pair in row["arguments"].split(",") if pair)
        with Initialisation(0).limiting():
            net = make(row["library"], row["model"], num_classes=int(row["classes"]),
                       **{name: value == "True" for name, value in arguments.items()})  # fmt: skip
        ask = {"optimizer": row["optimizer"], "context": CONTEXT}
        found, seconds = predict(net, row["input"], int(row["batch"]), **ask)
        results.append((f"{row['model']} {row['input']} batch {row['batch']}", int(row["mib"]) * MIB, found, seconds))
        print(line_of(*results[-1]), flush=True)
    summary(results)


def line_of(name: str, measured: int, found: Any, seconds: float) -> str:
    if found.why_not:
        return f"{name:44} {measured / MIB:8,.0f}  not predicted: {found.why_not}"
    inside = "" if found.low <= measured <= found.high else "  outside its range"
    error = found.peak / measured - 1
    return f"{name:44} {measured / MIB:8,.0f} {found.peak / MIB:8,.0f} {error:+7.1%} {seconds:5.1f} s{inside}"


def summary(results: list[tuple[str, int, Any, float]]) -> None:
    told = [(found.peak / measured - 1, found, measured) for _, measured, found, _ in results if not found.why_not]
    if not told:
        return
    sizes = sorted(abs(error) for error, _, _ in told)
    count = len(told)
    print(
        f"{count} of {len(results)} predicted: median error {(sizes[(count - 1) // 2] + sizes[count // 2]) / 2:.1%}, "
        f"quartiles {sizes[count // 4]:.1%} and {sizes[3 * count // 4]:.1%}, worst {sizes[-1]:.1%}\n"
        f"too low by more than 10 %: {sum(error < -0.1 for error, _, _ in told)}; too high by more: "
        f"{sum(error > 0.1 for error, _, _ in told)}; inside the stated range: "
        f"{sum(found.low <= measured <= found.high for _, found, measured in told)} of {count}; "
        f"median {sorted(seconds for *_, seconds in results)[len(results) // 2]:.1f} s a prediction"
    )


def as_json(batch: int) -> None:
    import dataclasses

    from dldoctor.facts.model.inside.runtime import Initialisation

    def predictions() -> Iterator[dict[str, Any]]:
        for library, name in [*(("torchvision", n) for n in TORCHVISION), *(("timm", n) for n in TIMM)]:
            with Initialisation(0).limiting():
                net = make(library, name)
            found, seconds = predict(net, "3x224x224", batch, optimizer="momentum")
            print(
                f"{library} {name} {found.why_not or f'{found.peak / MIB:,.0f} MiB'} {seconds:.1f} s", file=sys.stderr
            )
            yield {"library": library, "model": name, "input": "3x224x224", **dataclasses.asdict(found)}

    print(json.dumps(list(predictions()), indent=1))


# --- on a GPU --------------------------------------------------------------------------------------------------------


def measure(library: str, name: str, batch: int, amp: bool, optimizer: str, benchmark: bool) -> dict[str, int]:
    """Three real steps; bytes that the allocator reserved at most, and what NVML says the process holds after them."""
    import os

    import pynvml
    import torch

    torch.backends.cudnn.benchmark = benchmark
    net = make(library, name).cuda()
    kinds = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}
    stepper = kinds[optimizer](net.parameters(), lr=1e-3)
    for _ in range(3):
        x, y = torch.randn(batch, 3, 224, 224, device="cuda"), torch.randint(0, 1000, (batch,), device="cuda")
        with torch.autocast("cuda", torch.bfloat16, enabled=amp):
            loss = torch.nn.functional.cross_entropy(net(x), y)
        loss.backward()
        stepper.step()
        stepper.zero_grad()
    torch.cuda.synchronize()
    pynvml.nvmlInit()
    card = pynvml.nvmlDeviceGetHandleByIndex(torch.cuda.current_device())
    held = [p.usedGpuMemory for p in pynvml.nvmlDeviceGetComputeRunningProcesses(card) if p.pid == os.getpid()]
    # in a container the process is known by another number: what the whole card holds stands for it then
    used = held[0] if held and held[0] else pynvml.nvmlDeviceGetMemoryInfo(card).used
    return {"reserved": torch.cuda.max_memory_reserved(), "used": int(used)}


def on_the_gpu(limit: int | None) -> None:
    import torch

    from dldoctor.facts.model.inside.runtime import Initialisation

    if not torch.cuda.is_available():
        print("no GPU here: nothing to hold the predictions against")
        return
    results, by_setting = [], {}
    for (library, name), batch in itertools.product(ON_A_GPU[:limit], (16, 32, 64)):
        for amp, optimizer, benchmark in itertools.product((False, True), ("adam", "sgd"), (False, True)):
            setting = {"amp": amp, "optimizer": optimizer, "benchmark": benchmark}
            words = [
                sys.executable,
                __file__,
                "--measure",
                json.dumps({"library": library, "name": name, "batch": batch, **setting}),
            ]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            if done.returncode:
                print(f"{name} batch {batch} {setting}: {done.stderr.strip().splitlines()[-1][:100]}", flush=True)
                continue
            measured = json.loads(done.stdout.splitlines()[-1])
            with Initialisation(0).limiting():
                net = make(library, name)
            context = measured["used"] - measured["reserved"]  # of this card; what is judged is the rest
            found, seconds = predict(net, "3x224x224", batch, optimizer=optimizer, benchmark=benchmark,
                                     amp="bfloat16" if amp else "", context=max(0, context))  # fmt: skip
            words_of = f"{name} {batch} {'bf16' if amp else 'fp32'} {optimizer}{' benchmark' if benchmark else ''}"
            results.append((words_of, measured["used"], found, seconds))
            by_setting.setdefault(words_of.split(maxsplit=2)[2], []).append(results[-1])
            print(line_of(*results[-1]), f"context {context / MIB:,.0f}", flush=True)
    for name, some in by_setting.items():
        print(f"\n{name}")
        summary(some)
    print("\nall")
    summary(results)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="predictions of 40 networks as JSON, SGD with momentum")
    parser.add_argument("--batch", type=int, default=32, help="samples per step for --json")
    parser.add_argument("--gpu", action="store_true", help="measure on the GPU that is here")
    parser.add_argument("--networks", type=int, help="measure so many networks alone")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.measure:
        print(json.dumps(measure(**json.loads(chosen.measure))))
    elif chosen.gpu:
        on_the_gpu(chosen.networks)
    elif chosen.json:
        as_json(chosen.batch)
    else:
        against_the_table()


if __name__ == "__main__":
    main()
