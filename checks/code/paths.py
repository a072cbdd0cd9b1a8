"""Pitfalls of file names and folders: endings, backslashes, the order of a listing."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator, Sequence

from dldoctor import Edit, Finding, Severity, SourceTree, check
from dldoctor.facts.source.reaching import held
from dldoctor.facts.source.syntax import Syntax
from dldoctor.facts.source.text import SourceFile

#: what ends a file name, with and without its dot, or hangs on a name by a sign: `.jpg`, `_mask`, `-label.png`
_ENDING = re.compile(
    r"\.(?=\w*[A-Za-z])\w+(\.\w+)*|[_-][A-Za-z]{2,}\w*(\.\w+)*|\w*\.(jpe?g|png|tiff?|txt|csv|json|npy)"
)
_BARE_ENDINGS = {"jpg", "jpeg", "png", "tif", "tiff", "bmp", "gif", "webp", "txt", "csv", "json", "xml", "npy", "npz",
                 "pth", "yaml", "mp4", "avi", "mask", "label"}  # fmt: skip
#: a number has no letters that could be eaten
_NUMBERS = ("builtins.int", "builtins.float")
_BEGINNING = re.compile(r"[A-Za-z]{3,}[\w.]*[._/-]|(https?|file)://|www\.")


@check("SRC053", Severity.ERROR, since="0.1")
def stripped_suffix(source: SourceTree) -> Iterator[Finding]:
    """An ending is taken off a name with `strip`, letter by letter.

    `rstrip(".jpg")` takes off every `.`, `j`, `p` and `g` at the end, in any order: `"bag.jpg"` becomes `"ba"`. Some
    names lose letters, so pictures and masks or labels no longer pair.

    Fix: `removesuffix(".jpg")`, `removeprefix("module.")`. The fix for `strip` takes off one end and is not safe where
    both were meant.
    """
    for file in source.files:
        if "strip(" not in file.text:
            continue
        for call in file.syntax.method_calls("rstrip", "lstrip", "strip"):
            text = call.args[0] if len(call.args) == 1 and not call.keywords else None
            if not isinstance(text, ast.Constant) or not isinstance(text.value, str):
                continue
            assert isinstance(call.func, ast.Attribute)
            how = call.func.attr
            better = _removal(how, text.value)
            around = file.syntax.parent(call)
            if not better or (isinstance(around, ast.Call) and file.syntax.name(around.func) in _NUMBERS):
                continue
            end = file.span(call.func)[1]
            yield Finding(
                file.place(call),
                "{how} takes off any of the letters of {text}, not the text",
                how=how,
                text=ast.unparse(text),
                show=file.frame(call, "eats letters of the name"),
                fix=file.fix(
                    f"write .{better}({file.segment(text)})",
                    [Edit(file.path, end - len(how), end, better)],
                    safe=how != "strip",
                ),
            )


def _removal(how: str, text: str) -> str:
    """The method that was meant, if the text is an ending or a beginning and no set of letters."""
    ending = _ENDING.fullmatch(text) is not None or text in _BARE_ENDINGS
    if how != "lstrip" and ending:
        return "removesuffix"
    return "removeprefix" if how != "rstrip" and _BEGINNING.fullmatch(text) else ""


# --- backslashes --------------------------------------------------------------------------------------------------

_NAMES = {
    "t": "a tab",
    "n": "a line end",
    "b": "a backspace",
    "a": "a bell",
    "f": "a form feed",
    "r": "a carriage return",
    "v": "a vertical tab",
}
_OPENERS = ("builtins.open", "os.listdir", "os.walk", "os.path.exists", "os.makedirs", "os.chdir",
            "glob.glob", "pathlib.Path", "PIL.Image.open", "cv2.imread", "cv2.imwrite", "numpy.load", "numpy.loadtxt",
            "pandas.read_csv", "pandas.read_excel", "torch.load", "torchvision.datasets.ImageFolder",
            "torchvision.io.read_image", "cv2.VideoCapture", "skimage.io.imread", "imageio.imread")  # fmt: skip
_CONTROL = re.compile(r"[\x00-\x08\t\n\x0b\x0c\r]")
_WRITTEN_DRIVE = re.compile(r"""['"][A-Za-z]:\\[\\\w]""")
_DRIVE = re.compile(r"[A-Za-z]:[\\\x00-\x08\t\n\x0b\x0c\r]")
#: a path as it is written: parts between backslashes, a drive before them perhaps
_WRITTEN = re.compile(r"(?:[A-Za-z]:|\.{0,2}|[^\\/:*?\"'<>|\s]+)(?:(?:\\{1,2}|/)[^\\/:*?\"'<>|\n]+)+(?:\\\\)?")
_ESCAPE = re.compile(r"(?<!\\)(?:\\\\)*\\([abfnrtv0-7x])")
#: the letters that drives have; `A:` and `Q:` begin other texts
_DRIVES = re.compile(r"[C-Hc-hX-Zx-z]:")
_SHORTEST = 5
_FILE = re.compile(r"\.[A-Za-z]\w{1,4}$")
_LITERAL = re.compile(r"(?P<prefix>[fFuU]?)(?P<quote>'''|\"\"\"|'|\")(?P<inner>.*)(?P=quote)", re.S)


@check(
    "SRC066",
    Severity.ERROR,
    since="0.1",
    symptoms=("OSError: [Errno 22] Invalid argument: 'C:\\t", "OSError: [Errno 22] Invalid argument: 'D:\\t"),
)
def unescaped_windows_path(source: SourceTree) -> Iterator[Finding]:
    r"""A Windows path in a plain string holds control characters.

    In `"C:\train\new"` the `\t` is a tab and the `\n` a line end, so the path names nothing that exists.

    Fix: a raw string, `r"C:\train\new"`, or forward slashes, which Windows takes as well.
    """
    for file in source.files:
        if "\\" not in file.text:
            continue
        syntax = file.syntax
        given = {id(part) for call in syntax.calls(*_OPENERS) for part in call.args[:1]}
        given |= {id(part) for call in syntax.calls("os.path.join") for part in call.args}
        drives = _WRITTEN_DRIVE.search(file.text) is not None
        if not given and not drives:
            continue
        literals: list[ast.Constant | ast.JoinedStr] = [
            node
            for node in syntax.of(ast.Constant)
            if isinstance(node.value, str)
            and (id(node) in given or (drives and _DRIVE.match(node.value)))
            and _CONTROL.search(node.value)
            and not isinstance(syntax.parent(node), ast.JoinedStr)
        ]
        literals += [node for node in syntax.of(ast.JoinedStr) if _starts_as_path(node, id(node) in given)]
        for node in literals:
            yield from _written_path(file, node, id(node) in given)


def _starts_as_path(node: ast.JoinedStr, opened: bool) -> bool:
    texts = [each.value for each in node.values if isinstance(each, ast.Constant) and isinstance(each.value, str)]
    first = node.values[0] if node.values else None
    drive = isinstance(first, ast.Constant) and bool(_DRIVE.match(str(first.value)))
    return (opened or drive) and any(_CONTROL.search(text) for text in texts)


def _written_path(file: SourceFile, node: ast.Constant | ast.JoinedStr, opened: bool) -> Iterator[Finding]:
    written = file.segment(node)
    literal = _LITERAL.fullmatch(written)
    if (
        literal is None
        or len(literal["inner"]) < _SHORTEST
        or not _WRITTEN.fullmatch(re.sub(r"\{[^{}]*\}", "x", literal["inner"]))
    ):
        return
    inner = literal["inner"]
    escapes = [match[1] for match in _ESCAPE.finditer(inner)]
    plain_backslash = len(re.findall(r"\\", inner)) > len(escapes)
    parts = [part for part in re.split(r"[\\/]+", inner)[1:] if part]
    long_parts = _DRIVES.match(inner) and all(len(part) > 1 for part in parts)
    likely = long_parts and (plain_backslash or len(set(escapes)) > 1 or _FILE.search(inner))
    if not escapes or not (opened or likely):
        return
    if "\\\\" in inner or inner.endswith("\\"):
        text = literal["prefix"] + literal["quote"] + re.sub(r"\\+", "/", inner) + literal["quote"]
    else:
        text = ("r" if literal["prefix"] in ("", "u", "U") else "r" + literal["prefix"]) + written.lstrip("uUfF")
    yield Finding(
        file.place(node),
        "\\{escape} in this path is a control character",
        escape=escapes[0],
        show=file.frame(node, f"\\{escapes[0]} is {_NAMES.get(escapes[0], 'a character by its number')}"),
        fix=file.fix(f"write {text}", [file.replace(node, text)]),
    )


# --- the order of a listing ---------------------------------------------------------------------------------------

_LISTINGS = ("os.listdir", "glob.glob", "glob.iglob", "os.scandir")


@check("SRC068", Severity.WARNING, since="0.1")
def unsorted_listing(source: SourceTree) -> Iterator[Finding]:
    """The order of a folder's listing decides class numbers or pairs.

    `os.listdir` and `glob` answer in the order of the file system, which differs from machine to machine: a picture
    gets another's mask, or class 0 is another class where the model is used.

    Fix: `sorted(os.listdir(folder))`. Numbers of classes may change against checkpoints trained before, so that edit
    is not safe; for pairs it is.
    """
    for file in source.files:
        if not any(word in file.text for word in ("listdir", "glob(", "iterdir(", "scandir(")):
            continue
        syntax = file.syntax
        seen: set[ast.AST] = set()
        for listing, why, safe in (*_pairs(syntax), *_numbers(syntax)):
            if listing in seen:
                continue
            seen.add(listing)
            yield Finding(
                file.place(listing),
                "the order of {listing} is the file system's, and decides {why}",
                listing=file.segment(listing),
                why=why,
                show=file.frame(listing, "in no order"),
                fix=file.fix(f"write sorted({file.segment(listing)})", _sorted(file, listing), safe=safe),
            )


def _sorted(file: SourceFile, listing: ast.Call) -> list[Edit] | None:
    if file.syntax.name(listing.func) == "os.scandir":
        return None  # its entries have no order
    return [file.replace(listing, f"sorted({file.segment(listing)})")]


def _listing(syntax: Syntax, node: ast.expr, depth: int = 6, *, ordered: bool = False) -> ast.Call | None:
    """The unsorted listing that an expression's order comes from; with `ordered` also one that was sorted since."""
    if depth == 0:
        return None
    deeper = functools.partial(_listing, syntax, depth=depth - 1, ordered=ordered)
    if isinstance(node, ast.Call):
        name = syntax.name(node.func)
        if name in _LISTINGS or (not name and isinstance(node.func, ast.Attribute) and _lists(node)):
            return node
        if name in ("builtins.list", "builtins.tuple") and len(node.args) == 1:
            return deeper(node.args[0])
        if ordered and name.rpartition(".")[2] in ("sorted", "natsorted") and node.args:
            return deeper(node.args[0])
        return None
    if isinstance(node, (ast.ListComp, ast.GeneratorExp)) and len(node.generators) == 1:
        return deeper(node.generators[0].iter)
    if isinstance(node, ast.Name) or (isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)):
        values = held(syntax, node)
        if len(values) != 1 or not isinstance(values[0], ast.expr):
            return None
        return deeper(values[0]) if ordered or not _is_put_in_order(syntax, node) else None
    return None


