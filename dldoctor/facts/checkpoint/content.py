"""The checkpoint: which weights a file holds, in which state, and what else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from dldoctor.fact import Fact
from dldoctor.facts.checkpoint.reading.description import Contents, Described
from dldoctor.facts.subjects import CheckpointAsked, ModelTarget


@dataclass(frozen=True)
class StoredTensor:
    """One entry of a state_dict in the file."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    #: where it was when it was saved: `cpu`, `cuda:0`
    device: str
    elements: int
    #: NaN and infinite numbers in it; 0 for integers
    nan: int = 0
    infinite: int = 0
    #: the member that holds it has another checksum than it was written with, or lies beyond the file's end
    damaged: bool = False


@dataclass(frozen=True)
class StoredState:
    """A state_dict in the file; `at` are the keys that lead to it."""

    at: tuple[str, ...]
    tensors: tuple[StoredTensor, ...]

    @property
    def elements(self) -> int:
        return sum(tensor.elements for tensor in self.tensors)


@dataclass(frozen=True)
class Checkpoint(Fact):
    """What `--checkpoint FILE` holds, read without running anything that the file says."""

    waiting_for: ClassVar[str] = "the checkpoint"

    #: as the user wrote it
    file: str
    size: int
    #: `zip` and `legacy` (torch.save), `pickle`, `safetensors`, `torchscript`, or `` when it is none of them
    form: str
    #: half a sentence: what is wrong with the file; empty when it is whole
    broken: str
    #: `state_dict`, `parts` (a dict with a state_dict in it), `module` (a pickled network), `optimizer`, `method`,
    #: `tensors` without names, `object`, or `` when nothing could be read
    holds: str
    #: the type at the root: `dict`, `models.Net`
    root: str
    #: the keys of a dict of parts
    keys: tuple[str, ...]
    states: tuple[StoredState, ...]
    #: whether there is the state of an optimizer
    optimizer: bool
    #: classes and functions beyond those of plain weights, which torch.load(weights_only=True) refuses
    foreign: tuple[str, ...] = ()

    @property
    def said(self) -> str:
        if not self.states:
            return ""
        state = max(self.states, key=lambda state: state.elements)
        return f"{self.file} with {len(state.tensors)} tensors of {state.elements:,} elements"

    @classmethod
    def gather(cls, asked: CheckpointAsked, target: ModelTarget) -> Self:  # it belongs to that network
        from dldoctor.facts.checkpoint.states import find

        contents = _read(asked.file)
        found = find(contents.root, contents.form) if contents.readable else None
        return cls(
            asked.shown,
            asked.file.stat().st_size,
            contents.form,
            contents.broken,
            found.holds if found else "",
            found.root if found else "",
            found.keys if found else (),
            tuple(
                StoredState(state.at, tuple(_measured(name, tensor, contents) for name, tensor in state.tensors))
                for state in (found.states if found else ())
            ),
            bool(found and found.optimizer),
            contents.foreign,
        )


def _read(path: Path) -> Contents:
    from dldoctor.facts.checkpoint.reading import safetensors, stream, zip_archive

    with path.open("rb") as file:
        start = file.read(512)
    if start.startswith(b"PK"):
        return zip_archive.read(path)
    if not start:
        return Contents("", broken="is empty", readable=False)
    if stranger := _stranger(start):
        return Contents("", broken=stranger, readable=False)
    if safetensors.looks_like(start) or path.suffix == ".safetensors":
        return safetensors.read(path)
    return stream.read(path)


def _stranger(start: bytes) -> str:
    """What a file that holds no weights of PyTorch is, by its first bytes."""
    text = start.lstrip().lower()
    if start.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer of a few lines, not the weights: git lfs pull fetches them"
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "is a web page, not the weights: the download got an answer for browsers"
    if text.startswith((b"{", b"[")):
        return "is JSON text, not the weights"
    if start.startswith(b"\x89HDF\r\n"):
        return "is an HDF5 file (Keras)"
    if start.startswith(b"\x1f\x8b"):
        return "is compressed with gzip: unpack it first"
    if (
        start.startswith((b"\x08\x01\x12", b"\x08\x03\x12", b"\x08\x07\x12", b"\x08\x08\x12"))
        or b"pytorch\x1a" in start
    ):
        return "is an ONNX model"
    if start[257:262] == b"ustar":
        return "is a tar archive: unpack it, or save it again with a torch that reads that old form"
    if not start.strip(b"\0"):
        return "begins with zeros alone: the download or the copy was not finished"
    return ""


def _measured(name: str, tensor: Described, contents: Contents) -> StoredTensor:
    from dldoctor.facts.checkpoint.numbers import WIDTHS, non_finite

    nan = infinite = 0
    damaged = tensor.storage in contents.damaged
    if contents.storages is not None and tensor.storage and tensor.device != "meta":
        data = contents.storages(tensor.storage)
        width = WIDTHS.get(tensor.dtype, 0)
        if data is None or (width and (tensor.offset + tensor.extent) * width > len(data)):
            damaged = True
        elif width:
            nan, infinite = non_finite(
                data[tensor.offset * width : (tensor.offset + tensor.extent) * width], tensor.dtype
            )
    return StoredTensor(name, tensor.shape, tensor.dtype, tensor.device, tensor.elements, nan, infinite, damaged)
