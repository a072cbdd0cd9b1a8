"""Activation checkpointing tried on: which blocks repeat, and the network with each of them checkpointed."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

_CONTAINERS = (torch.nn.ModuleList, torch.nn.ModuleDict, torch.nn.Sequential)


@dataclass(frozen=True)
class Blocks:
    """Parts of a network that can be checkpointed one by one."""

    modules: tuple[torch.nn.Module, ...]
    #: "16 Bottleneck blocks"
    words: str
    #: for one flat Sequential: into how many pieces it is cut
    pieces: int = 0


def find(net: torch.nn.Module, held: Mapping[str, int]) -> Blocks | None:
    """The repeated blocks that hold most of what forward keeps (`held`: bytes by layer); None where nothing repeats."""
    kinds: dict[type, list[tuple[str, torch.nn.Module]]] = {}
    for path, module in net.named_modules():
        if path and module._modules and type(module) not in _CONTAINERS:
            kinds.setdefault(type(module), []).append((path, module))
    best, most = None, 0
    for kind, members in kinds.items():
        outer = [(path, m) for path, m in members if not any(path.startswith(f"{other}.") for other, _ in members)]
        size = sum(_below(held, path) for path, _ in outer)
        # of nested blocks that hold the same, the inner and more ones keep less at a time
        if len(outer) > 1 and size > most * (1 if best is None or len(outer) > len(best.modules) else 1.05):
            most = size
            best = Blocks(tuple(m for _, m in outer), f"{len(outer)} {kind.__name__} blocks")
    flat = max(
        ((_below(held, path), path, m) for path, m in net.named_modules() if _is_flat(m)),
        default=None,
        key=lambda x: x[0],
    )
    if flat is not None and flat[0] > 1.2 * most:
        pieces = max(2, round(len(flat[2]) ** 0.5))
        return Blocks((flat[2],), f"{flat[1] or 'the network'} in {pieces} pieces", pieces)
    return best


def _below(held: Mapping[str, int], path: str) -> int:
    return sum(size for layer, size in held.items() if layer == path or layer.startswith(f"{path}.") or not path)


def _is_flat(module: torch.nn.Module) -> bool:
    return type(module) is torch.nn.Sequential and len(module) >= 4


@contextlib.contextmanager
def checkpointed(blocks: Blocks) -> Iterator[None]:
    """While this lasts, the blocks keep their inputs alone and run again in backward."""
    before = [(module, vars(module).get("forward")) for module in blocks.modules]
    for module in blocks.modules:
        if blocks.pieces:
            assert isinstance(module, torch.nn.Sequential)  # pieces are of one
            plain = torch.nn.Sequential(*module)
            run = functools.partial(checkpoint_sequential, plain, blocks.pieces, use_reentrant=False)
        else:
            run = functools.partial(checkpoint, module.forward, use_reentrant=False)
        vars(module)["forward"] = run
    try:
        yield
    finally:
        for module, forward in before:
            if forward is None:
                del vars(module)["forward"]
            else:
                vars(module)["forward"] = forward
