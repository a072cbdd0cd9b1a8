"""Pitfalls between the libraries that read, show and write pictures: order of axes and channels, range, type."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from dldoctor import Finding, Severity, SourceTree, check
from dldoctor.facts.source.pictures import Picture, number, picture
from dldoctor.facts.source.reaching import held, last_held
from dldoctor.facts.source.spelling.versions import is_expected
from dldoctor.facts.source.syntax import Syntax, argument
from dldoctor.facts.source.text import SourceFile


@check(
    "SRC029",
    Severity.ERROR,
    since="0.1",
    symptoms=("Cannot handle this data type", "'Tensor' object has no attribute '__array_interface__'"),
)
def chw_to_pil(source: SourceTree) -> Iterator[Finding]:
    """An array that is no picture for Pillow is handed to `Image.fromarray`.

    It takes bytes in the order height, width, channels: an array with the channels first, or with floats in three
    channels, raises, and a tensor is no array.

    Fix: `Image.fromarray((x.transpose(1, 2, 0) * 255).round().astype(np.uint8))` for an array of 0..1 with the
    channels first; `torchvision.transforms.functional.to_pil_image(tensor)` for a tensor.
    """
    for file in source.files:
        if "fromarray" not in file.text:
            continue
        for call in file.syntax.calls("PIL.Image.fromarray"):
            given = call.args[0] if call.args else argument(call, None, "obj")
            if given is None or is_expected(file.syntax, call):
                continue
            wrong, cure = _refused(picture(file.syntax, given)) or _allocated(file.syntax, given) or ("", "")
            if wrong:
                yield Finding(
                    file.place(given),
                    "{array} is {wrong}, which Image.fromarray refuses",
                    array=file.segment(given),
                    wrong=wrong,
                    show=file.frame(given, wrong),
                    fix=cure,
                )


_TURN = "write x.transpose(1, 2, 0), and bytes: (x * 255).round().astype(np.uint8) for floats of 0..1"
_BYTES = "make bytes of it: (x * 255).round().astype(np.uint8) for floats of 0..1"


def _refused(known: Picture | None) -> tuple[str, str] | None:
    """What keeps Pillow from taking a picture, and the cure."""
    if known is None or known.library == "pil":
        return None
    if known.library == "torch":
        return "a tensor", "write torchvision.transforms.functional.to_pil_image(tensor)"
    if known.axes == "CHW":
        return "an array with its channels first", _TURN
    if known.axes.startswith("N"):
        return "a batch", "take one picture out of it"
    return ("an array of floats", _BYTES) if known.kind == "float" and known.axes == "HWC" else None


_FILLED = {
    "numpy.zeros",
    "numpy.ones",
    "numpy.empty",
    "numpy.full",
    "numpy.random.random",
    "numpy.random.random_sample",
}
_SPREAD = {"numpy.random.rand", "numpy.random.randn"}


def _allocated(syntax: Syntax, node: ast.expr) -> tuple[str, str] | None:
    """The same of an array that is made here, with a shape and type that are written out."""
    node = last_held(syntax, node)
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Mult, ast.Add)):
        return _allocated(syntax, node.left)
    if not isinstance(node, ast.Call):
        return None
    name = syntax.name(node.func)
    if name in _SPREAD:
        shape, kind = node.args, "float"
    elif name in _FILLED and node.args:
        first = node.args[0]
        shape = first.elts if isinstance(first, (ast.Tuple, ast.List)) else []
        kind_given = argument(node, 2 if name == "numpy.full" else 1, "dtype")
        kind = "float" if kind_given is None and name != "numpy.full" else _written_type(syntax, kind_given)
    else:
        return None
    sizes = [number(each) for each in shape]
    if len(sizes) != 3:
        return None
    if sizes[-1] == 3 and kind == "float":
        return "an array of floats", _BYTES if name != "numpy.zeros" else "give it dtype=np.uint8"
    return ("an array with its channels first", _TURN) if sizes[0] == 3 and (sizes[-1] or 0) > 4 else None


def _written_type(syntax: Syntax, node: ast.expr | None) -> str:
    if node is None:
        return ""
    name = node.value if isinstance(node, ast.Constant) else syntax.name(node).rpartition(".")[2]
    return "float" if name in ("float32", "float64", "float16", "float", "double") else str(name)


# --- the order of the colours -------------------------------------------------------------------------------------

_TAKES_RGB = ("PIL.Image.fromarray", "matplotlib.pyplot.imshow", "matplotlib.pyplot.imsave",
              "torchvision.transforms.functional.to_pil_image", "torchvision.transforms.v2.functional.to_pil_image",
              "skimage.io.imsave", "skimage.io.imshow", "imageio.imwrite", "imageio.imsave")  # fmt: skip
_NORMALIZE = ("torchvision.transforms.functional.normalize", "torchvision.transforms.v2.functional.normalize")
_TAKES_BGR = ("cv2.imwrite", "cv2.imshow")
#: of ImageNet's pictures, in the order red, green, blue
_IMAGENET_RED = 0.485


@check("SRC026", Severity.WARNING, since="0.1")
def bgr_as_rgb(source: SourceTree) -> Iterator[Finding]:
    """Red and blue are exchanged on the way from one library to another.

    OpenCV reads and writes blue, green, red; Pillow, matplotlib, torchvision and all pretrained networks have red
    first. Nothing raises, the colours are only wrong.

    Fix: `image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)` right after `cv2.imread`, and
    `cv2.cvtColor(image, cv2.COLOR_RGB2BGR)` before `cv2.imwrite`.
    """
    for file in source.files:
        if "cv2" not in file.text:
            continue
        syntax = file.syntax
        for given, taker, wanted in _takers(file):
            known = picture(syntax, given)
            normalised = known is not None and known.axes == "CHW" and known.library == "torch"
            if known is None or known.library == "pil" or not (known.axes == "HWC" or normalised):
                continue
            if known.colour != ("BGR" if wanted == "RGB" else "RGB"):
                continue
            frames = [file.frame(given, f"{known.colour}")]
            if known.source is not None and known.source.lineno != given.lineno:
                frames.append(file.frame(known.source, "read here"))
            yield Finding(
                file.place(given),
                "{image} is in the order {order}, and {taker} takes {wanted}",
                image=file.segment(given),
                order=known.colour,
                taker=taker,
                wanted=wanted,
                show=frames,
                fix=f"convert it first: cv2.cvtColor({file.segment(given)}, cv2.COLOR_{known.colour}2{wanted})",
            )


def _takers(file: SourceFile) -> Iterator[tuple[ast.expr, str, str]]:
    """Pictures that something takes in a known order of colours: the picture, who takes it, the order."""
    syntax = file.syntax
    for name in _TAKES_RGB:
        place = 1 if name.endswith(("imsave", "imwrite")) else 0
        for call in syntax.calls(name):
            if len(call.args) > place:
                yield call.args[place], name, "RGB"
    for call in syntax.method_calls("imshow"):
        if not syntax.name(call.func) and len(call.args) == 1:  # of matplotlib's axes
            yield call.args[0], "matplotlib", "RGB"
    for name in _TAKES_BGR:
        for call in syntax.calls(name):
            if len(call.args) > 1:
                yield call.args[1], name, "BGR"
    if "0.485" not in file.text:
        return
    for call in syntax.calls(*_NORMALIZE):
        if len(call.args) > 1 and _is_imagenet(call.args[1]):
            yield call.args[0], "the normalisation of ImageNet", "RGB"
    for call in syntax.of(ast.Call):
        given = call.args[0] if len(call.args) == 1 else argument(call, None, "image")
        if given is not None and isinstance(call.func, (ast.Name, ast.Attribute)) and _normalises(syntax, call.func):
            yield given, "the normalisation of ImageNet", "RGB"


def _normalises(syntax: Syntax, function: ast.expr) -> bool:
    """Whether a call is of a `Compose` that normalises with ImageNet's figures and can't turn the colours before."""
    made = last_held(syntax, function)
    if not (isinstance(made, ast.Call) and syntax.name(made.func).endswith(".Compose") and made.args):
        return False
    steps = last_held(syntax, made.args[0])
    if not isinstance(steps, ast.List):
        return False
    found = False
    for step in steps.elts:
        if not isinstance(step, ast.Call) or syntax.name(step.func).rpartition(".")[2] in ("", "Lambda"):
            return False
        if syntax.name(step.func).endswith(".Normalize"):
            mean = argument(step, 0, "mean")
            found = mean is not None and _is_imagenet(mean)
    return found


def _is_imagenet(mean: ast.expr) -> bool:
    values = mean.elts if isinstance(mean, (ast.List, ast.Tuple)) else []
    return bool(values) and number(values[0]) == _IMAGENET_RED


# --- the range ----------------------------------------------------------------------------------------------------

_SHARES = {"torch.sigmoid", "torch.softmax", "torch.nn.functional.softmax", "torch.nn.functional.sigmoid",
           "numpy.random.rand", "numpy.random.random"}  # fmt: skip
_SHARE_METHODS = {"sigmoid", "softmax"}
_KEEPS = {"cpu", "detach", "numpy", "squeeze", "permute", "transpose", "clone", "float", "copy"}


@check("SRC061", Severity.ERROR, since="0.1")
def float_truncated_to_uint8(source: SourceTree) -> Iterator[Finding]:
    """Floats between 0 and 1 are cut down to whole bytes.

    The cast drops what stands behind the point, so that all but the ones become 0: the picture is black.

    Fix: `(x * 255).round().astype(np.uint8)`, `x.mul(255).round().byte()` for a tensor; for a mask a comparison,
    `(x > 0.5)`.
    """
    for file in source.files:
        if "uint8" not in file.text and ".byte()" not in file.text:
            continue
        syntax = file.syntax
        for call, given in _to_bytes(syntax):
            known = picture(syntax, given)
            small = known is not None and known.top == 1 and known.kind == "float" and "C" in known.axes
            if small or _is_share(syntax, given, 6):
                yield Finding(
                    file.place(call),
                    "{values} holds floats of 0 to 1, which the cast cuts down to 0",
                    values=file.segment(given),
                    show=file.frame(call, "drops what stands behind the point"),
                    fix="multiply by 255 and round first",
                )


def _to_bytes(syntax: Syntax) -> Iterator[tuple[ast.Call, ast.expr]]:
    """Casts to bytes, and what is cast."""
    for call in syntax.method_calls("astype", "to", "type"):
        if isinstance(call.func, ast.Attribute) and len(call.args) == 1 and not syntax.name(call.func):
            wanted = call.args[0]
            name = wanted.value if isinstance(wanted, ast.Constant) else syntax.name(wanted)
            if name in ("uint8", "numpy.uint8", "torch.uint8", "numpy.ubyte"):
                yield call, call.func.value
    for call in syntax.method_calls("byte"):
        if isinstance(call.func, ast.Attribute) and not call.args:
            yield call, call.func.value
    for call in syntax.calls("numpy.uint8", "numpy.array", "numpy.asarray"):
        kind = argument(call, 1, "dtype")
        if call.args and (syntax.name(call.func) == "numpy.uint8" or _written_type(syntax, kind) == "uint8"):
            yield call, call.args[0]


def _is_share(syntax: Syntax, node: ast.expr | ast.AugAssign, depth: int) -> bool:
    """Whether values certainly lie between 0 and 1, the ends hardly ever reached."""
    if depth == 0:
        return False
    if isinstance(node, ast.Name):
        values = held(syntax, node)
        return bool(values) and all(_is_share(syntax, each, depth - 1) for each in values)
    if isinstance(node, ast.Subscript):
        return _is_share(syntax, node.value, depth - 1)
    if not isinstance(node, ast.Call):
        return False
    if syntax.name(node.func) in _SHARES:
        return True
    if isinstance(node.func, ast.Attribute) and not syntax.name(node.func):
        return node.func.attr in _SHARE_METHODS or (
            node.func.attr in _KEEPS and _is_share(syntax, node.func.value, depth - 1)
        )
    return False


# --- files that can't be read or written --------------------------------------------------------------------------


@check(
    "SRC027",
    Severity.WARNING,
    since="0.1",
    symptoms=(
        "'NoneType' object has no attribute 'shape' & imread",
        "'NoneType' object is not subscriptable & imread",
        "Assertion failed) !_src.empty() in function 'cvtColor'",
    ),
)
def unchecked_imread(source: SourceTree) -> Iterator[Finding]:
    """A picture that OpenCV may not have read is used at once.

    `cv2.imread` raises nothing for a file that is missing, damaged, or has a name that it can't open: it answers None,
    and the training dies in the middle of an epoch without the name of the file.

    Fix: `if image is None: raise FileNotFoundError(path)` behind the line.
    """
    for file in source.files:
        if "imread" not in file.text:
            continue
        for call in file.syntax.calls("cv2.imread"):
            use = _unguarded(file, call)
            if use is not None:
                frames = [file.frame(call, "may be None")]
                if use.lineno != call.lineno:
                    frames.append(file.frame(use, "used as a picture"))
                yield Finding(
                    file.place(call),
                    "{call} may answer None, and is used without a test",
                    call=file.segment(call),
                    show=frames,
                    fix="raise with the path where the answer is None",
                )


def _unguarded(file: SourceFile, call: ast.Call) -> ast.expr | None:
    """The use of a read picture that fails where it is None, if nothing in the function looks at that."""
    syntax = file.syntax
    function = syntax.function(call)
    if not call.args or isinstance(call.args[0], ast.Constant) or not isinstance(function, ast.FunctionDef):
        return None
    looped = syntax.within(call, ast.For, ast.AsyncFor, ast.While, ast.ListComp)
    if function.name != "__getitem__" and (looped is None or syntax.function(looped) is not function):
        return None
    if any(isinstance(above, ast.Try) for above in syntax.around(call)):
        return None
    if any(word in file.segment(function) for word in (" None", "exists(", "is_file(", "isfile(")):
        return None
    above = syntax.parent(call)
    if isinstance(above, ast.Assign) and len(above.targets) == 1 and isinstance(above.targets[0], ast.Name):
        name = above.targets[0].id
        reads = [
            each
            for each in syntax.of(ast.Name)
            if each.id == name
            and isinstance(each.ctx, ast.Load)
            and syntax.function(each) is function
            and (each.lineno, each.col_offset) > (call.lineno, call.col_offset)
        ]
        return reads[0] if reads and _fails_on_none(syntax, reads[0]) else None
    return call if _fails_on_none(syntax, call) else None


def _fails_on_none(syntax: Syntax, use: ast.expr) -> bool:
    above = syntax.parent(use)
    if isinstance(above, (ast.Attribute, ast.Subscript)):
        return above.value is use
    if not isinstance(above, ast.Call) or use not in above.args[:1]:
        return False
    return syntax.name(above.func).startswith(("cv2.", "numpy."))


_MAKES_FOLDERS = ("makedirs", "mkdir", "exists(", "isdir", "TemporaryDirectory", "mkdtemp", "tmp_path", "is_dir(",
                  "copytree")  # fmt: skip


@check("SRC074", Severity.WARNING, since="0.1")
def unchecked_imwrite(source: SourceTree) -> Iterator[Finding]:
    """Pictures are written into a folder that may not be there.

    `cv2.imwrite` answers False where the folder doesn't exist, and raises nothing: after hours of work the results
    are nowhere.

    Fix: `os.makedirs(folder, exist_ok=True)` first, and `if not cv2.imwrite(...): raise OSError(path)`.
    """
    for file in source.files:
        if "imwrite" not in file.text or any(word in file.text for word in _MAKES_FOLDERS):
            continue
        for call in file.syntax.calls("cv2.imwrite"):
            if isinstance(file.syntax.parent(call), ast.Expr) and call.args and _has_folder(file.syntax, call.args[0]):
                yield Finding(
                    file.place(call),
                    "nothing makes the folder of {path}, and the answer of cv2.imwrite is dropped",
                    path=file.segment(call.args[0]),
                    show=file.frame(call, "False where the folder is missing"),
                    fix="make the folder with os.makedirs(folder, exist_ok=True), and raise where the answer is False",
                )


def _has_folder(syntax: Syntax, path: ast.expr) -> bool:
    """Whether a path certainly names a folder below the working one that this file could have made."""
    path = last_held(syntax, path)
    if isinstance(path, ast.Call):
        return syntax.name(path.func) == "os.path.join" and len(path.args) > 1
    if isinstance(path, ast.Constant):
        return isinstance(path.value, str) and "/" in path.value.removeprefix("./").removeprefix("/tmp/")
    if isinstance(path, ast.JoinedStr):
        return any(isinstance(part, ast.Constant) and "/" in str(part.value) for part in path.values)
    if isinstance(path, ast.BinOp) and isinstance(path.op, (ast.Add, ast.Mod)):
        return _has_folder(syntax, path.left if isinstance(path.op, ast.Mod) else path.right)
    return False