def _lists(call: ast.Call) -> bool:
    """Whether a method call is a Path's listing."""
    assert isinstance(call.func, ast.Attribute)
    if call.func.attr in ("glob", "rglob"):
        return len(call.args) == 1 and isinstance(call.args[0], (ast.Constant, ast.JoinedStr))
    return call.func.attr == "iterdir" and not call.args


def _is_put_in_order(syntax: Syntax, node: ast.Name | ast.Attribute) -> bool:
    """Whether a name is sorted in place somewhere."""
    written = ast.unparse(node)
    return any(
        isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) == written
        for call in syntax.method_calls("sort")
    )


def _pairs(syntax: Syntax) -> Iterator[tuple[ast.Call, str, bool]]:
    """Listings of two folders that are paired by their order."""
    for call in syntax.calls("builtins.zip"):
        yield from _paired(syntax, call.args)
    for function in syntax.of(ast.FunctionDef):
        if function.name == "__getitem__" and len(function.args.args) == 2:
            index = function.args.args[1].arg
            yield from _paired(
                syntax,
                [
                    part.value
                    for part in ast.walk(function)
                    if isinstance(part, ast.Subscript)
                    and isinstance(part.value, ast.Attribute)
                    and isinstance(part.slice, ast.Name)
                    and part.slice.id == index
                ],
            )


