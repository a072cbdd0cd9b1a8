"""Pitfalls of options, seeds, ports and the environment of a run."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from dldoctor import Edit, Finding, Severity, SourceTree, check
from dldoctor.facts.source.spelling.respelling import import_line
from dldoctor.facts.source.syntax import argument
from dldoctor.facts.source.text import SourceFile

#: what `type=bool` was to mean; any other text stays true, as `bool` has it
_TRUTH = 'lambda text: text.lower() not in ("0", "false", "no", "")'


@check("SRC073", Severity.WARNING, since="0.1")
def argparse_bool(source: SourceTree) -> Iterator[Finding]:
    """An option of type bool is true whatever is given.

    argparse calls `bool("False")`, and every text but the empty one is true: `--amp False` switches AMP on.

    Fix: `action=argparse.BooleanOptionalAction` (`--amp` and `--no-amp`), or a function that reads the text; the edit
    puts one in place that makes `False`, `no` and `0` false.
    """
    for file in source.files:
        if "add_argument" not in file.text:
            continue
        for call in file.syntax.method_calls("add_argument"):
            kind = argument(call, None, "type")
            if kind is None or not _is_bool(file, kind) or argument(call, None, "action") is not None:
                continue
            option = next(
                (a.value for a in call.args if isinstance(a, ast.Constant) and str(a.value).startswith("--")), ""
            )
            yield Finding(
                file.place(kind),
                '{option} is true for every text that is given, "False" among them',
                option=option or "the option",
                show=file.frame(kind, 'bool("False") is True'),
                fix=file.fix("read the text, or use argparse.BooleanOptionalAction", [file.replace(kind, _TRUTH)]),
            )


def _is_bool(file: SourceFile, kind: ast.expr) -> bool:
    if isinstance(kind, ast.Lambda) and isinstance(kind.body, ast.Call) and len(kind.body.args) == 1:
        given, taken = kind.body.args[0], kind.args.args
        same = isinstance(given, ast.Name) and len(taken) == 1 and given.id == taken[0].arg
        return same and file.syntax.name(kind.body.func) == "builtins.bool"
    return file.syntax.name(kind) == "builtins.bool"


# --- environment --------------------------------------------------------------------------------------------------

_THREADS = {"OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"}
_COUNTERS = {"torch", "numpy"}
#: start processes that do read it
_CHILDREN = re.compile(r"subprocess|multiprocessing|mp\.spawn|os\.exec|os\.system|Popen|joblib|\bray\b|launch")


@check("SRC065", Severity.WARNING, since="0.1")
def late_thread_variables(source: SourceTree) -> Iterator[Finding]:
    """The number of threads is set in the environment after torch or NumPy was imported.

    The libraries read OMP_NUM_THREADS and its kin once, as they are loaded, so the line does nothing.

    Fix: set it above the imports or in the shell; `torch.set_num_threads(n)` works at any time.
    """
    for file in source.files:
        if "_NUM_THREADS" not in file.text or "set_num_threads" in file.text or _CHILDREN.search(file.text):
            continue
        first = _first_import(file, _COUNTERS)
        for node, name in _environment(file):
            statement = file.syntax.statement(node)
            if name not in _THREADS or first is None or statement is None or not _is_certain(file, node, first):
                continue
            yield Finding(
                file.place(node),
                "{variable} is set after {spot} has imported what reads it",
                variable=name,
                spot=file.spot(first),
                show=(file.frame(node, "does nothing"), file.frame(first, "reads the environment")),
                fix=file.fix("set it above the imports", _moved(file, statement, first)),
            )


def _first_import(file: SourceFile, packages: set[str]) -> ast.stmt | None:
    """The first import of one of these at the module's own level."""
    body = file.tree.body if isinstance(file.tree, ast.Module) else []
    for each in body:
        names = [alias.name for alias in each.names] if isinstance(each, ast.Import) else []
        if isinstance(each, ast.ImportFrom) and not each.level:
            names = [each.module or ""]
        if any(name.partition(".")[0] in packages for name in names):
            return each
    return None


