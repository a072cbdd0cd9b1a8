"""Child side: what watches a step without changing it: graph sentinels, stale gradients, the first NaN."""

from __future__ import annotations

import ast
import gc
import sys
import types
import weakref
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import torch

from dldoctor.facts.user_code import is_users, shorten

_KEY = "dldoctor_step"
#: objects looked at below one variable
_LOOKED_AT = 20_000


class Sentinel:
    """Lives in the metadata of an autograd node, and so exactly as long as the node."""

    __slots__ = ("__weakref__", "step")

    def __init__(self, step: int) -> None:
        self.step = step


class GraphWatch:
    """Knows which steps' graphs are still alive."""

    def __init__(self) -> None:
        self.alive: list[weakref.ref[Sentinel]] = []
        self.step = 0

    def mark(self, loss: torch.Tensor) -> None:
        """Put a sentinel into the graph of a loss; costs microseconds, copies nothing."""
        if loss.grad_fn is not None:
            sentinel = Sentinel(self.step)
            metadata: Any = loss.grad_fn.metadata  # a dict; torch's annotation says a method
            metadata[_KEY] = sentinel
            self.alive.append(weakref.ref(sentinel))

    def mark_all(self, output: Any) -> None:
        """Mark every tensor of a model's output."""
        if isinstance(output, torch.Tensor):
            self.mark(output)
        elif isinstance(output, Mapping):
            self.mark_all(list(output.values()))
        elif isinstance(output, (tuple, list)):
            for part in output:
                self.mark_all(part)

    def old(self, age: int = 8) -> set[int]:
        """Steps at least `age` old whose graphs live."""
        found = {sentinel.step for ref in self.alive if (sentinel := ref()) is not None}
        return {step for step in found if step <= self.step - age}


