"""Write a file of weights with other keys: the renaming that a finding carries, where its file was asked for."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dldoctor.child import UserError

if TYPE_CHECKING:
    from dldoctor.finding import RenameKeys
    from dldoctor.outcome import Outcome
    from dldoctor.resources import Resources


def write_asked(outcome: Outcome, resources: Resources) -> Outcome:
    """Write what findings were asked to (`--write-fixed`), and note in the outcome what was written.

    Raises:
        BadInput: the file can't be written; what was there is as it was.
    """
    from dldoctor.facts.subjects import CheckpointAsked
    from dldoctor.finding import RenameKeys

    asked = next((fact for fact in outcome.facts if isinstance(fact, CheckpointAsked)), None)
    if asked is None or asked.write_fixed is None:
        return outcome
    fixes = [entry.finding.fix for entry in outcome.entries]
    notes = [_written(fix, outcome.root, resources) for fix in fixes if isinstance(fix, RenameKeys) and fix.target]
    if not notes:
        notes = [f"{asked.write_fixed} was not written: no renaming of the keys of {asked.shown} was found"]
    return dataclasses.replace(outcome, notes=(*outcome.notes, *notes))


def _written(fix: RenameKeys, root: Path, resources: Resources) -> str:
    from dldoctor.fact import BadInput
    from dldoctor.isolation import run_child

    assert fix.target is not None  # asked for one that is named
    source, target = root / fix.source, Path(fix.target)
    partial = target.with_name(f".{target.name}.part")
    try:
        if source.suffix == ".safetensors":
            _rename_safetensors(source, partial, dict(fix.names))
        else:
            run = run_child(
                "dldoctor.renaming:rename",
                {"source": str(source), "target": str(partial), "at": list(fix.at), "names": dict(fix.names)},
                resources,
                environment={"CUDA_VISIBLE_DEVICES": ""},
            )
            if run.end.kind != "done":
                raise BadInput(f"--write-fixed {target}: nothing was written, writing it {run.end.detail}")
        os.replace(partial, target)
    except OSError as error:
        raise BadInput(f"--write-fixed {target}: can't be written ({error.strerror or error})") from None
    finally:
        partial.unlink(missing_ok=True)
    return f"{target} written: {fix.source} with {len(fix.names)} keys renamed, all else as it was, on the CPU"


def _rename_safetensors(source: Path, target: Path, names: Mapping[str, str]) -> None:
    from dldoctor.facts.checkpoint.reading.safetensors import header_of

    header, start, _ = header_of(source)
    renamed = json.dumps({names.get(key, key): value for key, value in header.items()}, separators=(",", ":")).encode()
    renamed += b" " * (-len(renamed) % 8)  # the format aligns the numbers
    with source.open("rb") as old, target.open("wb") as new:
        new.write(len(renamed).to_bytes(8, "little") + renamed)
        old.seek(start)
        shutil.copyfileobj(old, new, 1 << 24)


def rename(arguments: Mapping[str, Any], send: Callable[[str, Any], None]) -> None:
    """The child's task: load the file without running anything, rename the keys of one state_dict, save it."""
    import torch

    source, names = arguments["source"], arguments["names"]
    try:
        root = torch.load(source, map_location="cpu", weights_only=True)
    except Exception as error:
        first = str(error).strip().splitlines()
        raise UserError(
            f"--write-fixed: {source} can't be loaded with weights_only=True ({first[0] if first else error}); "
            "save it again with plain values beside the weights"
        ) from None
    parent, key, state = None, None, root
    for key in arguments["at"]:
        parent, state = state, state[key]
    fixed = type(state)((names.get(name, name), value) for name, value in state.items())
    versions = getattr(state, "_metadata", None)
    if versions is not None:
        modules = {old.rpartition(".")[0]: new.rpartition(".")[0] for old, new in names.items()}
        fixed._metadata = type(versions)((modules.get(name, name), value) for name, value in versions.items())
    if parent is None:
        root = fixed
    else:
        parent[key] = fixed
    torch.save(root, arguments["target"])
    send("written", arguments["target"])
