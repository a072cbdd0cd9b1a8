"""Unpickle without running anything: tensors become descriptions, every other object a stand-in with its name."""

from __future__ import annotations

import io
import pickle
import re
from collections.abc import Callable
from typing import IO, Any

from dldoctor.facts.checkpoint.reading.description import Described, Storage

#: what `torch.load(weights_only=True)` takes beside tensors, by full name
_PLAIN = frozenset(
    (
        "collections.OrderedDict",
        "collections.Counter",
        "_codecs.encode",
        "builtins.bytearray",
        "builtins.set",
        "builtins.complex",
        "__builtin__.set",
        "__builtin__.bytearray",
        "torch.Size",
        "torch.Tensor",
        "torch.device",
        "torch.nn.parameter.Parameter",
        "torch.serialization._get_layout",
        "torch.storage.TypedStorage",
        "torch.storage.UntypedStorage",
        "torch._tensor._rebuild_from_type_v2",
    )
)
_DTYPE = re.compile(r"(b?float|bfloat|[qu]*int|b?complex|bits|bool|per_(tensor|channel))[0-9a-z_]*$")
_STORAGE_TYPES = {
    "Float": "float32",
    "Double": "float64",
    "Half": "float16",
    "BFloat16": "bfloat16",
    "Long": "int64",
    "Int": "int32",
    "Short": "int16",
    "Char": "int8",
    "Byte": "uint8",
    "Bool": "bool",
    "ComplexFloat": "complex64",
    "ComplexDouble": "complex128",
    "QInt8": "qint8",
    "QUInt8": "quint8",
    "QInt32": "qint32",
    "Untyped": "",
}


class StandIn:
    """What stands for a foreign class, and its instances for what it would have made. Nothing is imported."""

    #: of the class or function, in full
    name: str = ""

    def __new__(cls, *args: Any, **kwargs: Any) -> StandIn:
        made = super().__new__(cls)
        made.args = args
        made.state = None
        made.items = {}
        return made

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args: tuple[Any, ...]
        self.state: Any
        self.items: dict[Any, Any]

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        if isinstance(key, (str, int)):
            self.items[key] = value

    def append(self, item: Any) -> None:
        self.items[len(self.items)] = item

    def extend(self, items: Any) -> None:
        for item in items:
            self.append(item)

    add = append


def named(name: str) -> type[StandIn]:
    """The class that stands for the foreign class or function of this full name."""
    return type("StandIn", (StandIn,), {"name": name})


def name_of(value: Any) -> str:
    """The full name of a foreign class; empty for any other value."""
    return value.name if isinstance(value, type) and issubclass(value, StandIn) else ""


class _Ordered(dict[Any, Any]):
    """An OrderedDict, whose attributes (`_metadata`) may be set."""


def unpickle(stream: IO[bytes], note: Callable[[str], Any], persistent: Callable[[Any], Any] | None = None) -> Any:
    """The next object of a pickle stream.

    Args:
        note: told the full name of everything foreign.
        persistent: makes a `Storage` of a persistent id.

    Raises:
        Exception: whatever a broken pickle leads to.
    """
    return _Reader(stream, note, persistent or storage_of).load()


def storage_of(identity: Any) -> Storage:
    """What torch writes for a storage: ("storage", type, key, device, elements)."""
    _, kind, key, device, *_ = identity
    name = (name_of(kind) or str(kind)).rpartition(".")[2]
    return Storage(str(key), _STORAGE_TYPES.get(name.removesuffix("Storage"), ""), str(device))


class _Reader(pickle.Unpickler):
    def __init__(self, stream: IO[bytes], note: Callable[[str], Any], persistent: Callable[[Any], Any]) -> None:
        super().__init__(stream, encoding="latin1")
        self.note, self.persistent = note, persistent

    def persistent_load(self, identity: Any) -> Any:
        return self.persistent(identity)

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        if full in _MADE:
            return _MADE[full]
        if not (full in _PLAIN or _is_torch_data(module, name)):
            self.note(full)
        return named(full)


def _is_torch_data(module: str, name: str) -> bool:
    if module == "torch._utils":
        return name.startswith("_rebuild_")
    if module == "torch" and _DTYPE.match(name):
        return True
    return module in ("torch", "torch.cuda", "torch.sparse", "torch.cuda.sparse") and name.endswith(
        ("Storage", "Tensor")
    )


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> Any:
    if not isinstance(storage, Storage):
        return named("torch.Tensor")()
    dtype = next((name_of(r).removeprefix("torch.") for r in rest if _is_dtype(r)), storage.dtype)
    return Described(_sides(size), dtype, storage.device, storage.key, int(offset), _sides(stride))


def _without_storage(dtype: Any, size: Any, stride: Any, *_: Any) -> Any:
    return Described(_sides(size), name_of(dtype).removeprefix("torch."), "meta")


def _parameter(data: Any = None, *_: Any) -> Any:
    return data


def _of_type(rebuild: Any, kind: Any, args: Any, *_: Any) -> Any:
    return rebuild(*args) if callable(rebuild) else named("torch.Tensor")()


def _sparse(_layout: Any, data: Any) -> Any:
    _, values, size = (*data, None, None, None)[:3]
    if isinstance(values, Described) and isinstance(size, tuple):
        return Described(_sides(size), values.dtype, values.device)
    return named("torch.sparse")()


def _inner(data: Any) -> Any:
    """A storage within a pickle that `pickle.dump` wrote: a stream of its own, whose fourth pickle names it."""
    stream = io.BytesIO(bytes(data))
    found = [unpickle(stream, lambda name: None, lambda identity: storage_of(identity[:5])) for _ in range(4)]
    return found[3]


def _ordered(items: Any = ()) -> Any:
    return _Ordered(items)


def _size(sides: Any = ()) -> tuple[int, ...]:
    return _sides(sides)


def _is_dtype(value: Any) -> bool:
    return bool(_DTYPE.match(name_of(value).removeprefix("torch.")))


def _sides(value: Any) -> tuple[int, ...]:
    return tuple(int(side) for side in value)


_MADE: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _ordered,
    "collections.Counter": _ordered,
    "torch.Size": _size,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor,
    "torch._utils._rebuild_qtensor": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._utils._rebuild_sparse_tensor": _sparse,
    "torch._utils._rebuild_meta_tensor_no_storage": _without_storage,
    "torch._tensor._rebuild_from_type_v2": _of_type,
    "torch.storage._load_from_bytes": _inner,
}
