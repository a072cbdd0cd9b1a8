"""Which expressions are pictures, and how they lie in memory: read, turned and converted by the libraries' own calls.

What isn't sure is left empty; a value that may be anything else is no picture."""

from __future__ import annotations

import ast
import dataclasses
from dataclasses import dataclass

from dldoctor.facts.source.reaching import held, last_held, reaching
from dldoctor.facts.source.syntax import Syntax, argument

_DEEPEST = 12
_READERS = ("skimage.io.imread", "imageio.imread", "imageio.v2.imread", "imageio.v3.imread", "matplotlib.pyplot.imread",
            "matplotlib.image.imread", "tifffile.imread", "imageio.v3.imread")  # fmt: skip
#: functions of OpenCV that answer a picture like their first argument
_CV2_LIKE = {"resize", "flip", "rotate", "GaussianBlur", "blur", "medianBlur", "bilateralFilter", "warpAffine",
             "warpPerspective", "copyMakeBorder", "remap", "addWeighted", "convertScaleAbs", "filter2D",
             "fastNlMeansDenoisingColored", "rectangle", "circle", "line", "putText", "polylines"}  # fmt: skip
#: methods of arrays and tensors that change neither axes nor values
_LIKE = {"copy", "clone", "contiguous", "cpu", "cuda", "detach", "to", "squeeze_", "requires_grad_", "pin_memory"}
_PIL_LIKE = {"resize", "crop", "rotate", "transpose", "filter", "thumbnail", "copy", "reduce", "transform",
             "resized_crop"}  # fmt: skip
_SAME = {"numpy.clip", "torch.clamp", "numpy.flip", "numpy.fliplr", "numpy.flipud", "PIL.ImageOps.exif_transpose"}
_FLOATS = {"float32", "float64", "float16", "float", "double", "half", "single"}
_BYTES = {"uint8", "ubyte", "byte"}


@dataclass(frozen=True)
class Picture:
    """What is known of a picture."""

    #: `numpy`, `pil` or `torch`
    library: str
    #: `HWC`, `CHW`, `HW`, each with `N` before it where there is a batch
    axes: str = ""
    #: `RGB`, `BGR` or `grey`
    colour: str = ""
    #: `uint8` or `float`
    kind: str = ""
    #: the greatest value that it can hold, where that is 1 or 255
    top: int = 0
    #: the call that made it a picture
    source: ast.expr | None = dataclasses.field(default=None, compare=False)


def picture(syntax: Syntax, node: ast.expr | ast.AugAssign, depth: int = _DEEPEST) -> Picture | None:
    """What an expression is known to be, if that is a picture on every way it may have come."""
    if depth == 0:
        return None
    if isinstance(node, ast.Name) and (frame := _frame(syntax, node)) is not None:
        return frame
    if isinstance(node, (ast.Name, ast.Attribute)):
        return _joined([picture(syntax, each, depth - 1) for each in held(syntax, node)])
    if isinstance(node, ast.Call):
        return _called(syntax, node, depth - 1)
    if isinstance(node, ast.Subscript):
        return _part(syntax, node, depth - 1)
    if isinstance(node, ast.BinOp):
        return _computed(picture(syntax, node.left, depth - 1), node.op, node.right)
    if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
        return _computed(picture(syntax, node.target, depth - 1), node.op, node.value)
    if isinstance(node, ast.IfExp):
        return _joined([picture(syntax, node.body, depth - 1), picture(syntax, node.orelse, depth - 1)])
    return None


def _frame(syntax: Syntax, node: ast.Name) -> Picture | None:
    """The frame of a video: `read, frame = cv2.VideoCapture(...).read()`."""
    bindings = reaching(syntax, node)
    target = syntax.parent(bindings[0]) if len(bindings) == 1 else None
    made = syntax.parent(target) if isinstance(target, ast.Tuple) and target.elts[1:] == list(bindings) else None
    call = made.value if isinstance(made, ast.Assign) else None
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute) or call.func.attr != "read":
        return None
    video = last_held(syntax, call.func.value)
    opened = isinstance(video, ast.Call) and syntax.name(video.func) == "cv2.VideoCapture"
    return Picture("numpy", "HWC", "BGR", "uint8", 255, call) if opened else None


def _joined(found: list[Picture | None]) -> Picture | None:
    """What all ways agree on."""
    first, *rest = found or [None]
    if first is None:
        return None
    for other in rest:
        if other is None or other.library != first.library:
            return None
        first = dataclasses.replace(
            first,
            axes=first.axes if first.axes == other.axes else "",
            colour=first.colour if first.colour == other.colour else "",
            kind=first.kind if first.kind == other.kind else "",
            top=first.top if first.top == other.top else 0,
        )
    return first


