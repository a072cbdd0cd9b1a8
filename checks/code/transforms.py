"""Pitfalls of transforms: their order, and what is drawn apart for a picture and its mask."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence

from dldoctor import Finding, Severity, SourceTree, check
from dldoctor.facts.source.reaching import last_held
from dldoctor.facts.source.spelling.versions import is_expected
from dldoctor.facts.source.syntax import Syntax
from dldoctor.facts.source.text import SourceFile

_V1, _V2 = "torchvision.transforms.", "torchvision.transforms.v2."
_COMPOSE = (_V1 + "Compose", _V2 + "Compose")
_TO_TENSOR = {"ToTensor", "ToImage", "PILToTensor"}
#: raise for a picture of Pillow
_TENSORS_ONLY = {"Normalize", "LinearTransformation"}
_TENSORS_ONLY_V1 = {*_TENSORS_ONLY, "RandomErasing", "ConvertImageDtype"}
#: raise for floats, which `ToTensor` makes
_BYTES_ONLY_V1 = {"RandAugment", "AutoAugment", "TrivialAugmentWide", "AugMix", "RandomEqualize", "RandomPosterize"}
_PICTURES_ONLY_V1 = {"ToTensor", "PILToTensor"}
#: take their values to be 0..1 and cut off the rest
_ZERO_TO_ONE = {"ColorJitter", "RandomInvert", "RandomSolarize", "RandomAdjustSharpness", "RandomAutocontrast"}
#: leave a picture of Pillow one
_PIL_STAYS = {"Resize", "CenterCrop", "RandomCrop", "RandomResizedCrop", "RandomHorizontalFlip", "RandomVerticalFlip",
              "RandomRotation", "ColorJitter", "Grayscale", "RandomGrayscale", "Pad", "RandomAffine", "GaussianBlur",
              "RandomPerspective", *_BYTES_ONLY_V1, *_ZERO_TO_ONE}  # fmt: skip


@check(
    "SRC037",
    Severity.ERROR,
    Severity.WARNING,
    since="0.1",
    symptoms=(
        "img should be Tensor Image. Got <class 'PIL.Image.Image'>",
        "Normalize() does not support PIL images",
        "pic should be PIL Image or ndarray. Got <class 'torch.Tensor'>",
        "Only torch.uint8 image tensors are supported, but found torch.float32",
    ),
)
def misordered_transforms(source: SourceTree) -> Iterator[Finding]:
    """Transforms stand in an order in which they can't work.

    `Normalize` takes a tensor, so it stands behind `ToTensor`; `RandAugment` and its kin take bytes, so before it;
    `ColorJitter` takes values of 0 to 1, so behind `Normalize` it cuts off half of them.

    Fix: what changes the picture, then `ToTensor()`, then `Normalize(...)`, then `RandomErasing(...)`.
    """
    for file in source.files:
        if "transforms" not in file.text:
            continue
        for call in file.syntax.calls(*_COMPOSE):
            steps = last_held(file.syntax, call.args[0]) if len(call.args) == 1 else None
            if isinstance(steps, (ast.List, ast.Tuple)) and not is_expected(file.syntax, call):
                yield from _order(file, steps.elts)
        for call in file.syntax.calls("torch.nn.Sequential"):
            if any(_named(file.syntax, each)[0] for each in call.args):
                yield from _order(file, call.args)


def _order(file: SourceFile, steps: Sequence[ast.expr]) -> Iterator[Finding]:
    """What stands where it can't work: behind the step that made a tensor, or before it."""
    named = [_named(file.syntax, step) for step in steps]
    kinds = [name for name, _ in named]
    converts = [place for place, kind in enumerate(kinds) if kind in _TO_TENSOR]
    tensor: ast.expr | None = None
    normal: ast.expr | None = None
    for place, (step, (kind, old)) in enumerate(zip(steps, named, strict=True)):
        later = next((each for each in converts if each > place), None)
        ahead = set(kinds[:place]) <= _PIL_STAYS and later is not None and set(kinds[place + 1 : later]) <= _PIL_STAYS
        if kind in (_TENSORS_ONLY_V1 if old else _TENSORS_ONLY) and tensor is None and ahead and later is not None:
            yield _misplaced(file, step, steps[later], f"takes a tensor, and stands before {kinds[later]}")
        elif tensor is not None and old and kind in _PICTURES_ONLY_V1:
            yield _misplaced(file, step, tensor, "takes a picture, and the step before it made a tensor")
        elif tensor is not None and old and kind in _BYTES_ONLY_V1 and _named(file.syntax, tensor)[0] == "ToTensor":
            yield _misplaced(file, step, tensor, "takes bytes, and stands behind ToTensor, which makes floats")
        elif normal is not None and kind in _ZERO_TO_ONE:
            said = "takes values of 0 to 1, and stands behind Normalize"
            yield _misplaced(file, step, normal, said, Severity.WARNING)
        if kind in _TO_TENSOR:
            tensor = step
        elif kind == "Normalize":
            normal = step
        elif kind not in (_PIL_STAYS | _TENSORS_ONLY_V1):  # a Lambda, `ToPILImage`, someone's own
            tensor = normal = None


