"""Pitfalls of layers that are frozen while a training goes on."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from dldoctor import Finding, Severity, SourceTree, check
from dldoctor.facts.source.syntax import Syntax, argument

_LOOPS = (ast.For, ast.AsyncFor, ast.While)
_ZEROS = re.compile(r"set_to_none\s*=\s*False")
#: move a weight whose gradient is zero: by momentum, or by decay
_MOVING = re.compile(r"torch\.optim\.(Adam\w*|NAdam|RAdam|RMSprop|Adamax|SGD|Lion|Muon|ASGD)")
_MOVED_BY = ("momentum", "weight_decay")


@check("SRC085", Severity.INFO, since="0.1")
def frozen_parameters_in_optimizer(source: SourceTree) -> Iterator[Finding]:
    """Layers that are frozen during the training go on moving.

    torch leaves out parameters without a gradient, but `zero_grad(set_to_none=False)` leaves zeros in those that were
    frozen after a backward, and momentum and weight decay move their weights all the same.

    Fix: `optimizer.zero_grad()` as it is by default (gradients become None), or a new optimizer after the freezing.
    """
    for file in source.files:
        if "requires_grad" not in file.text or not _ZEROS.search(file.text):
            continue
        syntax = file.syntax
        cleared = [call for call in syntax.method_calls("zero_grad") if _keeps_zeros(call)]
        frozen = [node for node in _frozen(syntax) if syntax.within(node, ast.If, *_LOOPS) is not None]
        for call in cleared:
            found = next((node for node in frozen if _while_training(syntax, node, call)), None)
            if found is None or not _is_moving(syntax):
                continue
            yield Finding(
                file.place(call),
                "leaves zeros where gradients were, so the layers frozen in {frozen} go on moving",
                frozen=file.spot(found),
                show=(file.frame(call, "gradients of 0, not None"), file.frame(found, "frozen while training")),
                fix=f"write {ast.unparse(call.func)}()",
            )


def _keeps_zeros(call: ast.Call) -> bool:
    given = argument(call, 0, "set_to_none")
    return isinstance(given, ast.Constant) and given.value is False


def _frozen(syntax: Syntax) -> Iterator[ast.AST]:
    for statement in syntax.of(ast.Assign):
        target = statement.targets[0]
        if isinstance(target, ast.Attribute) and target.attr == "requires_grad" and _is_false(statement.value):
            yield statement
    for call in syntax.method_calls("requires_grad_"):
        given = argument(call, 0, "requires_grad")
        if given is not None and _is_false(given):
            yield call


def _is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is False


def _while_training(syntax: Syntax, frozen: ast.AST, cleared: ast.Call) -> bool:
    """Whether some rounds of a loop train before a condition freezes, and no new optimizer is made in it."""
    around = list(syntax.around(cleared))
    condition = syntax.within(frozen, ast.If)
    while condition is not None:
        loop = syntax.within(condition, *_LOOPS)
        if loop is not None and loop in around and syntax.function(loop) is syntax.function(frozen):
            made = [call for call in syntax.of(ast.Call) if syntax.name(call.func).startswith("torch.optim.")]
            return not any(loop in syntax.around(call) for call in made)
        condition = syntax.within(condition, ast.If)
    return False


def _is_moving(syntax: Syntax) -> bool:
    for call in syntax.of(ast.Call):
        if (name := syntax.name(call.func)) and _MOVING.fullmatch(name):
            if not name.endswith("SGD"):
                return True
            given = [argument(call, None, word) for word in _MOVED_BY]
            return any(each is not None and not (isinstance(each, ast.Constant) and not each.value) for each in given)
    return False
