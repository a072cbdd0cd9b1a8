"""Arguments that torch and torchvision no longer take, or ask to be given in another way."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from dldoctor.facts.source.spelling.outdated import Outdated
from dldoctor.facts.source.spelling.respelling import spelled
from dldoctor.facts.source.spelling.versions import version_guarded
from dldoctor.facts.source.syntax import argument, hides_arguments
from dldoctor.facts.source.text import SourceFile
from dldoctor.finding import Edit

#: (function, argument) -> the name that the argument has today
_RENAMED: dict[tuple[str, str], str] = {
    **{
        (f"torchvision.transforms.{name}", old): new
        for name in ("RandomRotation", "RandomAffine", "functional.rotate", "functional.affine")
        for old, new in (("resample", "interpolation"), ("fillcolor", "fill"))
    },
    ("torchvision.utils.make_grid", "range"): "value_range",
    ("torchvision.utils.save_image", "range"): "value_range",
}
_RENAMED_WORDS = {name for _, name in _RENAMED} | {"verbose"}
#: family of torchvision models -> the weights that `pretrained=True` means
_WEIGHTS = {
    "detection": "COCO_V1",
    "segmentation": "COCO_WITH_VOC_LABELS_V1",
    "video": "KINETICS400_V1",
    "": "IMAGENET1K_V1",
}
#: what `pretrained=True` means for these no name tells
_OWN_WEIGHTS = {"keypointrcnn_resnet50_fpn": "COCO_LEGACY", "raft_large": "C_T_SKHT_V2", "raft_small": "C_T_V2"}
_WITHOUT_WEIGHTS = {"vit_h_14", "regnet_y_128gf"}


def _called(file: SourceFile, *words: str) -> Iterator[ast.Call]:
    """Calls with one of these arguments."""
    for keyword in file.syntax.of(ast.keyword):
        call = file.syntax.parent(keyword)
        if keyword.arg in words and isinstance(call, ast.Call):
            yield call


def refused_arguments(file: SourceFile) -> Iterator[Outdated]:
    """Arguments by name that raise a TypeError today."""
    for call in dict.fromkeys(_called(file, *_RENAMED_WORDS)):
        name = file.syntax.name(call.func)
        for keyword in call.keywords:
            new = _RENAMED.get((name, keyword.arg or ""))
            if keyword.arg == "verbose" and name.startswith("torch.optim.lr_scheduler."):
                new = ""
            if new is None or (new and any(each.arg == new for each in call.keywords)):
                continue
            if version_guarded(file.syntax, call):
                continue
            short = name.rpartition(".")[2]
            if new:
                start = file.span(keyword)[0]
                edits = (Edit(file.path, start, start + len((keyword.arg or "").encode()), new),)
                yield Outdated(keyword, f"{short}({keyword.arg}=...)", "", f"write {new}=", edits)
            else:
                words = "take it out; scheduler.get_last_lr() tells the learning rate"
                yield Outdated(keyword, f"{short}({keyword.arg}=...)", "", words, _without(file, call, keyword))


def _without(file: SourceFile, call: ast.Call, keyword: ast.keyword) -> tuple[Edit, ...]:
    """Take an argument out, with the comma before it, or behind it where it is the first."""
    places: list[ast.expr | ast.keyword] = [*call.args, *call.keywords]
    at = places.index(keyword)
    start, end = file.span(keyword)
    if at:
        return (Edit(file.path, file.span(places[at - 1])[1], end, ""),)
    return (Edit(file.path, start, file.span(places[1])[0] if len(places) > 1 else end, ""),)


# --- still taken --------------------------------------------------------------------------------------------------


def deprecated_arguments(file: SourceFile) -> Iterator[Outdated]:
    """Arguments that are taken and warned of."""
    if "torch" not in file.text:
        return
    if "size_average" in file.text or "reduce" in file.text:
        yield from _reductions(file)
    if "torchvision" in file.text:
        yield from _pretrained(file)
    if "checkpoint" in file.text:
        yield from _checkpoints(file)
    if "meshgrid" in file.text:
        yield from _meshgrids(file)
    if "oftmax(" in file.text:
        yield from _implicit_axes(file)


def _reductions(file: SourceFile) -> Iterator[Outdated]:
    for call in dict.fromkeys(_called(file, "size_average", "reduce")):
        name = file.syntax.name(call.func)
        loss = name.startswith("torch.nn.") and name.endswith("Loss")
        if not loss and not (
            name.startswith("torch.nn.functional.")
            and name.endswith(("_loss", "_entropy", "_with_logits", "kl_div", "nll_loss"))
        ):
            continue
        old = [each for each in call.keywords if each.arg in ("size_average", "reduce")]
        meant = {each.arg: each.value.value for each in old if isinstance(each.value, ast.Constant)}
        if len(meant) < len(old) or any(each.arg == "reduction" for each in call.keywords):
            continue  # handed on from a caller
        if version_guarded(file.syntax, call):
            continue
        whole = meant.get("reduce") is False
        new = f'reduction="{"none" if whole else "sum" if meant.get("size_average") is False else "mean"}"'
        edits = (file.replace(old[0], new),) if len(old) == 1 else ()
        what = f"{name.rpartition('.')[2]}({old[0].arg}=...)"
        yield Outdated(old[0], what, "torch 1.0", f"write {new}", edits)


def _pretrained(file: SourceFile) -> Iterator[Outdated]:
    for call in file.syntax.of(ast.Call):
        by_name = any(each.arg in ("pretrained", "pretrained_backbone") for each in call.keywords)
        by_place = bool(call.args) and isinstance(call.args[0], ast.Constant) and type(call.args[0].value) is bool
        if not by_name and not by_place:
            continue
        name = file.syntax.name(call.func)
        if not name.startswith("torchvision.models.") or hides_arguments(call):
            continue
        family, _, model = name.removeprefix("torchvision.models.").rpartition(".")
        if not model.islower() or family not in ("", "detection", "segmentation", "video", "optical_flow"):
            family = family.partition(".")[0] if family.split(".")[0] in _WEIGHTS else ""
        if not model.islower() or model.startswith(("_", "get_", "list_")) or ".quantization." in name:
            continue
        found: list[tuple[ast.expr | ast.keyword, ast.expr, str]] = [
            (keyword, keyword.value, keyword.arg.replace("pretrained", "weights"))
            for keyword in call.keywords
            if keyword.arg in ("pretrained", "pretrained_backbone")
        ]
        if by_place:
            found.insert(0, (call.args[0], call.args[0], "weights"))
        if not found or any(each.arg in ("weights", "weights_backbone") for each in call.keywords):
            continue
        if version_guarded(file.syntax, call):
            continue
        edits: list[Edit] = []
        for place, value, new in found:
            weights = _OWN_WEIGHTS.get(model, _WEIGHTS.get(family, "IMAGENET1K_V1"))
            if new == "weights_backbone":
                weights = "IMAGENET1K_FEATURES" if model == "ssd300_vgg16" else "IMAGENET1K_V1"
            text = _weights(file, value, weights)
            if text is None or (model in _WITHOUT_WEIGHTS and new == "weights"):
                edits = []
                break
            edits.append(file.replace(place, f"{new}={text}"))
        what = f"{model}({'pretrained' if found[0][2] == 'weights' else 'pretrained_backbone'}=...)"
        words = 'write weights="DEFAULT" for the best ones, weights=None for none'
        if len(edits) == 1:
            words = f"write {edits[0].text}"
        yield Outdated(found[0][0], what, "torchvision 0.13", words, tuple(edits))


def _weights(file: SourceFile, value: ast.expr, weights: str) -> str | None:
    """What replaces the flag, as text."""
    if isinstance(value, ast.Constant):
        return {True: f'"{weights}"', False: "None"}.get(value.value) if isinstance(value.value, bool) else None
    if isinstance(value, (ast.Name, ast.Attribute)):
        return f'"{weights}" if {file.segment(value)} else None'
    return None


def _checkpoints(file: SourceFile) -> Iterator[Outdated]:
    for call in file.syntax.calls("torch.utils.checkpoint.checkpoint", "torch.utils.checkpoint.checkpoint_sequential"):
        if argument(call, None, "use_reentrant") is not None or any(each.arg is None for each in call.keywords):
            continue
        name = file.syntax.name(call.func)
        if not name or not call.args or version_guarded(file.syntax, call):
            continue
        last = max([*call.args, *call.keywords], key=lambda each: file.span(each)[1])
        edits: tuple[Edit, ...] = (file.append_argument(last, ", use_reentrant=False"),)
        if len([*call.args, *call.keywords]) == 1 and isinstance(last, ast.GeneratorExp):
            edits = ()
        words = "add use_reentrant=False, or True for what happens today"
        yield Outdated(call, f"{name.rpartition('.')[2]}(...) without use_reentrant", "torch 2.4", words, edits, False)


def _meshgrids(file: SourceFile) -> Iterator[Outdated]:
    for call in file.syntax.calls("torch.meshgrid", "torch.functional.meshgrid"):
        if argument(call, None, "indexing") is not None or any(each.arg is None for each in call.keywords):
            continue
        if not call.args or version_guarded(file.syntax, call):
            continue
        edits: tuple[Edit, ...] = (file.append_argument(call.args[-1], ', indexing="ij"'),)
        if len(call.args) == 1 and isinstance(call.args[0], ast.GeneratorExp):
            edits = ()
        yield Outdated(call, "meshgrid(...) without indexing", "torch 1.10", 'add indexing="ij", as it is today', edits)


def _implicit_axes(file: SourceFile) -> Iterator[Outdated]:
    """Softmax without an axis: torch takes axis 0 of tensors with 1 or 3 axes, else axis 1."""
    functions = [f"torch.nn.functional.{name}" for name in ("softmax", "log_softmax", "softmin")]
    layers = [f"torch.nn.{name}" for name in ("Softmax", "LogSoftmax", "Softmin")]
    for names, place in ((functions, 1), (layers, 0)):
        for call in file.syntax.calls(*names):
            said = hides_arguments(call) or argument(call, place, "dim") is not None
            if said or version_guarded(file.syntax, call):
                continue
            short = file.syntax.name(call.func).rpartition(".")[2]
            words = "say which axis: dim=1 for scores of N x C"
            yield Outdated(call, f"{short}(...) without dim", "torch 0.3", words)


# --- matters of style ---------------------------------------------------------------------------------------------


def styles(file: SourceFile) -> Iterator[Outdated]:
    """Ways of writing that work and that torch or torchvision offer a better one for."""
    syntax = file.syntax
    for call in syntax.calls("torch.log"):
        given = call.args[0] if call.args else None
        if isinstance(given, ast.BinOp) and isinstance(given.op, ast.Add):
            rest = given.right if _is_one(given.left) else given.left if _is_one(given.right) else None
            if rest is not None:
                text, needed = spelled(file, call.func, "torch.log1p")
                edits = (file.replace(call.func, text), file.replace(given, file.segment(rest)), *needed)
                yield Outdated(call, "log(1 + x)", "", "write torch.log1p(x), which is exact for small x", edits)
    for call in syntax.calls("torch.exp"):
        above = syntax.parent(call)
        if isinstance(above, ast.BinOp) and isinstance(above.op, ast.Sub) and above.left is call:
            if not _is_one(above.right) or len(call.args) != 1 or call.keywords:
                continue
            text, needed = spelled(file, call.func, "torch.expm1")
            edits = (file.replace(above, f"{text}({file.segment(call.args[0])})"), *needed)
            yield Outdated(above, "exp(x) - 1", "", "write torch.expm1(x), which is exact for small x", edits)
    for statement in syntax.of(ast.Import):
        for alias in statement.names:
            package, _, name = alias.name.rpartition(".")
            if package == "torchvision" and alias.asname == name:
                line = f"from torchvision import {name}"
                edits = (file.replace(statement, line),) if len(statement.names) == 1 else ()
                yield Outdated(statement, f"import {alias.name} as {name}", "", f"write {line}", edits)
    for call in syntax.calls("torch.utils.data.DataLoader"):
        workers = argument(call, 5, "num_workers")
        if not hides_arguments(call) and (workers is None or _is_zero(workers)):
            yield Outdated(call, "DataLoader(...) without workers", "", "say num_workers=, so that loading overlaps")


def _is_one(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) in (int, float) and node.value == 1


def _is_zero(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) is int and node.value == 0
