"""Pitfalls of training in several processes: what every process does, and when it starts them."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator

from dldoctor import Edit, Finding, Severity, SourceTree, check
from dldoctor.facts.source.assigned import assignments
from dldoctor.facts.source.code import enclosing
from dldoctor.facts.source.flow.events import Event
from dldoctor.facts.source.flow.values import Const, Loop, Object, Value, ancestry
from dldoctor.facts.source.syntax import argument, hides_arguments
from dldoctor.facts.source.text import SourceFile

_SAMPLER = "torch.utils.data.DistributedSampler"
#: these call set_epoch themselves
_FRAMEWORKS = re.compile(r"\baccelerat|\blightning|pytorch_lightning|\bray\b|\bignite\b|transformers\.Trainer|composer")


@check("SRC078", Severity.ERROR, since="0.1")
def sampler_without_set_epoch(source: SourceTree) -> Iterator[Finding]:
    """A DistributedSampler is never told the epoch.

    It seeds its shuffle with the epoch alone, so every epoch sees the samples in the same order and in the same
    batches.

    Fix: `sampler.set_epoch(epoch)` at the start of each epoch.
    """
    if not any("DistributedSampler" in file.text for file in source.files):
        return
    seen: set[ast.AST] = set()
    for event in source.code.events("backward"):
        if "set_epoch" in event.file.text:
            continue
        loops = list(enclosing(event.loop))
        for inner, outer in itertools.pairwise(loops):
            sampler = _shuffling(inner)
            if sampler is None or sampler.node is None or sampler.node in seen or not isinstance(outer.node, ast.For):
                continue
            if _FRAMEWORKS.search(event.file.text):
                continue
            if sampler.file is None or sampler.file is not event.file:
                continue  # whoever made it may tell it
            seen.add(sampler.node)
            yield _untold(event, sampler, outer)


def _shuffling(loop: Loop) -> Object | None:
    """The shuffling DistributedSampler of the loader that a loop goes over, whichever way the branches went."""
    if loop.iterates is None:
        return None
    for value in ancestry(loop.iterates, 30):
        if isinstance(value, Object) and value.symbol == "torch.utils.data.DataLoader":
            given = value.keywords.get("sampler")
            if given is None and len(value.arguments) > 3:
                given = value.arguments[3]
            for option in given.options if given is not None else ():
                if isinstance(option, Object) and option.symbol in (
                    _SAMPLER, "torch.utils.data.distributed.DistributedSampler",
                ) and not _is_off(option.keywords.get("shuffle")) and "seed" not in option.keywords:  # fmt: skip
                    return option
    return None


def _is_off(shuffle: Value | None) -> bool:
    return shuffle is not None and not (isinstance(shuffle, Const) and shuffle.value is True)


def _untold(event: Event, sampler: Object, outer: Loop) -> Finding:
    file = event.file
    assert isinstance(outer.node, ast.For)
    assert sampler.node is not None
    statement = file.syntax.parent(sampler.node)
    edits: list[Edit] | None = None
    if (
        isinstance(statement, ast.Assign)
        and isinstance(statement.targets[0], ast.Name)
        and isinstance(outer.node.target, ast.Name)
        and outer.file is file
        and file.syntax.function(outer.node) is file.syntax.function(statement)
        and file.syntax.within(statement, ast.If) is None
        and file.indent(outer.node.body[0]) is not None
    ):
        line = f"{statement.targets[0].id}.set_epoch({outer.node.target.id})"
        edits = [file.insert_before(outer.node.body[0], line)]
    return Finding(
        file.place(sampler.node),
        "the sampler shuffles every epoch of {spot} in the same way",
        spot=outer.file.spot(outer.node),
        show=(file.frame(sampler.node, "begins at epoch 0"), outer.file.frame(outer.node.target, "never told")),
        fix=file.fix("call sampler.set_epoch(epoch) at the start of each epoch", edits),
    )


# --- writing ------------------------------------------------------------------------------------------------------

_RANK = re.compile(
    r"rank|main|master|primary|chief|leader|is_(?:zero|first)|process_index|coordinator|[=!]= ?0\b|> ?0\b",
    re.IGNORECASE,
)
#: once in several rounds, which says nothing of processes
_EVERY = re.compile(r"% [\w.]+ [=!]= 0\b")
_SHARDED = re.compile(
    r"fsdp|FullyShardedDataParallel|fully_shard|deepspeed|ZeroRedundancy|DTensor|distributed\.checkpoint"
)


@check("SRC079", Severity.WARNING, since="0.1")
def every_rank_writes(source: SourceTree) -> Iterator[Finding]:
    """Every process of a distributed training writes the same checkpoint.

    They open one file at the same time, and what is left of it may be torn.

    Fix: save under `if torch.distributed.get_rank() == 0:`.
    """
    for file in source.files:
        if "init_process_group" not in file.text or "save(" not in file.text or _SHARDED.search(file.text):
            continue
        starts = {file.syntax.function(call) for call in file.syntax.calls("torch.distributed.init_process_group")}
        trains = {file.syntax.function(call) for call in file.syntax.method_calls("backward")}
        wraps = {file.syntax.function(call) for call in file.syntax.calls("torch.nn.parallel.DistributedDataParallel")}
        for call in file.syntax.calls("torch.save"):
            function = file.syntax.function(call)
            # where the process group is made and the model is wrapped, this is what each process runs
            if function not in starts or function not in trains | wraps or function is None:
                continue
            path = argument(call, 1, "f")
            if path is None or _RANK.search(ast.unparse(path)) or _is_chosen(file, call):
                continue
            if any(_RANK.search(ast.unparse(value)) for _, value in assignments(file.syntax, path)):
                continue
            yield Finding(
                file.place(call),
                "every process writes {path}",
                path=ast.unparse(path),
                show=file.frame(call, "not one of them is chosen"),
                fix="put it under if torch.distributed.get_rank() == 0:",
            )


def _is_chosen(file: SourceFile, call: ast.Call) -> bool:
    """Whether a condition on the way, or an early return, looks at which process this is; a flag may."""
    function = file.syntax.function(call)
    for each in ast.walk(function or call):
        if isinstance(each, ast.If) and _asks_flag(each.test):
            inside = list(ast.walk(each))
            if any(node is call or isinstance(node, (ast.Return, ast.Continue)) for node in inside):
                return True
    conditions = [
        each.test for each in ast.walk(function or call) if isinstance(each, (ast.If, ast.IfExp)) and each.test
    ]
    return any(_RANK.search(_EVERY.sub("%", ast.unparse(test))) for test in conditions)


def _asks_flag(test: ast.expr) -> bool:
    """Whether a question is for a name's truth: `if first:`, `if not local_id and ...`."""
    if isinstance(test, ast.BoolOp):
        return any(_asks_flag(value) for value in test.values)
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return _asks_flag(test.operand)
    return isinstance(test, (ast.Name, ast.Attribute))


