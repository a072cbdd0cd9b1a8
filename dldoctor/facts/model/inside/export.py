"""torch.export, tried on the network as it is."""

from __future__ import annotations

import contextlib
import io
import linecache
import logging
import re
import warnings
from collections.abc import Sequence

import torch
from torch._subclasses.fake_tensor import FakeTensor

from dldoctor.facts.model.inside.functions import OnCpu
from dldoctor.facts.model.inside.inputs import Spec, tensors
from dldoctor.facts.model.records.export import Export
from dldoctor.facts.model.records.forward import Place
from dldoctor.facts.user_code import is_users, shorten, user_frames

#: 1 would be taken for a constant
_BATCH = 2
_FRAME = re.compile(r'File "(.+?)", line (\d+), in ')


def run(net: torch.nn.Module, specs: Sequence[Spec]) -> Export | None:
    """The export of the network in evaluation mode; None where it was made without memory."""
    if any(isinstance(tensor, FakeTensor) for tensor in (*net.parameters(), *net.buffers())):
        return None
    modes = {module: module.training for module in net.modules()}
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)  # it logs every refusal at length
    net.eval()
    try:
        with OnCpu(), warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            args, kwargs = tensors(specs, _BATCH, values=True)
            torch.export.export(net, tuple(args), kwargs)
    except Exception as error:
        return _described(error)
    finally:
        logger.setLevel(level)
        for module, training in modes.items():
            module.training = training
    return Export("", "", None)


def _described(error: Exception) -> Export:
    text = str(error).strip()
    first = re.split(r"\n|\(unhinted|(?<=\w)\.\s", text)[0].strip() if text else ""
    kind = ""
    if "DataDependent" in type(error).__name__ or "data-dependent" in text:
        kind = "values"
    elif ".numpy()" in text or "numpy" in first.lower():
        kind = "numpy"
    elif "in output, which is not a known type" in text:
        kind = "output"
    return Export(f"{type(error).__name__}: {first[:200]}", kind, _place(error, text) if kind != "output" else None)


def _place(error: Exception, text: str) -> Place | None:
    """The innermost line of the user's, in the message where torch says it there, else in the traceback."""
    said = [(path, int(line)) for path, line in _FRAME.findall(text) if is_users(path)]
    frames = [(frame["path"], frame["line"]) for frame in user_frames(error.__traceback__)]
    for path, line in (*said[-1:], *frames[-1:]):
        return Place(shorten(path), line, linecache.getline(path, line).rstrip("\n"))
    return None