def _paired(syntax: Syntax, lists: Sequence[ast.expr]) -> Iterator[tuple[ast.Call, str, bool]]:
    """The unsorted ones among two or more listings that are read side by side."""
    if len({_listing(syntax, each, ordered=True) for each in lists} - {None}) > 1:
        for each in lists:
            if (listing := _listing(syntax, each)) is not None:
                yield listing, "which files are paired", True


def _numbers(syntax: Syntax) -> Iterator[tuple[ast.Call, str, bool]]:
    """Listings whose places become the numbers of classes."""
    for call in syntax.calls("builtins.enumerate"):
        above = syntax.parent(call)
        listing = _listing(syntax, call.args[0]) if call.args else None
        if listing is None:
            continue
        target: ast.expr | None = None
        if isinstance(above, ast.For) or (
            isinstance(above, ast.comprehension) and isinstance(syntax.parent(above), ast.DictComp)
        ):
            target = above.target
        if isinstance(target, ast.Tuple) and isinstance(target.elts[0], ast.Name) and above is not None:
            around = above if isinstance(above, ast.For) else syntax.parent(above)
            if around is not None and _is_label(syntax, around, target.elts[0].id):
                yield listing, "the numbers of the classes", False
    for call in syntax.calls("builtins.zip"):
        above = syntax.parent(call)
        kept = isinstance(above, ast.Call) and syntax.name(above.func) == "builtins.dict"
        if kept and len(call.args) == 2 and any(_counts(syntax, each) for each in call.args):
            for each in call.args:
                if (listing := _listing(syntax, each)) is not None:
                    yield listing, "the numbers of the classes", False
    for call in syntax.method_calls("index"):
        if isinstance(call.func, ast.Attribute) and len(call.args) == 1:
            listing = _listing(syntax, call.func.value)
            if listing is not None and isinstance(call.func.value, (ast.Name, ast.Attribute)):
                yield listing, "the numbers of the classes", False


def _counts(syntax: Syntax, node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and syntax.name(node.func) in ("builtins.range", "itertools.count")


def _is_label(syntax: Syntax, around: ast.AST, index: str) -> bool:
    """Whether a counter is kept as a value beside others: in a dict, or appended to a list."""
    if isinstance(around, ast.DictComp):
        return isinstance(around.value, ast.Name) and around.value.id == index
    for part in ast.walk(around):
        if isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute) and part.func.attr == "append":
            given = part.args[0].elts if part.args and isinstance(part.args[0], ast.Tuple) else part.args
            if any(isinstance(each, ast.Name) and each.id == index for each in given):
                return True
        if isinstance(part, ast.Assign) and isinstance(part.value, ast.Name) and part.value.id == index:
            return isinstance(part.targets[0], ast.Subscript)
    return False
