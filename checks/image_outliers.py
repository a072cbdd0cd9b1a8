"""IMG: pictures that are unlike the others of their dataset, and pictures that show nothing.

What is usual is asked of the dataset itself, never of a constant: a dataset of digits is dark throughout, one of scans
bright, one of microscopy soft. Under `LEAST` pictures there is no "usual", and these checks stay silent.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dldoctor import Advice, BoxTable, Finding, ImageTable, Severity, Table, check, leave_out

#: pictures that it takes to say what is usual
LEAST = 50
#: what more than this share of the pictures have is a trait of the dataset, not a fault of theirs
RARE = 0.05
#: blank pictures that are named one by one; more are one finding
_NAMED = 10
#: levels that a mean may be off by chance: a change of less is no other sensor
_LEVELS_APART = 25
#: short sides between which a picture's blur shows at the network's input
_BLUR_SIDES = (160, 1024)


def rare(images: ImageTable, *conditions: Any) -> list[Any]:
    """The decoded pictures for which all conditions hold, if there are few of them among many others."""
    decoded = images.decoded
    if len(decoded) < LEAST:
        return []
    found = decoded.filter(*conditions)
    return list(images.rows(found)) if 0 < len(found) <= RARE * len(decoded) else []


def showing(images: ImageTable) -> Any:
    """Of a picture that isn't one constant colour."""
    return images.col.grey_deviation > 0


@check("IMG015", Severity.WARNING, since="0.1")
def blank_image(images: ImageTable) -> Iterator[Finding]:
    """The picture is one constant colour.

    A failed download or render, or a crop of nothing: it carries a label and teaches the network that the label means
    nothing.

    Fix: fetch the picture again, or move it out of the dataset.
    """
    flat = [
        image
        for image in images.where(images.col.outcome == "decoded", images.col.grey_deviation == 0)
        if not (image.red_deviation or image.green_deviation or image.blue_deviation)
        # of a JPEG, one colour at an eighth of the size may be a fine pattern at full size
        and image.edge_width is None
        and min(image.width, image.height) > 1
    ]
    paths = tuple(image.path for image in flat)
    if len(flat) > _NAMED:
        yield Finding(
            ".",
            "{count} pictures are one constant colour each, such as {example}",
            count=len(flat),
            example=paths[0],
            paths=list(paths[:1000]),
            fix=leave_out(paths, "leave them out, unless an empty picture is a sample of its own kind", safe=False),
        )
        return
    for image in flat:
        see_through = image.mode in ("RGBA", "LA", "PA")
        yield Finding(
            image.path,
            "is one colour without its alpha channel: {colour}" if see_through else "is one colour: {colour}",
            colour=_colour(image),
            bytes=image.size,
            fix=Advice('put it on a background before .convert("RGB"): what it shows is in its alpha channel')
            if see_through
            else leave_out((image.path,)),
        )


def _colour(image: Any) -> str:
    if image.red_mean is None:
        return f"grey {image.grey_mean:g}"
    channels = [round(value) for value in (image.red_mean, image.green_mean, image.blue_mean)]
    return f"grey {channels[0]}" if len(set(channels)) == 1 else "rgb({}, {}, {})".format(*channels)


@check("IMG018", Severity.INFO, since="0.1")
def outlying_channel_statistics(images: ImageTable, *, deviations: float = 6) -> Iterator[Finding]:
    """The colours of a picture are turned round against those of all others.

    Red and blue swapped by OpenCV, or an inverted scan: what the network learns of colour does not hold there.

    Fix: look at the pictures; `cv2.cvtColor(image, cv2.COLOR_BGR2RGB)` before Pillow saves what OpenCV has read.
    """
    balance = images.col.red_mean - images.col.blue_mean
    for trait, value, turned, words in (
        ("the balance of red and blue", balance, -balance, "as if red and blue were swapped"),
        ("the brightness", images.col.grey_mean, 255 - images.col.grey_mean, "as if inverted"),
    ):
        middle, spread = images.usual(value)
        far = (value - middle).abs() > max(deviations * spread, _LEVELS_APART)
        # a red flower among green ones is no fault: the picture must be at home when it is turned back
        fits = (turned - middle).abs() <= 2 * spread + 2
        for image in rare(images, far, fits, showing(images), images.col.bits <= 8):
            own = image.grey_mean if trait == "the brightness" else image.red_mean - image.blue_mean
            yield Finding(
                image.path,
                f"{trait} is {{value}}, usually {{usual}} ± {{spread}}: {words}",
                value=round(own),
                usual=round(middle),
                spread=round(spread),
                fix="look at it beside the others, as the loader delivers it",
            )


@check("IMG021", Severity.INFO, since="0.1")
def blurry_image(images: ImageTable, *, width: float = 2.0) -> Iterator[Finding]:
    """The picture is blurred, where nearly all others are sharp.

    Out of focus, shaken, or made larger from a thumbnail: the details that its label rests on are not there.

    Fix: fetch the picture at its real size, or leave it out.
    """
    col = images.col
    side = images.col.width.clip(upper_bound=col.height)
    measured = images.decoded["edge_width"].drop_nulls()
    # of JPEGs, those that may be blurred alone are measured; where all are, the dataset says what is usual
    usual, spread = images.usual(col.edge_width) if 2 * len(measured) > len(images.decoded) else (0.0, 0.0)
    bound = max(width, 1.5 * usual, usual + 4 * spread)
    blurred = (col.edge_width > bound) & side.is_between(*_BLUR_SIDES) & (col.grey_deviation > 12)
    for image in rare(images, blurred):
        yield Finding(
            image.path,
            "is blurred: its edges are about {edge_width} pixels wide",
            edge_width=round(image.edge_width, 1),
            bound=round(bound, 2),
            fix="look at it; fetch it at its real size or leave it out where its label can't be seen",
        )


