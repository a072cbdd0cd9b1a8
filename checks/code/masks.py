"""Pitfalls of masks: pictures whose values are numbers of classes."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from dldoctor import Finding, Severity, SourceTree, check
from dldoctor.facts.source.pictures import number, picture
from dldoctor.facts.source.reaching import held, last_held, reaching, read_later
from dldoctor.facts.source.syntax import Syntax, argument

_WHOLE = {"int64", "long", "LongTensor"}
_FUNCTIONAL = ("torchvision.transforms.functional.resize", "torchvision.transforms.v2.functional.resize")
_RESIZES = ("torchvision.transforms.Resize", "torchvision.transforms.v2.Resize")
_COMPOSE = ("torchvision.transforms.Compose", "torchvision.transforms.v2.Compose")


@check("SRC046", Severity.ERROR, since="0.1")
def pil_resize_mask(source: SourceTree) -> Iterator[Finding]:
    """A mask of class numbers is resized with a filter that mixes them.

    Pillow's default is bicubic, OpenCV's and torchvision's bilinear: between class 1 and class 3 the edge becomes class
    2, which is something else.

    Fix: `mask.resize(size, Image.Resampling.NEAREST)`, `cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST)`,
    `Resize(size, InterpolationMode.NEAREST)`.
    """
    for file in source.files:
        if "resize" not in file.text.lower() or not any(word in file.text for word in ("int64", "long", "Long")):
            continue
        for call, said, cure in _mixing(file.syntax):
            cast = _becomes_classes(file.syntax, call, 8)
            if cast is None:
                continue
            frames = [file.frame(call, said)]
            if cast.lineno != call.lineno:
                frames.append(file.frame(cast, "these are numbers of classes"))
            yield Finding(
                file.place(call),
                "mixes numbers of classes: {said}",
                said=said,
                show=frames,
                fix=f"write {cure}",
            )


def _mixing(syntax: Syntax) -> Iterator[tuple[ast.Call, str, str]]:
    """Resizings with a filter that mixes neighbours: the call, its filter, the cure."""
    for call in syntax.calls("cv2.resize"):
        chosen = argument(call, 4, "interpolation")
        known = picture(syntax, call)
        if known is not None and known.axes == "HWC":
            continue  # whole numbers of colours, to calculate with
        if chosen is None or syntax.name(chosen) in ("cv2.INTER_LINEAR", "cv2.INTER_CUBIC", "cv2.INTER_AREA"):
            yield call, _said(syntax, chosen, "bilinear"), "interpolation=cv2.INTER_NEAREST"
    for call in syntax.calls(*_FUNCTIONAL):
        if argument(call, 2, "interpolation") is None and call.args and _can_mix(syntax, call.args[0]):
            yield call, "bilinear is the default", "interpolation=InterpolationMode.NEAREST"
    for call in syntax.method_calls("resize"):
        if not isinstance(call.func, ast.Attribute) or syntax.name(call.func):
            continue
        chosen = argument(call, 1, "resample")
        known = picture(syntax, call.func.value)
        mixes = chosen is None or syntax.name(chosen).endswith((".BILINEAR", ".BICUBIC", ".LANCZOS"))
        if mixes and known is not None and known.library == "pil" and known.colour == "grey":
            yield call, _said(syntax, chosen, "bicubic"), "resize(size, Image.Resampling.NEAREST)"
    for resize in syntax.calls(*_RESIZES):
        if argument(resize, 1, "interpolation") is None:
            yield from (
                (call, "Resize is bilinear", "Resize(size, InterpolationMode.NEAREST)")
                for call in _applied(syntax, resize)
                if _can_mix(syntax, call.args[0])
            )


def _said(syntax: Syntax, chosen: ast.expr | None, default: str) -> str:
    """The filter of a call, in words."""
    return f"{default} is the default" if chosen is None else f"with {syntax.name(chosen).rpartition('.')[2]}"


def _can_mix(syntax: Syntax, node: ast.expr) -> bool:
    """Whether a filter works on a picture: one with a palette is always resized to the nearest, and whether an opened
    file has one isn't known."""
    known = picture(syntax, node)
    return known is not None and (known.library == "torch" or known.colour == "grey")


def _applied(syntax: Syntax, made: ast.Call) -> Iterator[ast.Call]:
    """The calls of a transform, by itself or in a `Compose`."""
    above = syntax.parent(made)
    compose = syntax.parent(above) if isinstance(above, ast.List) else None
    outer = compose if isinstance(compose, ast.Call) and syntax.name(compose.func) in _COMPOSE else made
    for call in syntax.of(ast.Call):
        if len(call.args) != 1:
            continue
        if isinstance(call.func, (ast.Name, ast.Attribute)) and not syntax.name(call.func):
            applied = last_held(syntax, call.func) is outer
        else:
            applied = call.func is outer
        if applied:
            yield call


def _becomes_classes(syntax: Syntax, node: ast.expr, depth: int) -> ast.expr | None:
    """Where a value is made whole numbers of 64 bits, with nothing computed before: numbers of classes."""
    if depth == 0:
        return None
    above = syntax.parent(node)
    if isinstance(above, ast.Assign) and len(above.targets) == 1 and isinstance(above.targets[0], ast.Name):
        later = (_becomes_classes(syntax, read, depth - 1) for read in read_later(syntax, above.targets[0]))
        return next((each for each in later if each is not None), None)
    if isinstance(above, ast.Attribute) and isinstance(call := syntax.parent(above), ast.Call) and call.func is above:
        if above.attr == "long" or (above.attr in ("astype", "to", "type") and _is_whole(syntax, call.args)):
            return call
        passes = above.attr in ("squeeze", "unsqueeze", "copy", "contiguous", "clone", "cuda", "to")
        return _becomes_classes(syntax, call, depth - 1) if passes else None
    if isinstance(above, ast.Call) and node in above.args[:1]:
        name = syntax.name(above.func)
        kind = argument(above, 1, "dtype")
        typed = kind is not None and name.startswith(("torch.", "numpy.")) and _is_whole(syntax, [kind])
        if typed or name == "torch.LongTensor":
            return above
        passes = name in ("numpy.array", "numpy.asarray", "torch.from_numpy", "torch.as_tensor", "torch.tensor",
                          "torchvision.transforms.functional.pil_to_tensor", "numpy.ascontiguousarray")  # fmt: skip
        return _becomes_classes(syntax, above, depth - 1) if passes else None
    if isinstance(above, ast.Subscript) and above.value is node:
        return _becomes_classes(syntax, above, depth - 1)
    return None


