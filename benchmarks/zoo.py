"""Run `dldoctor model` over networks that are known to work: every finding is a false alarm, or a discovery.

    python benchmarks/zoo.py                      # all of torchvision.models.list_models()
    python benchmarks/zoo.py resnet18 raft_small  # these
    python benchmarks/zoo.py --part 1/2 --memory  # one half; also measure the memory of a step
    python benchmarks/zoo.py --timm 200           # of timm, at least one of each family, a seeded choice

Each network is examined in a fork of this process, torch imported already, with every check of the subject. One line
per network: mode, seconds, peak memory above the import, MAdds, parameters, findings.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

#: what classification networks without a crop size of their own are fed
DETECTION = {"input": "3x224x256"}
SPECIAL: dict[str, dict[str, Any]] = {
    "raft_small": {"input": ["3x128x128", "3x128x128"]},
    "raft_large": {"input": ["3x128x128", "3x128x128"]},
    "vit_h_14": {"input": "3x518x518", "init": ["image_size=518"], "loss": "cross_entropy", "classes": 1000},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--part", default="1/1")
    parser.add_argument("--memory", action="store_true", help="measure the memory of a training step, too")
    parser.add_argument("--timm", type=int, default=0, metavar="N", help="networks of timm instead")
    parser.add_argument("--limit", type=int, default=180, help="seconds per network")
    chosen = parser.parse_args()
    from dldoctor.facts.model.inside import runtime

    runtime.prepare()
    import torch
    from torchvision import models

    torch.set_num_threads(1)
    names = chosen.names or (of_timm(chosen.timm) if chosen.timm else sorted(models.list_models()))
    part, parts = map(int, chosen.part.split("/"))
    results = []
    for name in names[part - 1 :: parts]:
        result = in_a_fork(name, chosen.memory, chosen.limit)
        results.append(result)
        print(
            f"{name:36} {result['mode']:5} {result['seconds']:6.1f} s {result['mib']:6.0f} MiB "
            f"{result['madds'] / 1e9:8.2f} G {result['parameters'] / 1e6:8.2f} M  {result['said'] or '-'}",
            flush=True,
        )
    silent = sum(not result["said"] for result in results)
    seconds = sorted(result["seconds"] for result in results)
    print(f"{silent} of {len(results)} silent; median {seconds[len(seconds) // 2]:.1f} s, slowest {seconds[-1]:.1f} s")
    sys.exit(silent != len(results))


def of_timm(count: int) -> list[str]:
    """One network of each family, then others, as `timm:resnet18`."""
    import random

    import timm

    chance = random.Random(7)
    families: dict[str, list[str]] = {}
    for name in timm.list_models():
        families.setdefault(timm.models.model_entrypoint(name).__module__, []).append(name)
    chosen = [chance.choice(names) for _, names in sorted(families.items())]
    if count > len(chosen):
        rest = sorted(set(timm.list_models()) - set(chosen))
        chosen += chance.sample(rest, min(count - len(chosen), len(rest)))
    return [f"timm:{name}" for name in sorted(chance.sample(chosen, min(count, len(chosen))))]


def request_of(name: str, memory: bool) -> dict[str, Any]:
    """The options of `dldoctor model` for one network."""
    from torchvision import models

    if name.startswith("timm:"):
        import timm

        entry = timm.models.model_entrypoint(name.removeprefix("timm:"))
        sides = "x".join(map(str, timm.get_pretrained_cfg(name.removeprefix("timm:")).input_size))
        return {"target": f"{entry.__module__}:{entry.__name__}", "input": sides, "loss": "cross_entropy"}
    builder = models.get_model_builder(name)
    options: dict[str, Any] = {"target": f"{builder.__module__}:{builder.__name__}"}
    kind = builder.__module__.split(".")[2]
    if memory:
        options |= {"batch": 8, "gpu_memory": "1TB"}
    if name in SPECIAL or kind == "detection":
        return options | SPECIAL.get(name, DETECTION)
    transforms = next(iter(models.get_model_weights(name))).transforms()
    crop = getattr(transforms, "crop_size", [224])
    sides = "x".join(map(str, crop if len(crop) == 2 else crop * 2))
    if kind == "video":
        return options | {"input": f"3x16x{sides}", "loss": "cross_entropy", "classes": 400}
    if kind == "segmentation":
        return options | {"input": "3x224x224", "loss": "cross_entropy", "classes": 21}
    return options | {"input": f"3x{sides}", "loss": "cross_entropy", "classes": 1000}


def in_a_fork(name: str, memory: bool, limit: int) -> dict[str, Any]:
    """The result of one network; what happens to the fork is a result, too."""
    with tempfile.NamedTemporaryFile() as file:
        started = time.monotonic()
        child = os.fork()
        if child == 0:
            signal.alarm(limit)
            with open(os.devnull, "w") as nothing:
                os.dup2(nothing.fileno(), 1)
            try:
                Path(file.name).write_text(json.dumps(examined(name, memory)))
            except BaseException as error:
                Path(file.name).write_text(json.dumps({"said": f"{type(error).__name__}: {error}"}))
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        text = Path(file.name).read_text()
    empty = {"mode": "-", "mib": 0.0, "madds": 0, "parameters": 0}
    result = json.loads(text) if text else {"said": f"ended with status {status} after {limit} s"}
    return empty | result | {"seconds": time.monotonic() - started}


def examined(name: str, memory: bool) -> dict[str, Any]:
    import dldoctor.isolation
    from dldoctor import LayerTable, examine_model
    from dldoctor.facts.model.inside.examine import examine

    def here(task: str, arguments: Any, resources: Any, **_: Any) -> dldoctor.isolation.ChildRun:
        sent: dict[str, Any] = {}
        examine(arguments, lambda key, value: sent.__setitem__(key, json.loads(json.dumps(value))))
        return dldoctor.isolation.ChildRun(dldoctor.isolation.ChildEnd("done", ""), sent)

    dldoctor.isolation.run_child = here
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    report = examine_model(**request_of(name, memory))
    outcome = report.outcome
    table = next((fact for fact in outcome.facts if isinstance(fact, LayerTable)), None)
    said = [f"{entry.check.code} {entry.finding.message}" for entry in outcome.entries]
    said += [f"crash: {crash.what}: {crash.error}" for crash in outcome.crashes]
    return {
        "mode": table.mode if table else "-",
        "mib": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024,
        "madds": table.madds if table else 0,
        "parameters": table.parameters if table else 0,
        "said": "; ".join(said if table else [*said, "forward was not examined"])[:400],
    }


if __name__ == "__main__":
    main()