@check("SRC043", Severity.INFO, since="0.1")
def data_parallel(source: SourceTree) -> Iterator[Finding]:
    """DataParallel is slow, even on one machine.

    One process drives all GPUs: the weights are copied to each of them in every step, the outputs gathered on the
    first, and Python's lock holds the threads up. torch's documentation recommends DistributedDataParallel instead.

    Fix: `DistributedDataParallel`, one process for each GPU, started by `torchrun`.
    """
    for file in source.files:
        if "DataParallel" not in file.text:
            continue
        for call in file.syntax.calls("torch.nn.parallel.DataParallel"):
            if call.args and not file.path.startswith("test"):
                yield Finding(
                    file.place(call),
                    "one process drives all GPUs",
                    show=file.frame(call, "copies the weights in every step"),
                    fix="use DistributedDataParallel, started by torchrun",
                )


# --- starting -----------------------------------------------------------------------------------------------------


@check(
    "SRC012",
    Severity.WARNING,
    since="0.1",
    symptoms=(
        "An attempt has been made to start a new process before the current process has finished its bootstrapping",
        "This probably means that you are not using fork to start your child processes",
        "freeze_support()",
    ),
)
def missing_main_guard(source: SourceTree) -> Iterator[Finding]:
    """A script starts worker processes while it is imported.

    Where processes are not forked (Windows, macOS, and Linux from Python 3.14 on) each worker imports the script first,
    and would start workers of its own: Python refuses.

    Fix: put what the script does into a function and call it under `if __name__ == "__main__":`.
    """
    for file in source.files:
        if file.path.endswith(".ipynb") or "torch" not in file.text or _FORKS.search(file.text):
            continue
        found = _starts(file)
        first = min(found, key=lambda each: each[0].lineno, default=None)
        if first is not None:
            node, what = first
            yield Finding(
                file.place(node),
                "{what} as the script is imported",
                what=what,
                show=file.frame(node, 'not under if __name__ == "__main__"'),
                fix='put it into a function that is called under if __name__ == "__main__":',
            )


