"""Torch and its companions as installed: versions from their metadata, and what torch says of CUDA, in a child."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from dldoctor.fact import Fact, Unavailable
from dldoctor.facts.subjects import Machine
from dldoctor.resources import Resources

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class TorchInstall(Fact):
    """What the interpreter that trains has: versions, and how torch's CUDA answers."""

    waiting_for: ClassVar[str] = "torch to import"

    python: str
    torch: str
    #: the CUDA that this torch was built with; None for a CPU build (or another backend)
    built_for: str | None
    #: the backend otherwise built for: "rocm", "xpu" or ""
    backend: str
    cuda_available: bool
    #: torch's words when CUDA is not available
    cuda_error: str
    #: compute capabilities with machine code in this build, like sm_90
    architectures: tuple[str, ...]
    torchvision: str | None
    #: what `import torchvision` raised
    torchvision_error: str
    #: torch that this torchvision's metadata asks for, such as "2.15.0"
    torchvision_wants: str | None

    @property
    def said(self) -> str:
        return f"torch {self.torch}"

    @classmethod
    def gather(cls, machine: Machine, resources: Resources) -> Self:
        from dldoctor.isolation import run_child

        run = run_child("dldoctor.facts.machine.packages:inspect", {}, resources, limit_private_memory=False)
        if "torch" in run.facts and run.facts["torch"] is None:
            raise Unavailable("torch is not installed for this interpreter (--python)")
        if "install" not in run.facts:
            raise Unavailable(f"torch can't be imported: {run.end.detail or run.end.output.strip()[-200:]}")
        plain = run.facts["install"]
        return cls(**{**plain, "architectures": tuple(plain["architectures"])})


def inspect(arguments: dict[str, Any], send: Callable[[str, Any], None]) -> None:
    """Child side: import torch and torchvision and say what they say."""
    import importlib.util
    import platform
    import warnings
    from importlib.metadata import PackageNotFoundError, requires, version

    if importlib.util.find_spec("torch") is None:
        send("torch", None)
        return
    import torch

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        available = torch.cuda.is_available()
        error = " ".join(str(warning.message) for warning in said)
    if not available and torch.version.cuda and not error:
        try:
            torch.cuda.init()  # type: ignore[no-untyped-call]  # torch has no types here
        except (RuntimeError, AssertionError) as refused:
            error = str(refused).splitlines()[0]
    found: dict[str, Any] = {"torchvision": None, "torchvision_error": "", "torchvision_wants": None}
    try:
        found["torchvision"] = version("torchvision")
        wanted = [line for line in requires("torchvision") or () if line.replace(" ", "").startswith("torch==")]
        found["torchvision_wants"] = wanted[0].partition("==")[2].split(";")[0].strip() if wanted else None
        import torchvision  # noqa: F401  # its import is the test
    except PackageNotFoundError:
        pass
    except Exception as refused:
        found["torchvision_error"] = f"{type(refused).__name__}: {refused}".splitlines()[0]
    backend = "rocm" if torch.version.hip else "xpu" if getattr(torch.version, "xpu", None) else ""
    send("install", {
        "python": platform.python_version(), "torch": torch.__version__, "built_for": torch.version.cuda,
        "backend": backend, "cuda_available": available, "cuda_error": error,
        "architectures": torch.cuda.get_arch_list() if torch.version.cuda else [], **found,
    })  # fmt: skip
