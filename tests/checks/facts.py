"""Written facts for checks of the machine, of loaders and of short trainings, and the findings they give."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from dldoctor import Finding
from dldoctor.facts.live.items import Item, Items, Leaf
from dldoctor.facts.live.smoke import Overfit, Parameter, SmokeRun, Step
from dldoctor.facts.machine.gpu import Gpu, GpuDevices, GpuState, VisibleDevices
from dldoctor.facts.machine.packages import TorchInstall
from dldoctor.isolation import ChildEnd

GIB = 2**30
DONE = ChildEnd("done", "")

F = TypeVar("F")


def made(kind: type[F], standard: dict[str, Any], /, **changes: Any) -> F:
    return kind(**{**standard, **changes})


def found(check: Callable[..., Iterable[Finding]], *facts: Any) -> list[Finding]:
    return list(check(*facts))


def items(*pulled: tuple[Leaf, ...], **changes: Any) -> Items:
    """A DataLoader over these items (each its leaves) with the default collate, batches of four."""
    held = tuple(Item(index, f"({', '.join('_' * len(leaves))})", leaves) for index, leaves in enumerate(pulled))
    standard = {"kind": "DataLoader", "dataset": "Set", "length": len(pulled), "items": held, "failures": (),
                "collate": "default", "batch_size": 4, "drop_last": False, "workers": 0, "batch": (),
                "batch_failure": None, "seconds": 1.0, "end": DONE}  # fmt: skip
    return made(Items, standard, **changes)


def picture(*shape: int, path: str = "0", **changes: Any) -> Leaf:
    """A float picture of 0 to 1, channels first, unless changes say otherwise."""
    standard = {"path": path, "kind": "tensor", "shape": shape or (3, 40, 48), "dtype": "float32", "low": 0.0,
                "high": 1.0, "mean": (0.5,) * 3, "std": (0.2,) * 3, "channel_axis": 0}  # fmt: skip
    return made(Leaf, standard, **changes)


def number(dtype: str = "int64", path: str = "1", **changes: Any) -> Leaf:
    kind = {"int64": "int", "float64": "float", "str": "str"}.get(dtype, "array")
    return made(Leaf, {"path": path, "kind": kind, "dtype": dtype, "whole": True}, **changes)


def run(**changes: Any) -> SmokeRun:
    """A healthy short training of three classes."""
    steps = tuple(Step(1.1 - n / 50, 0.001, 0.01, 1.0) for n in range(30))
    standard = {"device": "cpu", "device_name": "CPU", "loss": "cross_entropy", "classes": 3, "optimizer": "adam",
                "learning_rate": 1e-3, "batch": 16, "workers": 0, "cores": 8, "own_step": False, "steps": steps,
                "parameters": (parameter(),), "non_finite": None,
                "overfit": (Overfit("adam", 1e-3, (1.1, 1.0, 0.9, 0.5), 1.0),), "spread": 0.4, "samples": 16,
                "leak": None, "updates": 30, "stale_updates": 0, "crash": None, "crash_layer": "",
                "peak_memory": None, "end": DONE}  # fmt: skip
    return made(SmokeRun, standard, **changes)


def parameter(name: str = "last.weight", **changes: Any) -> Parameter:
    standard = {"name": name, "elements": 96, "in_optimizer": True, "gradient": True, "changed": True, "called": True}
    return made(Parameter, standard, **changes)


def card(index: int = 0, free: float = 70, name: str = "H100", **changes: Any) -> Gpu:
    standard = {"index": index, "name": name, "uuid": f"GPU-{index}aaa", "total": 80 * GIB, "free": int(free * GIB)}
    return made(Gpu, standard, **changes)


def gpus(*cards: Gpu, cuda: tuple[int, int] = (13, 0)) -> GpuState:
    return GpuState("580.65", cuda, cards or (card(),))


def visible(value: str | None = None) -> VisibleDevices:
    return VisibleDevices(value)


def devices(pci: int = 1, nodes: int = 1, driver: bool = True) -> GpuDevices:
    return GpuDevices(
        tuple(f"0000:0{n}:00.0" for n in range(pci)), tuple(f"/dev/nvidia{n}" for n in range(nodes)), driver
    )


def torch(**changes: Any) -> TorchInstall:
    standard = {"python": "3.12.3", "torch": "2.15.0+cu130", "built_for": "13.0", "backend": "", "cuda_available": True,
                "cuda_error": "", "architectures": ("sm_90",), "torchvision": "0.29.0+cu130", "torchvision_error": "",
                "torchvision_wants": "2.15.0"}  # fmt: skip
    return made(TorchInstall, standard, **changes)
