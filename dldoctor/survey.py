"""What a project's folder shows: datasets, networks, loaders, training source. For `dldoctor init`; nothing is run."""

from __future__ import annotations

import ast
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

_PICTURES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp"}
_SKIPPED = {"node_modules", "site-packages", "__pycache__", "build", "dist", "venv"}
_LOADER_CALLS = ("DataLoader",)


@dataclass
class Survey:
    """Paths and targets relative to the project's folder."""

    datasets: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    networks: list[str] = field(default_factory=list)
    loaders: list[str] = field(default_factory=list)


def survey(folder: Path) -> Survey:
    """Look at the folder's files; a folder with pictures below it is a dataset, at the highest level that is not the
    project itself."""
    found = Survey()
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith(".") or entry.name in _SKIPPED or entry.is_symlink():
            continue
        if entry.is_dir():
            if _pictures_below(entry):
                found.datasets.append(entry.name)
        elif entry.suffix == ".py":
            _read(entry, found)
    return found


def _pictures_below(folder: Path, most: int = 2000) -> bool:
    seen = 0
    for _, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in _SKIPPED]
        for name in files:
            seen += 1
            if os.path.splitext(name)[1].lower() in _PICTURES:
                return True
        if seen > most:
            break
    return False


def _read(file: Path, found: Survey) -> None:
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, OSError):
        return
    if not _imports_torch(tree):
        return
    found.sources.append(file.name)
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and any(_last(base) == "Module" for base in node.bases):
            found.networks.append(f"{file.name}:{node.name}")
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            if _last(node.value.func) in _LOADER_CALLS:
                found.loaders += [f"{file.name}:{name.id}" for name in node.targets if isinstance(name, ast.Name)]
        elif isinstance(node, ast.FunctionDef) and not node.args.args:
            returned = [n.value for n in ast.walk(node) if isinstance(n, ast.Return) and isinstance(n.value, ast.Call)]
            if any(_last(call.func) in _LOADER_CALLS for call in returned):
                found.loaders.append(f"{file.name}:{node.name}")


def _imports_torch(tree: ast.Module) -> bool:
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return any(name.partition(".")[0] in ("torch", "torchvision", "lightning", "timm") for name in names)


def _last(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def table(found: Survey) -> str:
    """The TOML text; the last network of a file is taken for the whole one, the others stay as comments."""
    if not (found.datasets or found.sources):
        return ""
    lines = ["[tool.dldoctor.env]", "workers = 2", ""]
    if found.sources:
        lines += ["[tool.dldoctor.code]", f"paths = {json.dumps(found.sources)}", ""]
    for name in found.datasets:
        lines += ["[[tool.dldoctor.scan]]", f"path = {json.dumps(name)}", ""]
    for name in found.loaders:
        lines += ["[[tool.dldoctor.loader]]", f"target = {json.dumps(name)}", ""]
    if found.networks:
        *others, chosen = found.networks
        lines += ["[[tool.dldoctor.model]]", f"target = {json.dumps(chosen)}"]
        lines += [f"# target = {json.dumps(other)}" for other in others]
        lines += ['input = "3x224x224"  # one sample, without the batch', '# loss = "cross_entropy"', ""]
    return "\n".join(lines)