def _called(syntax: Syntax, call: ast.Call, depth: int) -> Picture | None:
    name = syntax.name(call.func)
    first = call.args[0] if call.args and not isinstance(call.args[0], ast.Starred) else None
    if name.startswith("cv2."):
        return _opencv(syntax, call, name[4:], first, depth)
    if name == "PIL.Image.open":
        return Picture("pil", kind="uint8", top=255, source=call)
    if name in _READERS:
        return Picture("numpy", source=call)
    if name in ("torchvision.io.read_image", "torchvision.io.decode_image"):
        return Picture("torch", "CHW", kind="uint8", top=255, source=call)
    if name:
        return _function(syntax, call, name, first, depth) if first is not None else None
    if isinstance(call.func, ast.Attribute):
        known = picture(syntax, call.func.value, depth)
        return _method(syntax, known, call.func.attr, call) if known is not None else None
    made = syntax.name(call.func.func) if isinstance(call.func, ast.Call) else ""
    if made == "torchvision.transforms.ToTensor" and first is not None:
        return _tensor(picture(syntax, first, depth))
    return None


def _opencv(syntax: Syntax, call: ast.Call, name: str, first: ast.expr | None, depth: int) -> Picture | None:
    if name in ("imread", "imdecode"):
        flag = argument(call, 1, "flags")
        mode = syntax.name(flag).rpartition(".")[2] if flag is not None else "IMREAD_COLOR"
        if isinstance(flag, ast.Constant):
            mode = {1: "IMREAD_COLOR", 0: "IMREAD_GRAYSCALE"}.get(flag.value, "") if type(flag.value) is int else ""
        if mode in ("IMREAD_COLOR", "IMREAD_COLOR_BGR"):
            return Picture("numpy", "HWC", "BGR", "uint8", 255, call)
        if mode == "IMREAD_COLOR_RGB":
            return Picture("numpy", "HWC", "RGB", "uint8", 255, call)
        if mode == "IMREAD_GRAYSCALE":
            return Picture("numpy", "HW", "grey", "uint8", 255, call)
        return Picture("numpy", source=call)
    known = picture(syntax, first, depth) if first is not None else None
    if name == "cvtColor":
        code = argument(call, 1, "code")
        _, _, target = syntax.name(code).rpartition("2") if code is not None else ("", "", "")
        known = known or Picture("numpy", source=call)
        if target in ("RGB", "BGR"):
            return dataclasses.replace(known, axes="HWC", colour=target)
        if target == "GRAY":
            return dataclasses.replace(known, axes="HW", colour="grey")
        return dataclasses.replace(known, axes="HWC" if target in ("HSV", "LAB", "YCrCb", "HLS") else "", colour="")
    return known if name in _CV2_LIKE else None


def _function(syntax: Syntax, call: ast.Call, name: str, first: ast.expr, depth: int) -> Picture | None:
    package, _, last = name.rpartition(".")
    known = picture(syntax, first, depth)
    if known is None:
        return None
    if name in ("numpy.array", "numpy.asarray", "numpy.ascontiguousarray", "numpy.copy", "numpy.uint8",
                "numpy.float32"):  # fmt: skip
        if known.library == "pil":
            axes = "HWC" if known.colour == "RGB" else "HW" if known.colour == "grey" else ""
            known = dataclasses.replace(known, library="numpy", axes=axes)
        kind = last if last in ("uint8", "float32") else _type(syntax, argument(call, 1, "dtype"))
        return _as_type(known, kind) if kind else known
    if name in ("torch.from_numpy", "torch.as_tensor", "torch.tensor"):
        known = dataclasses.replace(known, library="torch") if known.library == "numpy" else None
        kind = _type(syntax, argument(call, None, "dtype"))
        return _as_type(known, kind) if known is not None and kind else known
    if last in ("to_tensor", "pil_to_tensor") and package.startswith("torchvision.transforms"):
        return _tensor(known, scaled=last == "to_tensor")
    if name == "PIL.Image.fromarray":
        return dataclasses.replace(known, library="pil")
    if name in ("numpy.transpose", "torch.permute", "numpy.moveaxis", "numpy.rollaxis"):
        return _turned(known, last, call.args[1:])
    if name in ("numpy.expand_dims", "torch.unsqueeze"):
        return _with_batch(known, argument(call, 1, "axis" if last == "expand_dims" else "dim"))
    return known if name in _SAME else None


def _method(syntax: Syntax, known: Picture, name: str, call: ast.Call) -> Picture | None:
    if known.library == "pil":
        if name == "convert" and call.args and isinstance(call.args[0], ast.Constant):
            colour = {"RGB": "RGB", "L": "grey", "1": "grey"}.get(str(call.args[0].value), "")
            return dataclasses.replace(known, colour=colour)
        return known if name in _PIL_LIKE else None
    if name in ("transpose", "permute"):
        return _turned(known, "transpose" if known.library == "numpy" else name, call.args)
    if name == "astype" and call.args:
        kind = _type(syntax, call.args[0])
        return _as_type(known, kind) if kind else dataclasses.replace(known, kind="", top=0)
    if name in ("float", "half", "double"):
        return _as_type(known, "float")
    if name == "byte":
        return _as_type(known, "uint8")
    if name == "to" and call.args and (kind := _type(syntax, call.args[0])):
        return _as_type(known, kind)
    if name in ("numpy", "__array__"):
        return dataclasses.replace(known, library="numpy")
    if name in ("div", "div_", "mul", "mul_") and len(call.args) == 1:
        return _computed(known, ast.Div() if name.startswith("div") else ast.Mult(), call.args[0])
    if name == "unsqueeze" and call.args:
        return _with_batch(known, call.args[0])
    return known if name in _LIKE or name in ("clip", "clamp", "clamp_") else None


