"""Where a file uses names that a table calls old, and the edits that put today's in their place."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dldoctor.facts.source.spelling.names import OldName
from dldoctor.facts.source.spelling.respelling import name_uses, reimported, spelled
from dldoctor.facts.source.spelling.versions import version_guarded
from dldoctor.facts.source.syntax import canonical
from dldoctor.facts.source.text import SourceFile
from dldoctor.finding import Edit


@dataclass(frozen=True)
class Outdated:
    """An old name in use, or an old argument: what to say and what to write instead."""

    node: ast.AST
    #: what is old, as the documentation names it
    what: str
    since: str
    words: str
    edits: tuple[Edit, ...] = ()
    safe: bool = True
    #: more than one name, in one import
    several: bool = False


def outdated_names(file: SourceFile, table: Mapping[str, OldName], *, called: bool = False) -> Iterator[Outdated]:
    """Old names: one finding for each import statement, and one for each place that no such import led to.

    Args:
        called: leave out names that the file only lists or compares with.
    """
    syntax = file.syntax
    told: list[ast.AST] = []
    for found in (*_of_imports(file, table, called), *_of_modules(file, table)):
        told.append(found.node)
        yield found
    last = {name.rpartition(".")[2] for name in table}
    patched: set[str] | None = None
    for node in syntax.of(ast.Attribute):
        if node.attr not in last or not isinstance(node.ctx, ast.Load):
            continue
        name = syntax.name(node)
        row = table.get(name)
        above = syntax.parent(node)
        if row is None or (row.module and isinstance(above, ast.Attribute) and syntax.name(above) in table):
            continue
        if patched is None:  # `np.float = float` brings a name back
            patched = {syntax.name(n) for n in syntax.of(ast.Attribute) if isinstance(n.ctx, ast.Store)}
        if name in patched or version_guarded(syntax, node) or _monkeypatched(file, node.attr):
            continue
        if called and not _is_put_to_use(file, node):
            continue
        if not told or not _comes_from(file, node, told):
            yield Outdated(node, name, row.since, _words(row), _attribute_edits(file, node, row), row.safe)


def _is_put_to_use(file: SourceFile, node: ast.AST) -> bool:
    """Whether a name is called, decorates, or is handed on; not listed, compared or asked for."""
    above = file.syntax.parent(node)
    if isinstance(above, ast.Call):
        return file.syntax.name(above.func) not in ("builtins.isinstance", "builtins.issubclass")
    if isinstance(above, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return node in above.decorator_list
    return isinstance(above, (ast.Assign, ast.keyword, ast.Attribute, ast.Expr, ast.If)) and not (
        isinstance(above, ast.Attribute) and above.attr.startswith("_")
    )


def _of_imports(file: SourceFile, table: Mapping[str, OldName], called: bool) -> Iterator[Outdated]:
    for statement in file.syntax.of(ast.ImportFrom):
        if statement.level or not statement.module:
            continue
        rows = {
            alias.name: row
            for alias in statement.names
            if (row := _imported(table, canonical(f"{statement.module}.{alias.name}"))) is not None
            and not (called and _is_idle(file, statement, alias))
        }
        if rows and not version_guarded(file.syntax, statement):
            yield _of_import(file, statement, rows)


def _is_idle(file: SourceFile, statement: ast.ImportFrom, alias: ast.alias) -> bool:
    """Whether all that the file does with an imported name is to list it or to ask for it."""
    uses = name_uses(file, statement, alias.asname or alias.name)
    return bool(uses) and not any(_is_put_to_use(file, use) for use in uses or ())


def _of_modules(file: SourceFile, table: Mapping[str, OldName]) -> Iterator[Outdated]:
    for statement in file.syntax.of(ast.Import):
        for alias in statement.names:
            row = _imported(table, alias.name)
            if row is not None and row.module and not version_guarded(file.syntax, statement):
                edits: tuple[Edit, ...] = ()
                if row.new and alias.asname and alias.name == row.name:
                    edits = (file.replace(alias, f"{row.new} as {alias.asname}"),)
                yield Outdated(statement, row.name, row.since, _words(row), edits, row.safe)


def _comes_from(file: SourceFile, node: ast.AST, told: list[ast.AST]) -> bool:
    """Whether a dotted name begins at an import that was told of."""
    while isinstance(node, ast.Attribute):
        node = node.value
    held = next((held for _, held in file.syntax.bindings_of(node)), []) if isinstance(node, ast.Name) else []
    return bool(held) and all(each in told for each in held)


def _imported(table: Mapping[str, OldName], name: str) -> OldName | None:
    row = table.get(name)
    while row is None and name:
        name = name.rpartition(".")[0]
        row = above if (above := table.get(name)) is not None and above.module else None
    return row


def _monkeypatched(file: SourceFile, attr: str) -> bool:
    return "setattr(" in file.text and (f'"{attr}"' in file.text or f"'{attr}'" in file.text)


def _words(row: OldName) -> str:
    if row.call in ("cuda", "cpu"):
        return f'write {row.new}("{row.call}", ...)'
    return row.words or f"write {row.new.removeprefix('builtins.')}"


def _of_import(file: SourceFile, statement: ast.ImportFrom, rows: dict[str, OldName]) -> Outdated:
    found = list(rows.values())
    what = dict.fromkeys(row.name if row.module else f"{statement.module}.{name}" for name, row in rows.items())
    return Outdated(
        statement,
        " and ".join(what),
        found[0].since,
        "; ".join(dict.fromkeys(_words(row) for row in found)),
        _import_edits(file, statement, rows),
        all(row.safe for row in found),
        len(what) > 1,
    )


def _attribute_edits(file: SourceFile, node: ast.Attribute, row: OldName) -> tuple[Edit, ...]:
    if row.call == "bare":
        return tuple(_bared(file, node) or ())
    if not row.new:
        return ()
    minus, new = row.new.startswith("-"), row.new.removeprefix("-")
    text, needed = spelled(file, node, new)
    if new.startswith("builtins.") and not _means_builtin(file, text):
        return ()
    above = file.syntax.parent(node)
    if minus:
        loose = isinstance(above, (ast.Call, ast.keyword, ast.Assign, ast.Return, ast.List, ast.Tuple))
        text = f"-{text}" if loose else f"(-{text})"
    inner = _call_edits(file, node, row)
    return () if inner is None else (file.replace(node, text), *needed, *inner)


def _means_builtin(file: SourceFile, name: str) -> bool:
    return not any(each.id == name and not isinstance(each.ctx, ast.Load) for each in file.syntax.of(ast.Name))


def _import_edits(file: SourceFile, statement: ast.ImportFrom, rows: dict[str, OldName]) -> tuple[Edit, ...]:
    """The whole statement anew, and its names' uses; nothing where one of them can't be done."""
    moved: dict[str, str] = {}
    renamed: set[str] = set()
    dropped: set[str] = set()
    edits: list[Edit] = []
    for alias in statement.names:
        row = rows.get(alias.name)
        if row is None:
            continue
        uses = name_uses(file, statement, alias.asname or alias.name)
        if uses is None:
            return ()
        if row.call == "bare":
            dropped.add(alias.name)
        elif not row.new or row.new.startswith(("-", "builtins.")) or row.new.endswith("()"):
            return ()
        for use in uses:
            inner = _bared(file, use) if row.call == "bare" else _call_edits(file, use, row)
            if inner is None:
                return ()
            edits += inner
        moved[alias.name] = row.new
        new = row.new.rpartition(".")[2]
        if row.new and alias.asname is None and new != alias.name:
            named = f'"{alias.name}"' in file.text or f"'{alias.name}'" in file.text  # as in `__all__`
            if not named and not any(each.id == new for each in file.syntax.of(ast.Name)):
                renamed.add(alias.name)
                edits += [file.replace(use, new) for use in uses]
    statements = reimported(file, statement, moved, renamed, dropped)
    return () if statements is None else (*statements, *edits)


def _bared(file: SourceFile, node: ast.AST) -> list[Edit] | None:
    """`Variable(x)` to `x`."""
    call = file.syntax.parent(node)
    if not isinstance(call, ast.Call) or call.func is not node or len(call.args) != 1 or call.keywords:
        return None
    given = call.args[0]
    if isinstance(given, ast.Starred) or any(
        isinstance(each, (ast.Name, ast.Attribute)) and file.syntax.name(each) == "torch.autograd.Variable"
        for each in ast.walk(given)
    ):
        return None
    text = file.segment(given)
    if not isinstance(given, (ast.Name, ast.Attribute, ast.Call, ast.Subscript)):
        text = f"({text})"
    return [file.replace(call, text)]


def _call_edits(file: SourceFile, node: ast.AST, row: OldName) -> list[Edit] | None:
    """How the arguments change with the name; None where that can't be told."""
    call = file.syntax.parent(node)
    if not row.call:
        return []
    if not isinstance(call, ast.Call) or call.func is not node:
        in_annotation = row.name.endswith("GradScaler") and not isinstance(call, ast.Call)
        return [] if in_annotation else None
    if any(isinstance(each, ast.Starred) for each in call.args):
        return None
    keywords = {each.arg: each.value for each in call.keywords}
    places = [*call.args, *call.keywords]
    if row.call in ("cuda", "cpu"):
        if not places:
            end = file.span(node)[1]
            return [Edit(file.path, end, file.span(call)[1], f'("{row.call}")')]
        enabled = ""
        if row.name.endswith("autocast") and call.args:
            if len(call.args) > 1:
                return None
            enabled = "enabled="
        start = file.span(places[0])[0]
        return [Edit(file.path, start, start, f'"{row.call}", {enabled}')]
    if row.call == "alone":
        return [] if len(places) == 1 else None
    if row.call == "listed":
        if not call.args or set(keywords) - {"out"}:
            return None
        start, end = file.span(call.args[0])[0], file.span(call.args[-1])[1]
        return [Edit(file.path, start, start, "["), Edit(file.path, end, end, "]")]
    if row.call == "qr":
        some = places[1] if len(places) == 2 else None
        value = some.value if isinstance(some, ast.keyword) and some.arg == "some" else some
        if len(places) == 1:
            return []
        if some is not None and isinstance(value, ast.Constant) and isinstance(value.value, bool):
            return [file.replace(some, f'mode="{"reduced" if value.value else "complete"}"')]
        return None
    if row.call == "cholesky":
        if len(call.args) == 2 and not keywords:
            start = file.span(call.args[1])[0]
            return [Edit(file.path, start, start, "upper=")]
        return [] if len(call.args) == 1 and not set(keywords) - {"upper", "out"} else None
    return _arange(file, call, keywords)


def _arange(file: SourceFile, call: ast.Call, keywords: dict[str | None, ast.expr]) -> list[Edit] | None:
    """`torch.range(0, 9)` counts to 9 and answers floats: `torch.arange(0, 10, dtype=torch.float32)`."""
    values = [_whole(each) for each in call.args]
    if len(values) != 2 or set(keywords) - {"device"} or values[0] is None or values[1] is None:
        return None
    text, needed = spelled(file, call.func, "torch.float32")
    if needed:
        return None
    dtype = f", dtype={text}"
    if call.keywords:
        return [file.replace(call.args[1], str(values[1] + 1)), file.append_argument(call.keywords[-1], dtype)]
    return [file.replace(call.args[1], str(values[1] + 1) + dtype)]


def _whole(node: ast.expr) -> int | None:
    sign = -1 if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) else 1
    inner = node.operand if isinstance(node, ast.UnaryOp) else node
    return sign * inner.value if isinstance(inner, ast.Constant) and type(inner.value) is int else None
