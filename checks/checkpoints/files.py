"""What the file of weights is and holds."""

from __future__ import annotations

import re
from collections.abc import Iterator

from dldoctor import (
    Checkpoint,
    Finding,
    NetworkState,
    Severity,
    Table,
    check,
)

#: rows of a table
_SHOWN = 8
#: torchvision's and torch.hub's way to name published weights: resnet50-0676ba61.pth
_PUBLISHED = re.compile(r"-[0-9a-f]{8}\.\w+$")


@check(
    "CKP003",
    Severity.WARNING,
    since="0.1",
    unless=("CKP009",),
    symptoms=(
        "Weights only load failed",
        "WeightsUnpickler error: Unsupported global: GLOBAL {name} was not an allowed global by default",
        "Can't get attribute {name} on <module",
        "source code of class {name} has changed",
    ),
)
def pickled_model(checkpoint: Checkpoint) -> Iterator[Finding]:
    """The file holds pickled objects beside weights.

    A pickle names classes by where their code stands, so it stops loading when that code moves, and it runs code while
    it loads. torch.load refuses it since 2.6 unless weights_only=False.

    Fix: save model.state_dict(), and plain numbers, strings, lists and dicts beside it.
    """
    if checkpoint.holds == "module":
        yield Finding(
            checkpoint.file,
            "holds a whole network, a pickle of {root}",
            root=checkpoint.root,
            foreign=list(checkpoint.foreign),
            fix='torch.save(model.state_dict(), "weights.pt"), where this file can still be trusted and loaded with '
            "weights_only=False",
        )
        return
    if not checkpoint.foreign or checkpoint.broken:
        return
    if checkpoint.form == "pickle":
        yield Finding(
            checkpoint.file,
            "was written by pickle.dump, which torch.load does not read with weights_only=True",
            foreign=list(checkpoint.foreign),
            fix='torch.save(model.state_dict(), "weights.pt")',
        )
        return
    names = checkpoint.foreign
    yield Finding(
        checkpoint.file,
        "holds objects beside weights, which torch.load refuses: {names}",
        names=", ".join(list(names[:4]) + ([f"{len(names) - 4} more"] if len(names) > 4 else [])),
        foreign=list(names),
        fix=_plainly(names),
    )


@check("CKP004", Severity.ERROR, since="0.1")
def non_finite_weights(checkpoint: Checkpoint, network: NetworkState | None) -> Iterator[Finding]:
    """Weights in the file are NaN or infinite.

    The training had diverged when it was saved; every output will be NaN.

    Fix: take an earlier checkpoint, and find the step at which the loss went to NaN.
    """
    buffers = {entry.name for entry in network.entries if not entry.parameter} if network else set()
    for state in checkpoint.states:
        sick = [
            tensor
            for tensor in state.tensors
            if (tensor.nan or (tensor.infinite and not _is_mask(tensor.name, buffers))) and not tensor.damaged
        ]
        if not sick:
            continue
        where = f" of {'.'.join(state.at)}" if state.at else ""
        rows = tuple((t.name, f"{t.nan:,}", f"{t.infinite:,}", f"{t.elements:,}") for t in sick[:_SHOWN])
        yield Finding(
            checkpoint.file,
            "{count} of {tensors} tensors{where} hold numbers that are not finite",
            count=len(sick),
            tensors=len(state.tensors),
            where=where,
            names=[tensor.name for tensor in sick],
            show=Table(("tensor", "NaN", "infinite", "elements"), rows),
            fix="take an earlier checkpoint; before the next run, stop at a loss that is not finite: "
            "if not torch.isfinite(loss): raise RuntimeError(...)",
        )
        return


@check(
    "CKP005",
    Severity.WARNING,
    since="0.1",
    symptoms=(
        "Attempting to deserialize object on a CUDA device but torch.cuda.is_available() is False",
        "Attempting to deserialize object on CUDA device {n} but torch.cuda.device_count() is {m}",
    ),
)
def device_bound_checkpoint(checkpoint: Checkpoint) -> Iterator[Finding]:
    """The tensors are stored as lying on a GPU.

    torch.load puts them back there: it fails on a machine without that GPU, and on one that is full.

    Fix: torch.load(file, map_location="cpu"), then move the network.
    """
    tensors = [tensor for state in checkpoint.states for tensor in state.tensors]
    bound = [tensor for tensor in tensors if tensor.device not in ("cpu", "meta", "")]
    if not bound:
        return
    devices = sorted({tensor.device for tensor in bound})
    yield Finding(
        checkpoint.file,
        "{count} of {tensors} tensors were saved from {devices}, where torch.load puts them back",
        count=len(bound),
        tensors=len(tensors),
        devices=", ".join(devices),
        fix=f'torch.load("{checkpoint.file}", map_location="cpu"), then model.to(device)',
    )