def _named(syntax: Syntax, step: ast.expr) -> tuple[str, bool]:
    """A transform's name, and whether it is of the first version."""
    step = last_held(syntax, step)
    name = syntax.name(step.func) if isinstance(step, ast.Call) else ""
    if name.startswith(_V2):
        return name.removeprefix(_V2), False
    return (name.removeprefix(_V1), True) if name.startswith(_V1) else ("", False)


def _misplaced(
    file: SourceFile, step: ast.expr, other: ast.expr, said: str, severity: Severity = Severity.ERROR
) -> Finding:
    frames = [file.frame(step, said.partition(",")[0])]
    if other.lineno != step.lineno:
        frames.append(file.frame(other))
    return Finding(
        file.place(step),
        "{transform} {said}",
        transform=_named(file.syntax, step)[0],
        said=said,
        severity=severity,
        show=frames,
        fix="order them: changes of the picture, ToTensor(), Normalize(...), RandomErasing(...)",
    )


# --- a picture and its mask ---------------------------------------------------------------------------------------

#: draw where the pixels go
_MOVING = re.compile(r"torchvision\.transforms\.(v2\.)?(RandomCrop|RandomResizedCrop|RandomHorizontalFlip|"
                     r"RandomVerticalFlip|RandomRotation|RandomAffine|RandomPerspective|ElasticTransform)")  # fmt: skip
_MOVERS = re.compile(r"Random(Crop|Resized|Horiz|Vert|Rot|Aff|Persp)|ElasticTransform")
_MASK = re.compile(
    r"(^|_)(masks?|segs?|segmentation|seg_?maps?|labels?|annotations?|gt|ground_?truth|targets?)(_|$|\d)"
)
_RESETS = ("manual_seed", "random.seed", "set_rng_state", "setstate", "set_state", "get_params")


@check("SRC040", Severity.WARNING, since="0.1")
def desynchronised_augmentation(source: SourceTree) -> Iterator[Finding]:
    """A picture and its mask are turned, flipped or cropped by separate draws.

    Each call of a random transform draws anew, so the mask no longer lies on the picture, and the network learns from
    pairs that don't belong together.

    Fix: hand both to one call of `torchvision.transforms.v2` (`transform(image, tv_tensors.Mask(mask))`), or draw once
    with `get_params` and apply the same figures to both.
    """
    for file in source.files:
        if "torchvision" not in file.text or not _MOVERS.search(file.text):
            continue
        syntax = file.syntax
        for function in syntax.of(ast.FunctionDef):
            calls = [
                part
                for part in ast.walk(function)
                if isinstance(part, ast.Call)
                and len(part.args) == 1
                and not part.keywords
                and isinstance(part.func, (ast.Name, ast.Attribute))
                and not syntax.name(part.func)
            ]
            if len(calls) < 2:
                continue
            moving = [(call, step) for call in calls if (step := _moves(syntax, call.func)) is not None]
            masks = [(call, step) for call, step in moving if _is_mask(syntax, call)]
            pictures = [call for call, _ in moving if not _is_mask(syntax, call)]
            if not masks or not pictures or any(word in file.segment(function) for word in _RESETS):
                continue
            call, step = masks[0]
            yield Finding(
                file.place(call),
                "{mask} and {image} are moved by separate draws",
                mask=file.segment(call.args[0]),
                image=file.segment(pictures[0].args[0]),
                show=(
                    file.frame(call, "draws anew"),
                    file.frame(pictures[0], "has drawn for the picture"),
                    file.frame(step, "at random"),
                ),
                fix="hand both to one call: transform(image, tv_tensors.Mask(mask)) of torchvision.transforms.v2",
            )


def _moves(syntax: Syntax, function: ast.expr) -> ast.expr | None:
    """The random step of a transform that moves pixels."""
    made = last_held(syntax, function)
    if not isinstance(made, ast.Call):
        return None
    name = syntax.name(made.func)
    if name in _COMPOSE and made.args:
        steps = last_held(syntax, made.args[0])
        found = [step for step in steps.elts if isinstance(step, ast.Call)] if isinstance(steps, ast.List) else []
        return next((step for step in found if _MOVING.fullmatch(syntax.name(step.func))), None)
    return made if _MOVING.fullmatch(name) else None


def _is_mask(syntax: Syntax, call: ast.Call) -> bool:
    """Whether a name says that a mask is transformed; asked only beside a picture that is transformed alike."""
    above = syntax.parent(call)
    for node in (call.args[0], above.targets[0] if isinstance(above, ast.Assign) else None):
        name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
        if _MASK.search(name.lower()):
            return True
    return False