def _environment(file: SourceFile) -> Iterator[tuple[ast.expr, str]]:
    """Where the environment is written, with the variable's name."""
    for node in file.syntax.of(ast.Subscript):
        written = isinstance(node.ctx, ast.Store) and file.syntax.name(node.value) == "os.environ"
        if written and isinstance(node.slice, ast.Constant):
            yield node, str(node.slice.value)
    for call in file.syntax.calls("os.environ.setdefault", "os.putenv"):
        if call.args and isinstance(call.args[0], ast.Constant):
            yield call, str(call.args[0].value)
    for call in file.syntax.calls("os.environ.update"):
        yield from ((each.value, each.arg) for each in call.keywords if each.arg is not None)
        for table in call.args:
            keys = table.keys if isinstance(table, ast.Dict) else []
            yield from ((key, str(key.value)) for key in keys if isinstance(key, ast.Constant))


def _is_certain(file: SourceFile, node: ast.expr, first: ast.stmt) -> bool:
    """Whether it runs after the import: below it, and not a default that a value of the shell goes before."""
    return node.lineno > first.lineno and not isinstance(node, ast.Call)


def _moved(file: SourceFile, statement: ast.stmt, first: ast.stmt) -> list[Edit] | None:
    """Edits that put a line of the module's own level above the imports."""
    body = file.tree.body if isinstance(file.tree, ast.Module) else []
    names = {n.id for n in ast.walk(statement) if isinstance(n, ast.Name)}
    if statement not in body or names != {"os"} or file.indent(statement) is None:
        return None
    above = body[: body.index(first)]
    known = any(isinstance(s, ast.Import) and any(a.name == "os" and not a.asname for a in s.names) for s in above)
    if known:
        return [file.insert_before(first, file.whole_lines(statement)), file.without_line(statement)]
    line = import_line(file, f"import os{file.newline}{file.whole_lines(statement)}")
    return [line, file.without_line(statement)]


@check(
    "SRC031",
    Severity.WARNING,
    since="0.1",
    symptoms=("The server socket has failed to listen on any local network address",),
)
def hard_coded_port(source: SourceTree) -> Iterator[Finding]:
    """The port of the process group is a number in the source.

    A second training on the machine, or one that has not quite ended, holds the port, and this one can't start.

    Fix: start with `torchrun --standalone`, which finds a free port, and call `init_process_group(backend)` alone; or
    take the port from the environment.
    """
    for file in source.files:
        if "init_process_group" not in file.text and "MASTER_PORT" not in file.text:
            continue
        if not re.search(r"\btorch\b", file.text):
            continue
        for call in file.syntax.calls("torch.distributed.init_process_group"):
            method = argument(call, 1, "init_method")
            if isinstance(method, ast.Constant) and isinstance(method.value, str):
                found = re.fullmatch(r"tcp://(?:127\.0\.0\.1|localhost|0\.0\.0\.0|\[::1\]):([1-9]\d*)", method.value)
                if found:
                    yield _port(file, method, found[1])
        for node, name in _environment(file):
            statement = file.syntax.statement(node)
            if name != "MASTER_PORT" or not isinstance(statement, ast.Assign) or _is_guarded(file, statement):
                continue
            port = str(statement.value.value) if isinstance(statement.value, ast.Constant) else ""
            if port.isdigit() and int(port) > 0:
                yield _port(file, statement.value, port)


def _is_guarded(file: SourceFile, statement: ast.stmt) -> bool:
    """Whether a condition decides: perhaps that nobody has set it yet."""
    return file.syntax.within(statement, ast.If, ast.Try) is not None


def _port(file: SourceFile, node: ast.expr, port: str) -> Finding:
    return Finding(
        file.place(node),
        "port {port} is written into the source",
        port=port,
        show=file.frame(node, "another run may hold it"),
        fix="take it from the environment, where torchrun puts a free one, or look for a free one",
    )
