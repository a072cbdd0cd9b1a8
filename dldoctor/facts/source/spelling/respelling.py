"""Writing another qualified name where one stands: the text at that place, and the imports that it needs."""

from __future__ import annotations

import ast

from dldoctor.facts.source.syntax import canonical
from dldoctor.facts.source.text import SourceFile
from dldoctor.finding import Edit


def spelled(file: SourceFile, node: ast.AST, name: str) -> tuple[str, list[Edit]]:
    """How a qualified name is written where a node stands, and the edit that imports what this needs."""
    if name.startswith("builtins."):
        return name.removeprefix("builtins."), []
    base = node.value if isinstance(node, ast.Attribute) else None
    while base is not None:
        meant = file.syntax.name(base)
        if meant and name.startswith(meant + "."):
            return file.segment(base) + name[len(meant) :], []
        base = base.value if isinstance(base, ast.Attribute) else None
    known = [
        (known, bound)
        for statement in _module_level(file)
        for alias in statement.names
        for known, bound in (_meaning(statement, alias),)
        if name.startswith(known + ".") and _bound_once(file, bound)
    ]
    if known:
        longest, bound = max(known, key=lambda pair: len(pair[0]))
        return bound + name[len(longest) :], []
    root = name.partition(".")[0] if name.count(".") else name
    return name, [import_line(file, f"import {root if root != 'collections' else name}")]


def _meaning(statement: ast.Import | ast.ImportFrom, alias: ast.alias) -> tuple[str, str]:
    """What an import makes a name mean, and that name."""
    if isinstance(statement, ast.ImportFrom):
        return canonical(f"{statement.module}.{alias.name}"), alias.asname or alias.name
    if alias.asname:
        return canonical(alias.name), alias.asname
    root = alias.name.partition(".")[0]
    return root, root


def _module_level(file: SourceFile) -> list[ast.Import | ast.ImportFrom]:
    body = file.tree.body if isinstance(file.tree, ast.Module) else []
    return [
        each
        for each in body
        if isinstance(each, ast.Import)
        or (isinstance(each, ast.ImportFrom) and not each.level and each.module in ("torch", "torchvision", "PIL"))
    ]


def _bound_once(file: SourceFile, name: str) -> bool:
    """Whether a name means its import all over the file."""
    loads = [each for each in file.syntax.of(ast.Name) if each.id == name]
    return all(isinstance(each.ctx, ast.Load) for each in loads) and not any(
        each.arg == name for each in file.syntax.of(ast.arg)
    )


def import_line(file: SourceFile, line: str) -> Edit:
    """Add an import before the first one of the file, or before its first statement."""
    body = file.tree.body if isinstance(file.tree, ast.Module) else []
    first: ast.stmt | None = next(
        (s for s in body if isinstance(s, (ast.Import, ast.ImportFrom)) and not _is_future(s)), None
    )
    if first is None:
        first = next((s for s in body if not _is_future(s) and not _is_docstring(s)), body[0])
    return file.insert_before(first, line)


def _is_future(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.ImportFrom) and statement.module == "__future__"


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def reimported(
    file: SourceFile, statement: ast.ImportFrom, moved: dict[str, str], renamed: set[str], dropped: set[str]
) -> list[Edit] | None:
    """Edits of `from M import a, b` that take the `moved` names from where their qualified new name says, and leave
    the `dropped` ones out. The file calls them what it did, but for the `renamed` ones. None where comments or a shared
    line stand in the way."""
    blanks = file.indent(statement)
    if blanks is None or "#" in file.segment(statement) or ";" in file.line(statement.end_lineno or statement.lineno):
        return None
    lines: dict[str, list[str]] = {}
    for alias in statement.names:
        module, name = statement.module or "", alias.name
        if name in dropped:
            continue
        if name in moved:
            module, _, name = moved[name].rpartition(".")
        bound = name if alias.name in renamed else alias.asname or alias.name
        lines.setdefault(module, []).append(name if name == bound else f"{name} as {bound}")
    if not lines:
        commented = "#" in file.line(statement.end_lineno or statement.lineno)
        return [file.replace(statement, "") if commented else file.without_line(statement)]
    text = (file.newline + blanks).join(f"from {module} import {', '.join(names)}" for module, names in lines.items())
    return [file.replace(statement, text)]


def name_uses(file: SourceFile, statement: ast.ImportFrom, bound: str) -> list[ast.Name] | None:
    """Every use of an imported name; None where the name is also bound to something else."""
    found = []
    for node in file.syntax.of(ast.Name):
        if node.id == bound:
            if not isinstance(node.ctx, ast.Load):
                return None
            held = next((held for _, held in file.syntax.bindings_of(node)), [])
            if held == [statement]:
                found.append(node)
    return found
