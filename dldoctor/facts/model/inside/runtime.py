"""torch, made ready to look at networks: no initialisation, no downloads, no compiler, cuda played by the CPU."""

from __future__ import annotations

import contextlib
import functools
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


class Initialisation:
    """Fills parameters as their making asks, up to a number of entries; from there on they are made without being
    filled: memory that is never touched costs nothing."""

    #: entries that are filled in half a second
    LIMIT = 64_000_000
    #: as many entries take the time of this many rows of an orthogonal matrix
    ORTHOGONAL = 22

    def __init__(self, limit: int = LIMIT) -> None:
        self.left = limit
        self._filling = False

    @property
    def complete(self) -> bool:
        """Whether everything that asked was filled."""
        return self.left >= 0

    def limited(self, initialiser: Callable[..., Any]) -> Callable[..., Any]:
        """The initialiser, or one that leaves its tensor as it is once the limit is reached."""

        @functools.wraps(initialiser)
        def fill(*args: Any, **kwargs: Any) -> Any:
            tensor = args[0] if args else kwargs.get("tensor", kwargs.get("self"))
            if self._filling:  # what one initialiser asks of another is counted already
                return initialiser(*args, **kwargs)
            self.left -= self._cost(tensor, initialiser)
            if self.left < 0:
                return tensor
            self._filling = True
            try:
                return initialiser(*args, **kwargs)
            finally:
                self._filling = False

        return fill

    def _cost(self, tensor: Any, initialiser: Callable[..., Any]) -> int:
        entries = int(tensor.numel()) if hasattr(tensor, "numel") else 0
        if getattr(initialiser, "__name__", "") == "orthogonal_" and tensor.dim() > 1:
            rows = int(tensor.shape[0])
            return entries * max(1, min(rows, entries // max(1, rows)) // self.ORTHOGONAL)
        return entries

    @contextlib.contextmanager
    def limiting(self) -> Iterator[None]:
        """Every initialiser goes through here while this lasts."""
        import torch

        timm = sys.modules.get("timm.models._builder")
        patches: list[tuple[Any, str, Any]] = [
            (torch.nn.init, name, self.limited(getattr(torch.nn.init, name)))
            for name in dir(torch.nn.init)
            if (name.endswith("_") and not name.startswith("_")) or name == "_no_grad_trunc_normal_"
        ]
        for owner, name, limited in list(patches):  # those who imported them by name
            original = getattr(owner, name)
            patches += [
                (module, name, limited)
                for module in list(sys.modules.values())
                if module is not owner and getattr(module, "__dict__", {}).get(name) is original
            ]
        if timm is not None:
            patches.append((timm, "load_pretrained", lambda *_, **__: None))
        patches += [
            (torch.Tensor, name, self.limited(getattr(torch.Tensor, name)))
            for name in ("normal_", "uniform_", "erfinv_")
        ]
        with _patched(patches):
            yield


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
