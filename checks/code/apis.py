"""Pitfalls of names and arguments that the libraries have left behind."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from dldoctor import Finding, Severity, SourceTree, check
from dldoctor.facts.source.spelling.names import DEPRECATED, DOCUMENTED, GONE
from dldoctor.facts.source.spelling.outdated import Outdated, outdated_names
from dldoctor.facts.source.spelling.outdated_arguments import deprecated_arguments, refused_arguments, styles
from dldoctor.facts.source.spelling.versions import version_guarded
from dldoctor.facts.source.syntax import argument
from dldoctor.facts.source.text import SourceFile

_LIBRARIES = ("torch", "numpy", "PIL")
#: Pillow methods that are gone -> what makes their receiver, and what to write
_GONE_METHODS = {
    "getsize": (
        ("PIL.ImageFont.truetype", "PIL.ImageFont.load_default", "PIL.ImageFont.load"),
        "write font.getbbox(text), whose last two numbers are the size",
    ),
    "textsize": (("PIL.ImageDraw.Draw",), "write draw.textbbox((0, 0), text, font=font)"),
    "multiline_textsize": (("PIL.ImageDraw.Draw",), "write draw.multiline_textbbox((0, 0), text, font=font)"),
}


@check(
    "SRC010",
    Severity.WARNING,
    since="0.1",
    symptoms=("Weights only load failed", "WeightsUnpickler error: Unsupported global"),
)
def unsafe_load(source: SourceTree) -> Iterator[Finding]:
    """A checkpoint is opened in a way that runs the code inside it.

    A pickle may call anything, so a file from elsewhere can take over the machine as it is loaded. Since torch 2.6
    tensors alone are read unless the call says otherwise.

    Fix: `weights_only=True`, and `torch.serialization.add_safe_globals([...])` for the classes that the file really
    needs. The edit is unsafe: a file that holds whole objects no longer opens.
    """
    for file in source.files:
        if "weights_only" not in file.text and "pickle_module" not in file.text:
            continue
        names = ("torch.load", "torch.serialization.load", "torch.hub.load_state_dict_from_url")
        for call in file.syntax.calls(*names):
            allowed = argument(call, None, "weights_only")
            if allowed is None or not _is_false(allowed) or _is_own(file, call) or version_guarded(file.syntax, call):
                continue
            yield Finding(
                file.place(call),
                "runs whatever code the file holds",
                show=file.frame(allowed, "reads any pickle"),
                fix=file.fix(
                    "write weights_only=True, and name what it then refuses to torch.serialization.add_safe_globals",
                    [file.replace(allowed, "True")],
                    safe=False,
                ),
            )


def _is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is False


def _is_own(file: SourceFile, call: ast.Call) -> bool:
    """Whether this very file wrote what it loads, or loads a buffer in memory."""
    path = argument(call, 0, "f")
    if path is None:
        return False
    if isinstance(path, ast.Name):
        made = [each.value for each in _assigned(file, path)]
        if any(
            isinstance(m, ast.Call) and file.syntax.name(m.func) in ("io.BytesIO", "tempfile.TemporaryFile")
            for m in made
        ):
            return True
    text = ast.dump(path)
    return any(
        (target := argument(save, 1, "f")) is not None and ast.dump(target) == text
        for save in file.syntax.calls("torch.save", "torch.serialization.save")
    )


def _assigned(file: SourceFile, name: ast.Name) -> list[ast.Assign]:
    """The assignments that a name holds, as seen from its use."""
    found = []
    for _, held in file.syntax.bindings_of(name):
        for binding in held:
            above = file.syntax.parent(binding)
            if isinstance(above, ast.Assign) and binding in above.targets:
                found.append(above)
        break
    return found


@check(
    "SRC018",
    Severity.WARNING,
    Severity.INFO,
    since="0.1",
    symptoms=(
        "is deprecated. Please use `torch.amp.autocast('cuda', args...)` instead",
        "is deprecated. Please use `torch.amp.GradScaler('cuda', args...)` instead",
        "The parameter 'pretrained' is deprecated since 0.13",
        "size_average and reduce args will be deprecated",
        "Implicit dimension choice for softmax has been deprecated",
        "Implicit dimension choice for log_softmax has been deprecated",
        "the use_reentrant parameter should be passed explicitly",
        "torch.meshgrid: in an upcoming release, it will be required to pass the indexing argument",
        "volatile was removed and now has no effect",
    ),
)
def deprecated_api(source: SourceTree, *, style: bool = False) -> Iterator[Finding]:
    """A name or argument is used that the library is about to drop.

    It works today, with a warning or a note in the documentation, and stops the training after some upgrade. Code that
    tries for several versions is left alone. With the setting `style` matters of taste are told as well.

    Fix: write what the finding says. An edit is unsafe where the new form differs in some case, such as a `Variable`
    that cuts its graph.
    """
    for file in source.files:
        if not any(word in file.text for word in _LIBRARIES):
            continue
        found = [*outdated_names(file, DEPRECATED, called=True), *deprecated_arguments(file), *_volatile(file)]
        yield from _told(file, found, "deprecated", Severity.WARNING)
        if style:
            found = [*outdated_names(file, DOCUMENTED, called=True), *styles(file)]
            yield from _told(file, found, "better written in another way", Severity.INFO)


def _volatile(file: SourceFile) -> Iterator[Outdated]:
    if "volatile" not in file.text:
        return
    for call in file.syntax.calls("torch.autograd.Variable"):
        flag = argument(call, None, "volatile")
        if isinstance(flag, ast.Constant) and flag.value is True:
            words = "put the evaluation under torch.no_grad()"
            yield Outdated(flag, "volatile=True, which does nothing any more,", "torch 0.4", words)


@check(
    "SRC080",
    Severity.ERROR,
    since="0.1",
    symptoms=(
        "module 'numpy' has no attribute 'float'",
        "module 'numpy' has no attribute 'int'",
        "module 'numpy' has no attribute 'bool'",
        "module 'numpy' has no attribute 'object'",
        "was removed in the NumPy 2.0 release",
        "module 'PIL.Image' has no attribute 'ANTIALIAS'",
        "'FreeTypeFont' object has no attribute 'getsize'",
        "'ImageDraw' object has no attribute 'textsize'",
        "No module named 'torchvision.transforms.functional_tensor'",
        "No module named 'torchvision.models.utils'",
        "cannot import name 'model_urls'",
        "No module named 'torch._six'",
        "This function was deprecated since version 1.9 and is now removed",
        "__init__() got an unexpected keyword argument 'verbose'",
        "got an unexpected keyword argument 'resample'",
        "invalid index of a 0-dim tensor. Use `tensor.item()` in Python",
    ),
)
def removed_api(source: SourceTree) -> Iterator[Finding]:
    """A name or argument is used that today's library no longer has.

    The line raises as soon as it is reached, which may be hours into the run. Code that tries for several versions is
    left alone.

    Fix: write what the finding says, or pin the old version in the requirements.
    """
    for file in source.files:
        if not any(word in file.text for word in _LIBRARIES):
            continue
        found = [*outdated_names(file, GONE), *refused_arguments(file), *_gone_methods(file), *_indexed_losses(file)]
        yield from _told(file, found, "gone", Severity.ERROR)


def _gone_methods(file: SourceFile) -> Iterator[Outdated]:
    for name, (makers, words) in _GONE_METHODS.items():
        for call in file.syntax.method_calls(name):
            receiver = call.func.value if isinstance(call.func, ast.Attribute) else None
            if not isinstance(receiver, ast.Name) or version_guarded(file.syntax, call):
                continue
            made = [each.value for each in _assigned(file, receiver)]
            if made and all(isinstance(each, ast.Call) and file.syntax.name(each.func) in makers for each in made):
                yield Outdated(call, f"{ast.unparse(call.func)}()", "Pillow 10", words)


def _indexed_losses(file: SourceFile) -> Iterator[Outdated]:
    """`loss.data[0]` of what is back-propagated, and so has no axis."""
    if ".data[0]" not in file.text:
        return
    scalars = {
        (file.syntax.function(call), ast.unparse(call.func.value))
        for call in file.syntax.method_calls("backward")
        if isinstance(call.func, ast.Attribute) and not call.args and not call.keywords
    }
    for node in file.syntax.of(ast.Subscript):
        if (
            isinstance(node.value, ast.Attribute)
            and node.value.attr == "data"
            and isinstance(node.slice, ast.Constant)
            and node.slice.value == 0
            and isinstance(node.ctx, ast.Load)
            and (file.syntax.function(node), ast.unparse(node.value.value)) in scalars
            and not version_guarded(file.syntax, node)
        ):
            loss = file.segment(node.value.value)
            edits = (file.replace(node, f"{loss}.item()"),)
            yield Outdated(node, f"{loss}.data[0]", "torch 0.5", f"write {loss}.item()", edits)


def _told(file: SourceFile, found: Iterable[Outdated], state: str, severity: Severity) -> Iterator[Finding]:
    for each in found:
        since = f" ({each.since})" if each.since else ""
        yield Finding(
            file.place(each.node),
            f"{{name}} {'are' if each.several else 'is'} {state}{{since}}",
            severity=severity,
            name=each.what,
            since=since,
            show=file.frame(each.node, each.words if len(each.words) < 40 else ""),
            fix=file.fix(each.words, each.edits, safe=each.safe),
        )