@check("IMG022", Severity.INFO, since="0.1")
def off_exposure_image(images: ImageTable, *, share: float = 0.98) -> Iterator[Finding]:
    """The picture is nearly all black or nearly all white, unlike the others.

    A lens cap, a flash, a failed exposure: there is nothing in it to learn its label from.

    Fix: look at the picture, and leave it out where its label can't be seen.
    """
    for tail, words in ((images.col.dark_share, "black"), (images.col.bright_share, "white")):
        usual, spread = images.usual(tail)
        if max(2 * usual, usual + 6 * spread) >= share:
            continue  # digits on black, drawings on white: so the dataset is
        for image in rare(images, tail >= share, showing(images)):
            yield Finding(
                image.path,
                "is {percent} % nearly {tone}, usually {usual} % of a picture is",
                percent=round(100 * (image.dark_share if words == "black" else image.bright_share), 1),
                tone=words,
                usual=round(100 * usual, 1),
                fix="look at it, and leave it out where its label can't be seen",
            )


@check("IMG023", Severity.INFO, unless=("IMG005",), since="0.1")
def odd_aspect_ratio(images: ImageTable, *, deviations: float = 5) -> Iterator[Finding]:
    """The picture is far longer or narrower than all others.

    A resize to the network's square squeezes it beyond recognition, a centre crop sees its middle alone.

    Fix: crop the picture to its content, or pad it to a square before the resize.
    """
    # long and tall alike: a portrait among landscapes is nothing odd
    longer = (images.col.width.log() - images.col.height.log()).abs()
    usual, spread = images.usual(longer)
    for image in rare(images, longer > usual + max(deviations * spread, 1.0)):
        yield Finding(
            image.path,
            "is {width} x {height}: its long side is {ratio} times the short one, usually {usual}",
            width=image.width,
            height=image.height,
            ratio=round(max(image.width, image.height) / min(image.width, image.height), 1),
            usual=round(2.718281828**usual, 1),
            fix="crop it to its content, or pad it to a square before the resize",
        )


@check("IMG024", Severity.INFO, unless=("IMG022",), since="0.1")
def low_information_image(images: ImageTable, *, bits: float = 1.0) -> Iterator[Finding]:
    """The picture shows next to nothing, where the others show much.

    A few grey levels and no detail: a placeholder, a failed render or an empty crop.

    Fix: look at the picture, and leave it out where its label can't be seen.
    """
    usual, spread = images.usual(images.col.entropy)
    if min(usual / 4, usual - 4 * spread) < bits:
        return  # drawings, icons: so the dataset is
    for image in rare(images, images.col.entropy < bits, showing(images)):
        yield Finding(
            image.path,
            "holds {entropy} bits of grey levels, usually {usual}",
            entropy=round(image.entropy, 2),
            usual=round(usual, 1),
            fix="look at it, and leave it out where its label can't be seen",
        )


@check(
    "IMG007",
    Severity.WARNING,
    Severity.INFO,
    since="0.1",
    symptoms=(
        "stack expects each tensor to be equal size, but got [3, {h}, {w}] at entry 0 and [3, {i}, {j}] at entry {n}",
        "stack expects each tensor to be equal size, but got [1, {h}, {w}] at entry 0 and [1, {i}, {j}] at entry {n}",
        "Sizes of tensors must match except in dimension 0. Got {h} and {i} in dimension 2",
        "Sizes of tensors must match except in dimension 0. Expected size {h} but got size {i} for tensor number {n}",
    ),
)
def mixed_sizes(images: ImageTable, boxes: BoxTable | None, *, alike: float = 0.9) -> Iterator[Finding]:
    """The pictures are not all of one size.

    A batch can't be stacked from tensors of several sizes. Photographs come in many, and every recipe for them resizes;
    where nearly all have one size and a few do not, the loader most likely has no resize, and fails when it meets one.

    Fix: `v2.Resize(256), v2.CenterCrop(224)` in the transform, or a collate function that pads.
    """
    if boxes is not None:
        return  # detectors take pictures of any size, and their loaders resize or pad each
    # a side of a few pixels is IMG005's
    sizes = [size for size in images.counted("width", "height") if min(size.width, size.height) >= 8]
    total = sum(size.count for size in sizes)
    if len(sizes) < 2 or total < LEAST:
        return
    most = sizes[0]
    turned = sum(size.count for size in sizes if {size.width, size.height} == {most.width, most.height})
    odd = turned >= alike * total and turned < total
    others = [size for size in sizes if {size.width, size.height} != {most.width, most.height}] if odd else sizes
    rows = tuple((f"{size.width} x {size.height}", size.count, size.path) for size in others[:5])
    shared = {
        "pictures": total,
        "sizes": len(sizes),
        "show": Table(("size", "pictures", "for instance"), rows),
        "fix": Advice("v2.Resize(256), v2.CenterCrop(224) in the transform, or a collate function that pads"),
    }
    if odd:
        yield Finding(
            ".",
            "{count} of {pictures} pictures are not {width} x {height} as all others are",
            count=total - turned,
            width=most.width,
            height=most.height,
            **shared,
        )
    else:
        yield Finding(".", "{pictures} pictures of {sizes} sizes", severity=Severity.INFO, **shared)