_FORKS = re.compile(r"""["']fork["']|get_ipython|IPython|google\.colab""")


def _starts(file: SourceFile) -> list[tuple[ast.expr, str]]:
    """Where the module's own level starts processes."""
    found: list[tuple[ast.expr, str]] = [
        (call, "processes are spawned")
        for call in file.syntax.calls("torch.multiprocessing.spawn", "torch.multiprocessing.start_processes")
        if _at_import(file, call) and argument(call, None, "join") is None
    ]
    for loop in file.syntax.of(ast.For):
        if not (_at_import(file, loop) or _called_at_import(file, file.syntax.function(loop))):
            continue
        iterated = loop.iter
        while isinstance(iterated, ast.Call) and iterated.args and file.syntax.name(iterated.func) in _AROUND:
            iterated = iterated.args[0]
        if isinstance(iterated, ast.Name) and _with_workers(file, iterated):
            found.append((loop.iter, "worker processes are started"))
    return found


_AROUND = {"builtins.enumerate", "tqdm.tqdm", "tqdm.auto.tqdm", "builtins.iter", "builtins.zip", "tqdm.trange"}


def _at_import(file: SourceFile, node: ast.AST) -> bool:
    """Whether it runs as the file is imported: in no function or class, and under no question of the name."""
    for each in file.syntax.around(node):
        if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)):
            return False
        if isinstance(each, ast.If) and "__name__" in ast.unparse(each.test):
            return False
    return True


def _called_at_import(file: SourceFile, function: ast.AST | None) -> bool:
    """Whether a plain function of the module's own level is called as the file is imported."""
    if (
        not isinstance(function, ast.FunctionDef)
        or function.decorator_list
        or not isinstance(file.syntax.parent(function), ast.Module)
    ):
        return False
    if any(isinstance(each, (ast.Yield, ast.YieldFrom)) for each in ast.walk(function)):
        return False
    return any(
        isinstance(call.func, ast.Name) and call.func.id == function.name and _at_import(file, call)
        for call in file.syntax.of(ast.Call)
    )


def _with_workers(file: SourceFile, loader: ast.Name) -> bool:
    """Whether every assignment of a name makes a loader with workers."""
    made = [value for _, value in assignments(file.syntax, loader)]
    return bool(made) and all(
        isinstance(each, ast.Call)
        and file.syntax.name(each.func) == "torch.utils.data.DataLoader"
        and not hides_arguments(each)
        and _is_positive(file, argument(each, 5, "num_workers"))
        and argument(each, None, "multiprocessing_context") is None
        for each in made
    )


def _is_positive(file: SourceFile, node: ast.expr | None) -> bool:
    if isinstance(node, ast.Constant):
        return isinstance(node.value, int) and node.value > 0
    if isinstance(node, ast.Call):
        return file.syntax.name(node.func) in ("os.cpu_count", "multiprocessing.cpu_count")
    if isinstance(node, ast.Name):
        values = [value for _, value in assignments(file.syntax, node)]
        return bool(values) and all(not isinstance(v, ast.Name) and _is_positive(file, v) for v in values)
    return False
