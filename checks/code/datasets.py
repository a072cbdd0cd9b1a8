"""Pitfalls of datasets: samples and labels that come apart, and pictures that are all read at once."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator

from dldoctor import Finding, Severity, SourceTree, check
from dldoctor.facts.source.reaching import last_held, reaching
from dldoctor.facts.source.syntax import Syntax
from dldoctor.facts.source.text import SourceFile

_SHUFFLES = ("random.shuffle", "numpy.random.shuffle")
_ORDERS = ("torch.randperm", "numpy.random.permutation")
_RESETS = ("seed", "manual_seed", "set_state", "setstate", "set_rng_state")
_LABELS = re.compile(r"(^|_)(ys?|labels?|targets?|masks?|gt|annotations?|classes|answers?)(_|$|\d)")


@check("SRC069", Severity.ERROR, since="0.1")
def separate_permutations(source: SourceTree) -> Iterator[Finding]:
    """Samples and their labels are shuffled apart.

    Each shuffle draws an order of its own, so every sample gets another's label, and the network learns nothing.

    Fix: one order for both: `order = torch.randperm(len(x)); x, y = x[order], y[order]`, or shuffle the pairs.
    """
    for file in source.files:
        if not any(word in file.text for word in ("shuffle(", "randperm(", "permutation(")):
            continue
        for one, other, first, second in (*_shuffled(file.syntax), *_reordered(file.syntax)):
            frames = [file.frame(second, "a second order")]
            if first.lineno != second.lineno:
                frames.append(file.frame(first, "the first order"))
            yield Finding(
                file.place(second),
                "{samples} and {labels} are shuffled in orders of their own",
                samples=one.id,
                labels=other.id,
                show=frames,
                fix="draw one order and index both with it",
            )


def _shuffled(syntax: Syntax) -> Iterator[tuple[ast.Name, ast.Name, ast.Call, ast.Call]]:
    """Pairs of lists that are shuffled in place, one after the other."""
    before: tuple[ast.Name, ast.Call] | None = None
    for call in syntax.calls(*_SHUFFLES):
        statement, given = syntax.parent(call), call.args[0] if call.args else None
        if not isinstance(statement, ast.Expr) or not isinstance(given, ast.Name):
            before = None
            continue
        if before is not None:
            name, first = before
            around = syntax.parent(statement)
            together = around is not None and around is syntax.parent(syntax.parent(first) or first)
            apart = together and name.id != given.id and not _reset_between(syntax, first, call)
            if apart and _is_paired(syntax, name, given):
                yield name, given, first, call
        before = given, call


def _reset_between(syntax: Syntax, first: ast.Call, second: ast.Call) -> bool:
    return any(first.lineno <= call.lineno <= second.lineno for call in syntax.method_calls(*_RESETS))


def _reordered(syntax: Syntax) -> Iterator[tuple[ast.Name, ast.Name, ast.Call, ast.Call]]:
    """Pairs of arrays that are indexed with different orders."""
    found: list[tuple[ast.Subscript, ast.Name, ast.Call]] = []
    for subscript in syntax.of(ast.Subscript):
        if isinstance(subscript.value, ast.Name) and isinstance(subscript.slice, (ast.Name, ast.Call)):
            order = last_held(syntax, subscript.slice)
            if isinstance(order, ast.Call) and syntax.name(order.func) in _ORDERS and not order.keywords:
                found.append((subscript, subscript.value, order))
    shared = [order for _, _, order in found]
    for (one, name, order), (two, other, other_order) in itertools.pairwise(found):
        alone = shared.count(order) == 1 and shared.count(other_order) == 1
        if not alone or syntax.function(one) is not syntax.function(two) or not _is_labelled(name, other):
            continue
        together = syntax.statement(one) is syntax.statement(two) or _is_paired(syntax, name, other)
        if together and name.id != other.id and not _reset_between(syntax, order, other_order):
            yield name, other, order, other_order


def _is_labelled(one: ast.Name, other: ast.Name) -> bool:
    """Whether one of two names says that it holds labels."""
    return bool(_LABELS.search(one.id.lower())) != bool(_LABELS.search(other.id.lower()))


def _is_paired(syntax: Syntax, one: ast.Name, other: ast.Name) -> bool:
    """Whether two lists belong together: made together or used together, and more than the names says so."""
    made, used = _is_made_together(syntax, one, other), _is_used_together(syntax, one, other)
    return (made and used) or (_is_labelled(one, other) and (made or used or _is_handed_on(syntax, one, other)))


def _is_handed_on(syntax: Syntax, one: ast.Name, other: ast.Name) -> bool:
    """Returned as a pair."""
    for answer in syntax.of(ast.Return):
        pair = answer.value.elts if isinstance(answer.value, ast.Tuple) else []
        names = [each.id for each in pair if isinstance(each, ast.Name)]
        if syntax.function(answer) is syntax.function(one) and sorted(names) == sorted((one.id, other.id)):
            return True
    return False


def _is_made_together(syntax: Syntax, one: ast.Name, other: ast.Name) -> bool:
    """Appended to side by side, or unpacked from one value."""
    blocks: dict[str, set[ast.AST | None]] = {one.id: set(), other.id: set()}
    for call in syntax.method_calls("append"):
        if isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name):
            statement = syntax.parent(call)
            if call.func.value.id in blocks and statement is not None:
                blocks[call.func.value.id].add(syntax.parent(statement))
    if {block for block in blocks[one.id] & blocks[other.id] if isinstance(block, (ast.For, ast.While))}:
        return True
    sources = [{syntax.parent(binding) for binding in reaching(syntax, name)} for name in (one, other)]
    unpacked = (syntax.parent(each) for each in sources[0] & sources[1] if isinstance(each, ast.Tuple))
    return any(isinstance(each, ast.Assign) and isinstance(each.value, ast.Call) for each in unpacked)


def _is_used_together(syntax: Syntax, one: ast.Name, other: ast.Name) -> bool:
    """Zipped, made a dataset, or indexed alike."""
    names = {one.id, other.id}
    for call in (*syntax.calls("builtins.zip", "torch.utils.data.TensorDataset", "builtins.list"),):
        if names <= {part.id for part in ast.walk(call) if isinstance(part, ast.Name)}:
            return True
    indexed: dict[str, set[str]] = {one.id: set(), other.id: set()}
    for subscript in syntax.of(ast.Subscript):
        if isinstance(subscript.value, ast.Name) and subscript.value.id in indexed:
            indexed[subscript.value.id].add(ast.dump(subscript.slice))
    return bool(indexed[one.id] & indexed[other.id])


# --- reading all at once ------------------------------------------------------------------------------------------

_DECODES = ("cv2.imread", "torchvision.io.read_image", "torchvision.io.decode_image", "skimage.io.imread",
            "imageio.imread", "imageio.v2.imread", "imageio.v3.imread", "matplotlib.pyplot.imread")  # fmt: skip
_FORCES = {"convert", "resize", "load", "copy", "crop"}


@check("SRC030", Severity.INFO, since="0.1")
def eager_dataset(source: SourceTree) -> Iterator[Finding]:
    """Every picture is read and decoded when the dataset is made.

    Decoded, a photograph takes ten to thirty times the memory of its file, and the start waits for all of them: fast
    for a small dataset, out of memory for a large one.

    Fix: keep the paths in `__init__` and read in `__getitem__`, which the loader's workers do in parallel.
    """
    for file in source.files:
        if "__getitem__" not in file.text:
            continue
        for definition in file.syntax.of(ast.ClassDef):
            bases = [file.syntax.name(base) for base in definition.bases]
            if not any(base.startswith("torch.utils.data.") and base.endswith("Dataset") for base in bases):
                continue
            methods = {each.name: each for each in definition.body if isinstance(each, ast.FunctionDef)}
            if "__init__" in methods and "__getitem__" in methods:
                kept = next(_kept(file, methods["__init__"]), None)
                if kept is not None:
                    yield Finding(
                        file.place(kept),
                        "keeps every picture decoded in memory",
                        show=file.frame(kept, "read when the dataset is made"),
                        fix="keep the paths, and read in __getitem__",
                    )


def _kept(file: SourceFile, method: ast.FunctionDef) -> Iterator[ast.expr]:
    """The reads of a loop in `__init__` whose pictures an attribute keeps."""
    syntax = file.syntax
    for part in ast.walk(method):
        kept: ast.expr | None = None
        if isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute) and part.func.attr == "append":
            if _is_own(part.func.value) and part.args and syntax.within(part, ast.For) is not None:
                kept = part.args[0]
        elif isinstance(part, ast.Assign) and _is_own(part.targets[0]) and isinstance(part.value, ast.ListComp):
            kept = part.value.elt
        if kept is not None and not _is_asked_for(syntax, part, method):
            parts = kept.elts if isinstance(kept, ast.Tuple) else [kept]
            decoded = (found for each in parts if (found := _decoded(syntax, last_held(syntax, each))) is not None)
            yield from decoded


def _is_asked_for(syntax: Syntax, node: ast.AST, method: ast.FunctionDef) -> bool:
    """Whether a condition of the method decides about a node."""
    inside = itertools.takewhile(lambda above: above is not method, syntax.around(node))
    return any(isinstance(above, ast.If) for above in inside)


def _is_own(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"


def _decoded(syntax: Syntax, node: ast.expr, depth: int = 6) -> ast.expr | None:
    """The call that decodes a picture whose pixels a value holds."""
    if depth == 0 or not isinstance(node, ast.Call):
        return None
    name = syntax.name(node.func)
    if name in _DECODES:
        return node
    if isinstance(node.func, ast.Attribute) and not name and node.func.attr in _FORCES:
        inner = last_held(syntax, node.func.value)
        if isinstance(inner, ast.Call) and syntax.name(inner.func) == "PIL.Image.open":
            return node
        return _decoded(syntax, inner, depth - 1)
    if name in ("numpy.array", "numpy.asarray", "cv2.cvtColor", "cv2.resize", "torch.from_numpy") and node.args:
        inner = last_held(syntax, node.args[0])
        if isinstance(inner, ast.Call) and syntax.name(inner.func) == "PIL.Image.open":
            return node
        return _decoded(syntax, inner, depth - 1)
    return None
