"""PySnooper over the forward that fails: every line and every change of a local variable."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from dldoctor.facts.model.inside import passes
from dldoctor.facts.model.inside.inputs import Spec
from dldoctor.facts.model.inside.places import users

#: characters kept, the last ones: the failure stands at the end
LONGEST = 60_000


def record(net: torch.nn.Module, specs: Sequence[Spec], done: passes.Pass, package: str) -> str:
    """The trace of the innermost of the user's forwards around the first fault; shapes in place of values."""
    import importlib.util

    spec = importlib.util.spec_from_file_location(
        "pysnooper", Path(package, "__init__.py"), submodule_search_locations=[package]
    )
    if spec is None or spec.loader is None:
        return ""
    pysnooper = importlib.util.module_from_spec(spec)
    sys.modules["pysnooper"] = pysnooper
    spec.loader.exec_module(pysnooper)
    module = _owner(net, done)
    out = io.StringIO()
    kinds = ((torch.Tensor, _shape), (torch.nn.Module, lambda module: f"{type(module).__name__}(...)"))
    plain = type(module).forward
    type(module).forward = pysnooper.snoop(out, custom_repr=kinds, color=False, normalize=True)(plain)
    try:
        passes.run(net, specs, done.rec.batch, fake=done.mode == "fake", training=done.training, repair=False)
    finally:
        type(module).forward = plain
    return out.getvalue()[-LONGEST:]


def _owner(net: torch.nn.Module, done: passes.Pass) -> torch.nn.Module:
    """The innermost module around the first fault whose forward is the user's own."""
    paths = [fault.layer for fault in done.rec.shapes] + [fault.layer for fault in done.rec.faults]
    path = paths[0] if paths else done.rec.raised[1] if done.rec.raised else ""
    modules = dict(net.named_modules())
    while path:
        module = modules.get(path)
        if module is not None and users(type(module).forward.__code__.co_filename):
            return module  # type: ignore[no-any-return]  # users() is cached, which loses its type
        path = path.rpartition(".")[0]
    return net


def _shape(tensor: torch.Tensor) -> str:
    return f"tensor [{', '.join(str(int(side)) for side in tensor.shape)}] {str(tensor.dtype).removeprefix('torch.')}"
