"""torch, made ready to look at networks: no initialisation, no downloads, no compiler, cuda played by the CPU."""

from __future__ import annotations

import contextlib
import importlib
import importlib.machinery
import importlib.util
import logging
import os
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

#: stands in the `__dict__` of a module into which weights were loaded
LOADED = "_dldoctor_loaded"


class _Postponed(types.ModuleType):
    """A package whose `__init__` runs when something of it is really used; its submodules import as ever."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        # a decorator that torch's own modules apply while they are imported, and what an optimizer calls at each step
        if name in ("disable", "graph_break"):
            return _identity
        if importlib.util.find_spec(f"{self.__name__}.{name}") is not None:
            raise AttributeError(name)  # `from package import submodule` then imports it
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


def _identity(function: Any = None, *_: Any, **__: Any) -> Any:
    return function if function is not None else _identity


def prepare(*, compiler: bool = False) -> None:
    """Import torch the quick way: its compiler's package is a second of start-up that only an export needs."""
    os.environ.setdefault("PYTORCH_JIT", "0")
    os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")
    import torch

    if not compiler and "torch._dynamo" not in sys.modules:
        _postpone_compiler(torch)
    logging.getLogger("torch._subclasses.fake_tensor").setLevel(logging.CRITICAL + 1)
    torch.compile = _identity  # type: ignore[assignment]  # patched on purpose
    torch.nn.Module.compile = lambda self, *_, **__: None  # type: ignore[method-assign]  # patched on purpose
    torch.backends.mha.set_fastpath_enabled(False)
    torch.hub.load_state_dict_from_url = lambda *_, **__: NoWeights()
    load = torch.nn.Module.load_state_dict

    def load_state_dict(self: Any, state: Any, *args: Any, **kwargs: Any) -> Any:
        self.__dict__[LOADED] = True
        if isinstance(state, NoWeights):
            return torch.nn.modules.module._IncompatibleKeys([], [])
        return load(self, state, *args, **kwargs)

    torch.nn.Module.load_state_dict = load_state_dict  # type: ignore[method-assign,assignment]  # patched on purpose


def _postpone_compiler(torch: Any) -> None:
    folder = os.path.join(os.path.dirname(torch.__file__), "_dynamo")
    stand_in = _Postponed("torch._dynamo")
    stand_in.__path__ = [folder]
    stand_in.__file__ = os.path.join(folder, "__init__.py")
    stand_in.__spec__ = importlib.machinery.ModuleSpec("torch._dynamo", None, is_package=True)
    sys.modules["torch._dynamo"] = stand_in
    try:
        from torch._subclasses.fake_tensor import FakeTensorMode

        mode = FakeTensorMode(allow_non_fake_inputs=True)
        with mode:
            mode.from_tensor(torch.empty(2, 2)).sum()
    except Exception:  # another torch, other imports: the real package it is
        for name in [name for name in sys.modules if name.split(".")[:2] == ["torch", "_dynamo"]]:
            del sys.modules[name]


class NoWeights(dict[str, Any]):
    """Stands for weights that would have to be downloaded: the shapes are known without them."""

    def pop(self, key: str, *default: Any) -> Any:
        return None

    def __missing__(self, key: str) -> NoWeights:
        return NoWeights()


@contextlib.contextmanager
def uninitialised() -> Iterator[None]:
    """Parameters are made without being filled: memory that is never touched costs nothing."""
    import torch

    timm = sys.modules.get("timm.models._builder")
    patches: list[tuple[Any, str, Any]] = [
        (torch.nn.init, name, _first_argument)
        for name in dir(torch.nn.init)
        if name.endswith("_") and not name.startswith("_")
    ]
    patches += [
        (torch.nn.init, name, _first_argument) for name in ("_no_grad_trunc_normal_",) if hasattr(torch.nn.init, name)
    ]
    if timm is not None:
        patches.append((timm, "load_pretrained", lambda *_, **__: None))
    for owner, name, _ in list(patches):  # those who imported them by name
        original = getattr(owner, name)
        for module in list(sys.modules.values()):
            if module is not owner and getattr(module, "__dict__", {}).get(name) is original:
                patches.append((module, name, _first_argument))
    patches += [(torch.Tensor, name, _first_argument) for name in ("normal_", "uniform_", "erfinv_")]
    with _patched(patches):
        yield


def _first_argument(tensor: Any = None, *_: Any, **kwargs: Any) -> Any:
    return tensor if tensor is not None else kwargs.get("tensor")


@contextlib.contextmanager
def patched(owner: Any, name: str, value: Callable[..., Any]) -> Iterator[None]:
    """Replace one attribute for a while."""
    with _patched([(owner, name, value)]):
        yield


@contextlib.contextmanager
def _patched(patches: list[tuple[Any, str, Any]]) -> Iterator[None]:
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in patches]
    for owner, name, value in patches:
        setattr(owner, name, value)
    try:
        yield
    finally:
        for owner, name, value in reversed(before):
            setattr(owner, name, value)
