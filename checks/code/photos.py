"""Pitfalls of photos as cameras write them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from dldoctor import Finding, Severity, SourceTree, check
from dldoctor.facts.source.reaching import last_held, reaching
from dldoctor.facts.source.syntax import Syntax, hides_arguments

#: methods of a PIL image that answer another one, still lying on its side
_ANSWER_IMAGES = ("resize", "convert", "crop", "copy", "reduce", "filter", "point", "quantize")
_OTHER_FORMATS = re.compile(r"\.(png|tiff?|bmp|gif|webp)\b", re.I)
_PHOTOS = re.compile(r"\.jpe?g\b", re.I)
_LONGEST = 12


@check("SRC028", Severity.INFO, since="0.1")
def ignored_exif(source: SourceTree) -> Iterator[Finding]:
    """Copies of photos are saved without their orientation.

    A camera writes the pixels as the sensor has them and notes in EXIF which way is up. `Image.open` leaves both as
    they are, and `save` drops the note: portraits lie on their side from then on, and boxes drawn on the upright photo
    no longer fit. Only loops over JPEG files are looked at, in source that never mentions EXIF.

    Fix: `image = ImageOps.exif_transpose(Image.open(path))` before anything else is done with it.
    """
    for file in source.files:
        if ".save(" not in file.text or not _PHOTOS.search(file.text) or "exif" in file.text.lower():
            continue
        syntax = file.syntax
        for call in syntax.method_calls("save"):
            in_loop = syntax.within(call, ast.For, ast.While, ast.ListComp, ast.GeneratorExp) is not None
            if not in_loop or hides_arguments(call) or not isinstance(call.func, ast.Attribute):
                continue
            opened = _opened(syntax, call.func.value)
            if opened is None or _OTHER_FORMATS.search(file.segment(_argument(syntax, opened))):
                continue
            yield Finding(
                file.place(call),
                "the copy of a photo opened in {opened} loses its orientation",
                opened=file.spot(opened),
                show=(file.frame(call, "EXIF is not written"), file.frame(opened, "as the sensor has it")),
                fix="turn it upright first: ImageOps.exif_transpose(Image.open(...))",
            )


def _opened(syntax: Syntax, node: ast.expr) -> ast.Call | None:
    """The `Image.open` that a picture comes from, unless it is a mask or grey on the way."""
    for _ in range(_LONGEST):
        if isinstance(node, ast.Name):
            bindings = reaching(syntax, node)
            above = syntax.parent(bindings[0]) if len(bindings) == 1 else None
            if isinstance(above, ast.withitem):
                node = above.context_expr
                continue
            after = last_held(syntax, node)
            if after is node:
                return None
            node = after
        elif isinstance(node, ast.Call):
            if syntax.name(node.func) == "PIL.Image.open":
                return node
            if not isinstance(node.func, ast.Attribute) or node.func.attr not in _ANSWER_IMAGES:
                return None
            if node.func.attr == "convert" and not _in_colour(node):
                return None
            if any(isinstance(each, ast.Attribute) and each.attr == "NEAREST" for each in node.args):
                return None
            node = node.func.value
        else:
            return None
    return None


def _in_colour(call: ast.Call) -> bool:
    mode = call.args[0] if call.args else None
    return isinstance(mode, ast.Constant) and mode.value in ("RGB", "RGBA")


def _argument(syntax: Syntax, opened: ast.Call) -> ast.AST:
    return last_held(syntax, opened.args[0]) if opened.args else opened