@check(
    "CKP006",
    Severity.ERROR,
    since="0.1",
    symptoms=(
        "PytorchStreamReader failed reading zip archive",
        "PytorchStreamReader failed reading file",
        "PytorchStreamReader failed locating file",
        "is a zip archive (did you mean to use torch.jit.load()?)",
        "unexpected EOF, expected {n} more bytes. The file might be corrupted.",
        "invalid load key, {key}",
        "Invalid magic number; corrupt file?",
        "[Errno 22] Invalid argument & torch.load",
        "Error while deserializing header: {error}",
    ),
)
def broken_checkpoint(checkpoint: Checkpoint) -> Iterator[Finding]:
    """The file is cut off, damaged, or no file of weights at all.

    A disk that was full, a download that broke off, a Git LFS pointer. torch.load does not look at the checksums that
    the file carries: a flipped bit becomes a wrong weight.

    Fix: fetch or copy the file again; save to a temporary name and rename it, so that a crash leaves no half file.
    """
    if checkpoint.form == "torchscript":
        yield Finding(
            checkpoint.file,
            "is a TorchScript program with weights in it, not a state_dict",
            fix=f'torch.save(torch.jit.load("{checkpoint.file}", map_location="cpu").state_dict(), "weights.pt")',
        )
    if not checkpoint.broken:
        return
    damaged = [tensor.name for state in checkpoint.states for tensor in state.tensors if tensor.damaged]
    rows = tuple((name,) for name in damaged[:_SHOWN])
    yield Finding(
        checkpoint.file,
        "{broken}",
        broken=checkpoint.broken,
        size=checkpoint.size,
        tensors=damaged,
        show=Table(("tensors in it",), rows) if rows else (),
        fix="fetch or copy it again"
        if "git lfs" in checkpoint.broken
        else "fetch or copy it again, or take the checkpoint before it; when saving, write to a temporary name and "
        "os.replace() it",
    )


@check("CKP008", Severity.INFO, since="0.1")
def missing_training_state(checkpoint: Checkpoint) -> Iterator[Finding]:
    """The file holds weights alone.

    That is all that inference needs; a training that resumes from it starts the optimizer's moments, the learning-rate
    schedule and the epoch anew.

    Fix: save the optimizer's, the scheduler's and the scaler's state_dict and the epoch beside the weights.
    """
    weights = checkpoint.holds in ("state_dict", "parts") and checkpoint.form in ("zip", "legacy")
    if not weights or checkpoint.optimizer or checkpoint.broken or _PUBLISHED.search(checkpoint.file):
        return
    beside = [key for key in checkpoint.keys if key not in {at for state in checkpoint.states for at in state.at}]
    yield Finding(
        checkpoint.file,
        "holds weights and no optimizer state{beside}: a training that resumes from it starts that anew",
        beside=f" (beside them {', '.join(beside[:4])})" if beside else "",
        fix='torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "scheduler": '
        'scheduler.state_dict(), "epoch": epoch}, file)',
    )


@check(
    "CKP009",
    Severity.ERROR,
    since="0.1",
    unless=("CKP006",),
    symptoms=(
        "Expected state_dict to be dict-like, got {type}",
        "'method' object has no attribute 'copy' & load_state_dict",
        "'function' object has no attribute 'copy' & load_state_dict",
    ),
)
def not_a_state_dict(checkpoint: Checkpoint) -> Iterator[Finding]:
    """The file holds something else than weights by name.

    `torch.save(model.state_dict, file)` without the call's brackets saves a method, and a file can hold an optimizer's
    state alone. It is found out when the weights are needed.

    Fix: torch.save(model.state_dict(), file).
    """
    saying = {
        "method": "holds {root} itself, not what it returns: the brackets of the call were missing",
        "optimizer": "holds an optimizer's state and no weights",
        "tensors": "holds tensors without names ({root}), which load_state_dict does not take",
        "object": "holds no weights: its root is {root}{keys}",
    }.get(checkpoint.holds)
    if saying is None or checkpoint.form in ("torchscript", ""):
        return
    keys = f" with the keys {', '.join(list(checkpoint.keys[:5]))}" if checkpoint.keys else ""
    fix = "torch.save(model.state_dict(), file), with the brackets" if checkpoint.holds == "method" else None
    yield Finding(
        checkpoint.file,
        saying,
        root=checkpoint.root,
        keys=keys,
        fix=fix or "torch.save(model.state_dict(), file)",
    )


def _is_mask(name: str, buffers: set[str]) -> bool:
    """Whether infinite numbers are what it is for: attention masks are buffers of -inf."""
    return "mask" in name or (name in buffers and not name.rpartition(".")[2].startswith("running_"))


def _plainly(names: tuple[str, ...]) -> str:
    """How to save these as plain values, and how to read the file as it is."""
    hints = [
        hint
        for part, hint in (
            ("numpy", "float(value) or array.tolist() for NumPy's"),
            ("argparse.Namespace", "vars(args)"),
            ("pathlib", "str(path)"),
            ("omegaconf", "OmegaConf.to_container(config)"),
        )
        if any(part in name for name in names)
    ]
    saved = f"save plain values ({', '.join(hints)})" if hints else "save plain numbers, strings, lists and dicts"
    return f"{saved}; this file opens with weights_only=False, which runs what it says: only where you trust it"
