"""The one file form of facts, derived from their types: JSON, and Parquet for tables.

Used four times: the wire from the child process, the cache, the fixture, and --save-facts/--facts. Encoding needs
the standard library alone (the child encodes); decoding validates with msgspec.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath
from typing import Any, TypeVar

from dldoctor.fact import BadInput, Fact, TableFact

F = TypeVar("F", bound=Fact)
SCHEMA = 1


def to_plain(value: Any) -> Any:
    """A fact (or any value inside one) as JSON values.

    Floats that are not finite stay floats: Python's json writes and reads them as NaN and Infinity.

    Raises:
        TypeError: the value is of a type that facts may not hold.
    """
    if value is None or (isinstance(value, (bool, int, float, str)) and not isinstance(value, enum.Enum)):
        return value
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, PurePath):
        return value.as_posix()
    if isinstance(value, bytes):
        import base64

        return base64.b64encode(value).decode("ascii")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(to_plain(key)): to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        items = sorted(value) if isinstance(value, (set, frozenset)) else value
        return [to_plain(item) for item in items]
    raise TypeError(f"a fact can't hold a {type(value).__name__}: {value!r:.80}")


def from_plain(kind: type[F], plain: Any, folder: Path | None = None) -> F:
    """The fact that `to_plain` wrote. A table is a list of rows, or `{"parquet": NAME}` beside the file.

    Raises:
        BadInput: the JSON does not fit the fact's type; the message names the field.
    """
    import msgspec

    if issubclass(kind, TableFact):
        if isinstance(plain, Mapping) and folder is not None:
            import polars

            return kind(polars.read_parquet(folder / str(plain["parquet"])))
        return kind.from_rows(list(plain))

    try:
        return msgspec.convert(plain, kind, dec_hook=_decode_other, strict=True)
    except msgspec.ValidationError as error:
        raise BadInput(f"facts: {kind.__name__} does not fit this version: {error}") from None


def _decode_other(kind: type, value: Any) -> Any:
    if issubclass(kind, PurePath):
        return Path(value)
    raise TypeError(f"no file form for {kind.__name__}")


def save(facts: Iterable[Fact], target: Path, about: Mapping[str, Any]) -> None:
    """Write facts to `target` (JSON) with each table as `STEM.TYPE.parquet` beside it; the home folder reads `~`."""
    content: dict[str, Any] = {}
    for fact in facts:
        name = type(fact).__name__
        if isinstance(fact, TableFact):
            beside = target.with_name(f"{target.stem}.{name}.parquet")
            fact.frame.write_parquet(beside)
            content[name] = {"parquet": beside.name}
        else:
            content[name] = to_plain(fact)
    text = json.dumps({"facts_schema": SCHEMA, **about, "facts": content}, indent=1, ensure_ascii=False, sort_keys=True)
    home = str(Path.home())
    if len(home) > 1:
        text = text.replace(json.dumps(home)[1:-1] + "/", "~/")
    write_atomically(target, text.encode())


def load(source: Path, kinds: Mapping[str, type[Fact]]) -> tuple[dict[str, Any], list[Fact]]:
    """What `save` wrote, and the fields beside the facts.

    Raises:
        BadInput: no such file, not JSON, or a fact type that no installed check asks for.
    """
    try:
        content = json.loads(source.read_text(encoding="utf-8"))
        entries = content["facts"].items()
    except OSError as error:
        raise BadInput(f"{source}: can't be read ({error.strerror}); --facts takes a file from --save-facts") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise BadInput(f"{source}: is no facts file; write one with --save-facts {source.name}") from None
    facts = []
    for name, plain in entries:
        if name not in kinds:
            raise BadInput(f"{source}: no installed check knows the fact {name!r}; was it saved with a plugin?")
        facts.append(from_plain(kinds[name], plain, source.parent))
    return {key: value for key, value in content.items() if key != "facts"}, facts


def write_atomically(target: Path, content: bytes) -> None:
    """Replace `target` as a whole or not at all, keeping its permission bits. A pipe or a device is written to.

    Raises:
        OSError: the folder can't be written; nothing has changed then.
    """
    target = target.resolve()
    if target.exists() and not target.is_file():  # /dev/stdout, a pipe: what takes its name takes its place
        target.write_bytes(content)
        return
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        mode = target.stat().st_mode & 0o7777 if target.exists() else 0o666 & ~_umask()
        os.chmod(name, mode)
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
