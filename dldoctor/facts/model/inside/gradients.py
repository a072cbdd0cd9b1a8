"""Parameters that want gradients and get none: never used, used for nothing, or cut off."""

from __future__ import annotations

import itertools
import os
import re
import sys
import types
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from torch import nn

from dldoctor.facts.model.inside import places
from dldoctor.facts.model.inside.flow import Node
from dldoctor.facts.model.inside.recorder import Recorder, what
from dldoctor.facts.model.inside.runtime import LOADED
from dldoctor.facts.model.records.forward import Place
from dldoctor.facts.model.records.graph import State, Untrained

_CONTAINERS = (nn.ModuleList, nn.ModuleDict, nn.Sequential, nn.ParameterList, nn.ParameterDict)
#: operations that ask for a shape or a question's answer: they cut nothing that anyone would train through
_ASKS = re.compile(r"is|new_|\w+_like$|_?has|dim|ndim|shape|stride|element_size|__len__|__contains__|equal|allclose")
#: the ways to cut that a writer writes down; others follow from what an operation gives
_WRITTEN = ("no_grad", "detach", "detach_", "data", "numpy", "item", "tolist")
_FROZEN_NAME = re.compile(r"teacher|target|ema\b|_ema|ema_|momentum|frozen|fixed|pretrain|key_enc|_k\b|\bold|\bref\b")
#: files of the user's in which an attribute's name is looked for
_FILES = 300
_SHOWN = 8


def untrained(net: nn.Module, rec: Recorder, modes: Mapping[int, bool]) -> tuple[Untrained, ...] | None:
    """By their causes; None where the outputs hide what they hold. `modes` are the training flags after the build."""
    flow = rec.flow
    modules = dict(net.named_modules())
    without: dict[State, dict[str, int]] = {"unused": {}, "dropped": {}}
    blocked: dict[tuple[str, Place | None], dict[str, int]] = {}
    for key, name, weights, storage in flow.parameters:
        if key in flow.reached or storage in flow.written or name in flow.replaced:
            continue
        users = flow.users.get(key, [])
        if not users:
            without["unused"][name] = weights
            continue
        cut = _cut(users)
        if cut is None:
            without["dropped"][name] = weights
        else:
            blocked.setdefault((cut.cut if not cut.checkpointed else "checkpoint", cut.at), {})[name] = weights
    found = []
    for state, names in without.items():
        if state == "dropped" and (not flow.known or any(m._forward_hooks for m in modules.values())):
            continue
        found += [
            _record(state, modules, holder, group)
            for holder, group in _by_holder(modules, names)
            if state == "dropped" or not _may_be_used(modules, holder, rec)
        ]
    if flow.known:
        for (cut_by, at), names in blocked.items():
            holder = _common(names)
            meant = _meant(modules, holder, names, rec, modes)
            found.append(_record("blocked", modules, holder, names, cut_by, at, meant))
    elif not found:
        return None
    return tuple(found)


def _record(
    state: State,
    modules: Mapping[str, nn.Module],
    holder: str,
    names: Mapping[str, int],
    cut: str = "",
    at: Place | None = None,
    meant: str = "",
) -> Untrained:
    module = modules.get(holder)
    owner = module if module is not None else modules[holder.rpartition(".")[0]]
    made = places.made_at(owner) if module is not None else places.assigned_at(owner, holder.rpartition(".")[2])
    shown = "Parameter" if module is None else what(module) if not module._modules else type(module).__name__
    return Untrained(state, holder, shown, tuple(names)[:_SHOWN], len(names), sum(names.values()), made, cut, at, meant)


def _cut(users: Iterable[Node]) -> Node | None:
    """The operation behind these at which the gradient ends."""
    todo = list(users)
    seen, cuts = set(map(id, todo)), []
    while todo:
        node = todo.pop()
        if node.cut:
            if not _ASKS.match(node.cut):
                cuts.append(node)
            continue
        for following in node.consumers:
            if id(following) not in seen:
                seen.add(id(following))
                todo.append(following)
    return min(cuts, key=lambda node: node.cut not in _WRITTEN, default=None)


# --- the modules around parameters ---


def _by_holder(modules: Mapping[str, nn.Module], names: Mapping[str, int]) -> list[tuple[str, dict[str, int]]]:
    """The parameters by the topmost module all of whose trainable parameters are among them, else by themselves."""
    groups: dict[str, dict[str, int]] = {}
    whole: dict[str, bool] = {}

    def is_whole(path: str) -> bool:
        if path not in whole:
            dot = f"{path}." if path else ""
            own = [dot + name for name, p in modules[path].named_parameters() if p.requires_grad]
            whole[path] = bool(path) and all(name in names for name in own)
        return whole[path]

    for name, weights in names.items():
        holder = name
        while (above := holder.rpartition(".")[0]) and is_whole(above):
            holder = above
        groups.setdefault(holder, {})[name] = weights
    return list(groups.items())


