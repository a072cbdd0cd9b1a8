"""Checks of `dldoctor loader`: the pictures as a network would get them."""

from __future__ import annotations

from collections.abc import Iterator

from dldoctor import Advice, Finding, Items, Leaf, Place, Severity, check, input_leaf


@check("DAT006", Severity.WARNING, since="0.1", unless=("DAT007",))
def unnormalised_input(items: Items) -> Iterator[Finding]:
    """The pictures arrive as floats from 0 to 255.

    A network that was initialised or trained for values around 0 with deviation 1 learns slowly from them or not at
    all: the first layer's outputs are a hundred times too large.

    Fix: scale to 0-1 (v2.ToDtype(torch.float32, scale=True)) and normalise with the mean and deviation measured here.
    """
    if items.collate == "custom" and not any(_is_beyond(leaf) for leaf in items.batch):
        return  # the collate_fn scales them
    found = [leaf for item in items.items if (leaf := input_leaf(item.leaves)) and _is_raw(leaf)]
    pictures = [item for item in items.items if input_leaf(item.leaves)]
    if not found or len(found) < 0.9 * len(pictures):
        return
    if not all(leaf.whole for leaf in found) and max(leaf.high or 0 for leaf in found) <= _BRIGHT:
        return  # metres, decibels, degrees
    channels = len(found[0].mean)
    mean = [round(sum(leaf.mean[c] for leaf in found) / len(found) / 255, 3) for c in range(channels)]
    std = [round((sum(leaf.std[c] ** 2 for leaf in found) / len(found)) ** 0.5 / 255, 3) for c in range(channels)]
    low = min(leaf.low for leaf in found if leaf.low is not None)
    high = max(leaf.high for leaf in found if leaf.high is not None)
    yield Finding(
        Place(index=items.items[0].index),
        "{name} is {dtype} from {low:g} to {high:g} in all {count} pictures pulled",
        name=found[0].title,
        dtype=found[0].dtype,
        low=low,
        high=high,
        count=len(found),
        mean=mean,
        std=std,
        fix=Advice(
            "scale, then normalise with what was measured on these items:",
            (
                "v2.ToDtype(torch.float32, scale=True),  # of the uint8 picture",
                f"v2.Normalize(mean={mean}, std={std}),",
            ),
        ),
    )


#: the brightest value of a few dozen photographs lies above
_BRIGHT = 200


def _is_raw(leaf: Leaf) -> bool:
    """Floats within 0 to 255 in three channels; in a single one, where a spectrogram may have them too, whole ones."""
    in_range = leaf.low is not None and leaf.high is not None and leaf.low >= 0 and 32 < leaf.high <= 255
    return bool(
        leaf.channel_axis is not None
        and leaf.dtype.startswith("float")
        and in_range
        and (len(leaf.mean) > 1 or leaf.whole)
    )


def _is_beyond(leaf: Leaf) -> bool:
    return len(leaf.shape) >= 3 and leaf.dtype.startswith("float") and (leaf.high or 0) > 32


@check(
    "DAT007",
    Severity.ERROR,
    Severity.WARNING,
    since="0.1",
    symptoms=("expected input[{b}, {h}, {w}, 3] to have 3 channels, but got {h} channels instead",),
)
def channels_last_input(items: Items, *, smooth: float = 0.6) -> Iterator[Finding]:
    """The pictures arrive as height x width x channels; torch's layers want channels x height x width.

    A convolution either refuses the shape or takes the height for its channels.

    Fix: image.permute(2, 0, 1) for a tensor, image.transpose(2, 0, 1) for an array (never reshape or view, which
    scramble the picture).
    """
    if items.collate == "custom":
        return  # the collate_fn may turn them
    leaves = [leaf for item in items.items if (leaf := input_leaf(item.leaves))]
    turned = [leaf for leaf in leaves if _is_turned(leaf, smooth)]
    if not turned or len(turned) < 0.9 * len(leaves):
        return
    leaf = turned[0]
    whole = all(other.dtype == "uint8" for other in turned)
    yield Finding(
        Place(index=items.items[0].index),
        "{name} is {shape}, height x width x channels, in all {count} pictures pulled",
        name=leaf.title,
        shape=" x ".join(map(str, leaf.shape)),
        count=len(turned),
        smoothness=list(leaf.smoothness),
        fix=f".permute(2, 0, 1) makes it {leaf.shape[2]} x {leaf.shape[0]} x {leaf.shape[1]}"
        if leaf.kind == "tensor"
        else f".transpose(2, 0, 1) makes it {leaf.shape[2]} x {leaf.shape[0]} x {leaf.shape[1]}",
        # bytes are often turned and scaled on the GPU, and the items of a Dataset alone by a collate_fn
        severity=Severity.WARNING if whole or not items.collate else Severity.ERROR,
    )


def _is_turned(leaf: Leaf, smooth: float) -> bool:
    """Channels stand last, both other axes are smooth as the sides of a picture are, and the channels resemble each
    other (unlike x, y and z). A single channel proves little: it must have a picture's range and sides."""
    if leaf.channel_axis != 2 or leaf.kind not in ("tensor", "array") or len(leaf.smoothness) != 3:
        return False
    if min(leaf.smoothness[:2]) < smooth:
        return False
    if leaf.shape[2] == 1:
        in_range = leaf.low is not None and leaf.high is not None and leaf.low >= 0 and leaf.high <= 255
        return in_range and min(leaf.shape[:2]) >= 16 and max(leaf.shape[:2]) <= 4 * min(leaf.shape[:2])
    return leaf.smoothness[2] >= _ALIKE


#: red, green and blue of photographs correlate by 0.7 and more
_ALIKE = 0.3