@contextmanager
def marked_backward(watch: GraphWatch) -> Iterator[None]:
    """Mark every loss on which `backward` is called."""
    original = torch.Tensor.backward

    def backward(self: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        watch.mark(self)
        return original(self, *args, **kwargs)  # type: ignore[no-untyped-call]  # torch has no types here

    torch.Tensor.backward = backward  # type: ignore[method-assign]  # taken back below
    try:
        yield
    finally:
        torch.Tensor.backward = original  # type: ignore[method-assign]  # put back


def holder_of(roots: Mapping[str, Any], old: set[int]) -> tuple[str, int]:
    """(name, how many old steps it reaches) of the user's variable that keeps old graphs alive; ("", 0) if none."""
    best = ("", 0)
    for name, value in roots.items():
        for path, tensor_steps in _reached(name, value, depth=6, seen=set()):
            count = len(tensor_steps & old)
            if count > best[1]:
                best = (path, count)
    return best


def _reached(path: str, value: Any, depth: int, seen: set[int]) -> Iterator[tuple[str, set[int]]]:
    if id(value) in seen or len(seen) > _LOOKED_AT:
        return
    seen.add(id(value))
    if isinstance(value, torch.Tensor):
        if value.grad_fn is not None:
            yield path, _steps_behind(value)
    elif depth == 0:
        return
    elif isinstance(value, Mapping):
        for key, part in list(value.items())[-200:]:
            yield from _reached(f"{path}[{key!r}]", part, depth - 1, seen)
    elif isinstance(value, (list, tuple, set, deque)):
        if isinstance(value, deque) and value.maxlen is not None:
            return  # bounded on purpose
        together: set[int] = set()
        for part in list(value)[-200:]:
            for _, steps in _reached(path, part, depth - 1, seen):
                together |= steps
        yield path, together
    elif hasattr(value, "__dict__") and not isinstance(value, (type, types.ModuleType, types.FunctionType)):
        for key, part in list(vars(value).items()):
            yield from _reached(f"{path}.{key}", part, depth - 1, seen)


def _steps_behind(tensor: torch.Tensor, most: int = 20_000) -> set[int]:
    found: set[int] = set()
    queue: deque[Any] = deque([tensor.grad_fn])
    seen: set[Any] = set()
    while queue and len(seen) < most:
        node = queue.popleft()
        if node is None or node in seen:
            continue
        seen.add(node)
        sentinel = node.metadata.get(_KEY)
        if sentinel is not None:
            found.add(sentinel.step)
        queue.extend(following for following, _ in node.next_functions)
    return found


def user_globals() -> dict[str, Any]:
    """The variables of the user's modules, as `name` -> value."""
    found: dict[str, Any] = {}
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if file and is_users(file):
            for name, value in list(vars(module).items()):
                if name.startswith("__"):
                    continue
                found[name] = value
                if isinstance(value, types.FunctionType):
                    found |= _kept_by(value)
                elif isinstance(value, type) and value.__module__ == module.__name__:
                    found |= {f"{name}.{key}": part for key, part in vars(value).items() if not key.startswith("__")}
    return found


def _kept_by(function: types.FunctionType) -> dict[str, Any]:
    """The variables that live in a function: of its closure, and its parameters' defaults."""
    found: dict[str, Any] = {}
    for variable, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with suppress(ValueError):  # not filled yet
            found[variable] = cell.cell_contents
    defaults = function.__defaults__ or ()
    names = function.__code__.co_varnames[: function.__code__.co_argcount][-len(defaults) or None :]
    return found | (dict(zip(names, defaults, strict=True)) if defaults else {})


def all_bounded(old: set[int]) -> bool:
    """Whether nothing but deques with a maxlen holds the tensors behind these steps."""
    kept = [value for value in gc.get_objects() if issubclass(type(value), torch.Tensor)]
    kept = [value for value in kept if value.grad_fn is not None and _steps_behind(value) & old]
    return bool(kept) and all(_in_bounded(value) for value in kept)


def _in_bounded(value: Any, depth: int = 2) -> bool:
    for holder in gc.get_referrers(value):
        if isinstance(holder, deque) and holder.maxlen is not None:
            return True
        # such as a tuple of a loss and its weight
        if depth and type(holder) in (tuple, dict) and _in_bounded(holder, depth - 1):
            return True
    return False


def growing_line(holder: str) -> tuple[str, int, str] | None:
    """(path, line, text) of the user's statement that makes the holder grow: `x += ...`, `x = x + ...`, `.append`."""
    name = holder.partition("[")[0].rpartition(".")[2]
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if not file or not is_users(file) or not file.endswith(".py"):
            continue
        try:
            with open(file, "rb") as source:
                text = source.read()
            tree = ast.parse(text)
        except (OSError, SyntaxError, ValueError):
            continue
        for node in ast.walk(tree):
            if _grows(node, name):
                line: int = node.lineno  # type: ignore[attr-defined]  # statements and calls have one
                return shorten(file), line, text.decode("utf-8", "replace").splitlines()[line - 1]
    return None


def _grows(node: ast.AST, name: str) -> bool:
    def is_it(target: ast.expr) -> bool:
        if isinstance(target, ast.Subscript):
            return is_it(target.value)
        return (isinstance(target, ast.Name) and target.id == name) or (
            isinstance(target, ast.Attribute) and target.attr == name
        )

    if isinstance(node, ast.AugAssign):
        return is_it(node.target)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        grown = node.func.attr in ("append", "extend", "add", "insert", "appendleft") and is_it(node.func.value)
        return grown and not any(_is_number(argument) for argument in node.args)
    if isinstance(node, ast.Assign) and isinstance(node.value, ast.BinOp):
        return any(is_it(target) for target in node.targets) and any(
            is_it(side) for side in (node.value.left, node.value.right)
        )
    return False


def _is_number(value: ast.expr) -> bool:
    """`loss.item()`, `float(loss)`: kept without its graph."""
    if not isinstance(value, ast.Call):
        return False
    name = value.func.attr if isinstance(value.func, ast.Attribute) else getattr(value.func, "id", "")
    return name in ("item", "detach", "tolist", "float")


class UpdateWatch:
    """Counts optimizer steps that started from the gradients that the step before already used."""

    def __init__(self) -> None:
        self.updates = 0
        self.stale = 0
        #: ids of the parameters that any optimizer stepped on
        self.optimized: set[int] = set()
        self._used: dict[int, list[tuple[weakref.ref[torch.Tensor], torch.Tensor]]] = {}
        #: by optimizer, since its last step: whether its used gradients were met again, whether they were met emptied
        self._met: dict[int, tuple[bool, bool]] = {}

    def after_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Judge the step by what was seen since the one before; remember a few small gradients, as they were used."""
        self.updates += 1
        again, emptied = self._met.pop(id(optimizer), (False, False))
        self.stale += again and not emptied
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self.optimized |= {id(p) for p in parameters}
        small = sorted((p for p in parameters if p.grad is not None), key=lambda p: p.numel())[:4]
        self._used[id(optimizer)] = [(weakref.ref(p), p.grad.detach().clone()) for p in small]

    def before_backward(self) -> None:
        """Are the gradients that a step used still there, or were they emptied? Another optimizer's turn may lie
        between a step and its zero_grad."""
        for key, used in self._used.items():
            now = [(p.grad, gradient) for ref, gradient in used if (p := ref()) is not None and bool(gradient.any())]
            if now:
                again, emptied = self._met.get(key, (False, False))
                again |= all(grad is not None and torch.equal(grad, gradient) for grad, gradient in now)
                emptied |= all(grad is None or not bool(grad.any()) for grad, _ in now)
                self._met[key] = (again, emptied)


@contextmanager
def before_backward(updates: UpdateWatch) -> Iterator[None]:
    """Tell the update watch about each backward before it runs."""
    original = torch.autograd.backward

    def backward(*args: Any, **kwargs: Any) -> None:
        updates.before_backward()
        original(*args, **kwargs)

    torch.autograd.backward = backward
    try:
        yield
    finally:
        torch.autograd.backward = original


def broken_gradient(parameters: Mapping[str, torch.Tensor]) -> str | None:
    """The last parameter, in the order of the layers, whose gradient is not finite: what made it lies behind it."""
    broken = [name for name, p in parameters.items() if p.grad is not None and not finite(p.grad)]
    return broken[-1] if broken else None


def first_non_finite(model: torch.nn.Module, run: Any) -> dict[str, Any] | None:
    """Run `run()` with hooks on every module; the first whose output is not finite, with the range that went in."""
    found: list[dict[str, Any]] = []
    names = {id(module): name for name, module in model.named_modules()}

    def hook(module: torch.nn.Module, inputs: Any, output: Any) -> None:
        if found or any(True for _ in module.children()) or finite(output):
            return
        first = next((value for value in inputs if isinstance(value, torch.Tensor) and value.is_floating_point()), None)
        usable = first is not None and first.numel() > 0 and finite(first)
        found.append({
            "what": "output", "layer": names.get(id(module), type(module).__name__), "type": type(module).__name__,
            "low": float(first.min()) if usable and first is not None else None,
            "high": float(first.max()) if usable and first is not None else None,
        })  # fmt: skip

    handles = [
        module.register_forward_hook(hook)
        for module in model.modules()
        if not isinstance(module, torch.jit.ScriptModule)  # takes no hooks
    ]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else None


def finite(value: Any) -> bool:
    """Whether all floating values inside a tensor or nesting of tensors are finite."""
    if isinstance(value, torch.Tensor):
        return not value.is_floating_point() or bool(torch.isfinite(value).all())
    if isinstance(value, Mapping):
        return all(finite(part) for part in value.values())
    if isinstance(value, (tuple, list)):
        return all(finite(part) for part in value)
    return True