def _common(names: Iterable[str]) -> str:
    """The innermost module that holds them all; the name itself for one alone."""
    columns = zip(*(name.split(".")[:-1] for name in names), strict=False)
    return ".".join(column[0] for column in itertools.takewhile(lambda column: len(set(column)) == 1, columns))


def _meant(
    modules: Mapping[str, nn.Module], holder: str, names: Mapping[str, int], rec: Recorder, modes: Mapping[int, bool]
) -> str:
    if not holder:
        tops = {name.partition(".")[0] for name in names}
        return "named" if all(_FROZEN_NAME.search(top) for top in tops) else ""
    module = modules[holder]
    owners = [modules[name.rpartition(".")[0]] for name in names]
    around = [modules[holder[:i]] for i in range(1, len(holder) + 1) if i == len(holder) or holder[i] == "."]
    if has_twin(modules, holder, {name for key, name, _, _ in rec.flow.parameters if key in rec.flow.reached}):
        return "twin"
    if _FROZEN_NAME.search(holder.lower()):
        return "named"
    if any(vars(m).get(LOADED) for m in (*around, *module.modules())):
        return "loaded"
    if any(not modes.get(id(m), True) for m in around):
        return "eval"
    if not any(places.is_made_by_user(owner) or is_users_class(type(owner)) for owner in owners):
        return "library"
    return ""


def has_twin(modules: Mapping[str, nn.Module], path: str, trained: set[str]) -> bool:
    """Whether another module of the same build is trained, as beside a teacher that follows it."""
    own = _build(modules[path])
    return any(
        _build(other) == own and any(f"{at}.{name}" in trained for name, _ in own)
        for at, other in modules.items()
        if at and other is not modules[path] and type(other) is type(modules[path])
    )


def _build(module: nn.Module) -> list[tuple[str, tuple[int, ...]]]:
    return [(name, tuple(p.shape)) for name, p in module.named_parameters() if not nn.parameter.is_lazy(p)]


def is_users_class(kind: type) -> bool:
    """Whether a class stands in the user's own source."""
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    return bool(file) and places.users(file)


# --- whether something beside this forward uses it ---


def _may_be_used(modules: Mapping[str, nn.Module], holder: str, rec: Recorder) -> bool:
    """Whether an unused attribute's name turns up where another run may use it: a branch not taken, another method."""
    above, _, attribute = holder.rpartition(".")
    owner = modules[above]
    if isinstance(owner, _CONTAINERS) or any(m._forward_pre_hooks for m in modules.values()):
        return True  # one expert of several, one of many heads
    was_called = id(owner) in rec.flow.calls
    for kind in type(owner).__mro__:
        if kind in (nn.Module, object):
            continue
        for name, function in _functions(kind):
            if name == "__init__" or (not was_called and _is_forward(name)):
                continue
            names = _names_in(function)
            if attribute in names or "getattr" in names or "__dict__" in names or "named_parameters" in names:
                return True
    return _is_named_in_source(attribute)


def _is_forward(name: str) -> bool:
    return name.lstrip("_").startswith(("forward", "init", "reset_parameters"))


def _functions(kind: type) -> Iterator[tuple[str, types.CodeType]]:
    for name, value in vars(kind).items():
        for function in (value, *(getattr(value, part, None) for part in ("__func__", "fget", "fset", "__wrapped__"))):
            if isinstance(function, types.FunctionType):
                yield name, function.__code__


def _names_in(code: types.CodeType) -> set[str]:
    names = {*code.co_names, *(const for const in code.co_consts if isinstance(const, str))}
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            names |= _names_in(const)
    return names


def _is_named_in_source(attribute: str) -> bool:
    """Whether the user's sources read `something.attribute`, something other than a constructor's own self."""
    read = re.compile(
        rf"(?<!\bself)\.{re.escape(attribute)}\b(?!\s*(?::[^=\n]+)?=(?!=))|[\"']{re.escape(attribute)}[\"']"
    )
    files = []
    for folder, below, names in os.walk("."):
        below[:] = [name for name in below if not name.startswith(".") and name not in ("venv", "site-packages")]
        files += [Path(folder, name) for name in names if name.endswith(".py")]
        if len(files) > _FILES:
            break
    for file in files[:_FILES]:
        try:
            text = file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        if any(read.search(line.partition("#")[0]) for line in text.splitlines()):
            return True
    return False