def _type(syntax: Syntax, node: ast.expr | None) -> str:
    """`uint8` or `float`, as an argument names it."""
    if node is None:
        return ""
    name = node.value if isinstance(node, ast.Constant) else syntax.name(node).rpartition(".")[2]
    return "uint8" if name in _BYTES else "float" if name in _FLOATS else ""


def _as_type(known: Picture, kind: str) -> Picture:
    kind = "float" if kind.startswith("float") else kind
    top = 255 if kind == "uint8" and known.top != 1 else known.top
    return dataclasses.replace(known, kind=kind, top=top)


def _tensor(known: Picture | None, scaled: bool = True) -> Picture | None:
    """What `ToTensor` makes of a picture: bytes become 0..1, and the channels come first."""
    if known is None or known.library == "torch":
        return None
    axes = {"HWC": "CHW", "HW": "CHW"}.get(known.axes, "CHW" if known.library == "pil" else "")
    whole = known.kind == "uint8"
    return dataclasses.replace(
        known,
        library="torch",
        axes=axes,
        kind="float" if whole and scaled else known.kind,
        top=1 if whole and scaled else known.top,
    )


def _turned(known: Picture, how: str, arguments: list[ast.expr]) -> Picture:
    """A picture with its axes in another order."""
    if len(arguments) == 1 and isinstance(arguments[0], (ast.Tuple, ast.List)):
        arguments = arguments[0].elts
    order = [number(each) for each in arguments]
    count, axes = len(known.axes), ""
    if count and None not in order:
        places = [int(place) % count for place in order if place is not None and -count <= place < count]
        if how == "moveaxis" and len(places) == 2:
            rest = [axis for index, axis in enumerate(known.axes) if index != places[0]]
            rest.insert(places[1], known.axes[places[0]])
            axes = "".join(rest)
        elif how != "rollaxis" and sorted(places) == list(range(count)):
            axes = "".join(known.axes[place] for place in places)
    return dataclasses.replace(known, axes=axes)


def _with_batch(known: Picture, where: ast.expr | None) -> Picture:
    first = where is not None and number(where) == 0 and known.axes and "N" not in known.axes
    return dataclasses.replace(known, axes=f"N{known.axes}" if first else "")


def _part(syntax: Syntax, node: ast.Subscript, depth: int) -> Picture | None:
    """A piece of a picture, or the picture with its channels the other way round."""
    known = picture(syntax, node.value, depth)
    if known is None or known.library == "pil":
        return None
    parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    if len(parts) == 1 and isinstance(parts[0], ast.Constant) and parts[0].value is None:
        return _with_batch(known, ast.Constant(0))
    if isinstance(parts[0], ast.Constant) and parts[0].value is Ellipsis:
        parts = [ast.Slice()] * (len(known.axes) + 1 - len(parts)) + parts[1:]
    if not known.axes or len(parts) > len(known.axes):
        return dataclasses.replace(known, axes="", colour="")
    axes, colour = "", known.colour
    for position, axis in enumerate(known.axes):
        part = parts[position] if position < len(parts) else ast.Slice()
        if isinstance(part, ast.Slice):
            axes += axis
            if axis == "C" and part.step is not None and number(part.step) == -1:
                colour = {"RGB": "BGR", "BGR": "RGB"}.get(colour, "")
            elif axis == "C" and (part.lower is not None or part.upper is not None):
                colour = ""
        elif axis == "C" and isinstance(part, (ast.List, ast.Tuple)):
            axes += axis
            turned = [number(each) for each in part.elts] == [2, 1, 0]
            colour = {"RGB": "BGR", "BGR": "RGB"}.get(colour, "") if turned else ""
        elif number(part) is not None:
            colour = "grey" if axis == "C" else colour
        else:
            return None
    return dataclasses.replace(known, axes=axes, colour=colour)


def _computed(known: Picture | None, operator: ast.operator, other: ast.expr) -> Picture | None:
    """A picture after arithmetic."""
    if known is None:
        return None
    value = number(other)
    if isinstance(operator, ast.Div) and value is not None:
        top = 1 if value in (255, 256) and known.top == 255 else 0
        return dataclasses.replace(known, kind="float", top=top)
    if isinstance(operator, ast.Mult) and value is not None:
        return dataclasses.replace(known, top=255 if value in (255, 256) and known.top == 1 else 0)
    return dataclasses.replace(known, kind="float" if known.kind == "float" else "", top=0)


def number(node: ast.expr) -> float | None:
    """A number as it is written."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = number(node.operand)
        return None if value is None else -value
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return node.value  # type: ignore[return-value]  # just seen
    return None