def _is_whole(syntax: Syntax, given: list[ast.expr]) -> bool:
    names = [each.value if isinstance(each, ast.Constant) else syntax.name(each).rpartition(".")[2] for each in given]
    return any(name in _WHOLE for name in names)


@check("SRC025", Severity.WARNING, since="0.1")
def lossy_save(source: SourceTree) -> Iterator[Finding]:
    """Numbers of classes are saved as JPEG.

    JPEG keeps what the eye sees, not the values: read back, a mask of classes 0, 1 and 2 holds others, above all at
    its edges.

    Fix: save masks and results as PNG, `mask.save(path.with_suffix(".png"))`, or with `np.save`.
    """
    for file in source.files:
        if ".jp" not in file.text:
            continue
        syntax = file.syntax
        saves = [(call, call.args[1], call.args[0]) for call in syntax.calls("cv2.imwrite") if len(call.args) > 1]
        saves += [
            (call, call.func.value, call.args[0])
            for call in syntax.method_calls("save")
            if call.args and isinstance(call.func, ast.Attribute) and not syntax.name(call.func)
        ]
        for call, saved, path in saves:
            if _is_jpeg(syntax, path, 5) and (made := _class_numbers(syntax, saved, 8)) is not None:
                frames = [file.frame(call, "JPEG changes the values")]
                if made.lineno != call.lineno:
                    frames.append(file.frame(made, "numbers of classes"))
                yield Finding(
                    file.place(call),
                    "{mask} holds numbers of classes, and {path} is a JPEG",
                    mask=file.segment(saved),
                    path=file.segment(path),
                    show=frames,
                    fix="save it as .png",
                )


def _is_jpeg(syntax: Syntax, path: ast.expr, depth: int) -> bool:
    """Whether a path certainly ends in `.jpg`."""
    path = last_held(syntax, path)
    if depth == 0:
        return False
    if isinstance(path, ast.Constant):
        return isinstance(path.value, str) and path.value.lower().endswith((".jpg", ".jpeg"))
    if isinstance(path, ast.JoinedStr):
        return bool(path.values) and _is_jpeg(syntax, path.values[-1], depth - 1)
    if isinstance(path, ast.BinOp):
        return _is_jpeg(syntax, path.left if isinstance(path.op, ast.Mod) else path.right, depth - 1)
    if isinstance(path, ast.Call) and path.args:
        method = path.func.attr if isinstance(path.func, ast.Attribute) else ""
        if method == "format" and isinstance(path.func, ast.Attribute):
            return _is_jpeg(syntax, path.func.value, depth - 1)
        joins = syntax.name(path.func) in ("os.path.join", "builtins.str", "pathlib.Path")
        return (joins or method in ("with_suffix", "replace")) and _is_jpeg(syntax, path.args[-1], depth - 1)
    return False


def _best(syntax: Syntax, node: ast.Name) -> ast.expr | None:
    """The `max` whose second answer, the places, a name holds: `_, classes = torch.max(scores, 1)`."""
    bindings = reaching(syntax, node)
    target = syntax.parent(bindings[0]) if len(bindings) == 1 else None
    made = syntax.parent(target) if isinstance(target, ast.Tuple) and target.elts[1:] == list(bindings) else None
    call = made.value if isinstance(made, ast.Assign) else None
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute) or call.func.attr != "max":
        return None
    wanted = 2 if syntax.name(call.func) == "torch.max" else 1
    return call if len(call.args) + len(call.keywords) == wanted else None


def _class_numbers(syntax: Syntax, node: ast.expr | ast.AugAssign, depth: int) -> ast.expr | None:
    """The argmax that a value is, with nothing computed since."""
    if depth == 0 or isinstance(node, ast.AugAssign):
        return None
    if isinstance(node, ast.Name):
        if (best := _best(syntax, node)) is not None:
            return best
        found = [_class_numbers(syntax, each, depth - 1) for each in held(syntax, node)]
        return found[0] if found and None not in found else None
    if isinstance(node, ast.Subscript):
        indexed = node.value
        if isinstance(indexed, ast.Call) and number(node.slice) == 1 and syntax.name(indexed.func) == "torch.max":
            return indexed if len(indexed.args) > 1 or indexed.keywords else None
        return _class_numbers(syntax, indexed, depth - 1)
    if not isinstance(node, ast.Call):
        return None
    name = syntax.name(node.func)
    if name in ("torch.argmax", "numpy.argmax"):
        return node
    if name in ("PIL.Image.fromarray", "numpy.uint8", "numpy.array", "numpy.asarray", "numpy.squeeze") and node.args:
        return _class_numbers(syntax, node.args[0], depth - 1)
    if isinstance(node.func, ast.Attribute) and not name:
        if node.func.attr == "argmax":
            return node
        passes = {"cpu", "numpy", "detach", "squeeze", "astype", "byte", "to", "resize", "type", "copy"}
        return _class_numbers(syntax, node.func.value, depth - 1) if node.func.attr in passes else None
    return None
