"""What an expression is known to be as a picture."""

from __future__ import annotations

import ast

import pytest

from dldoctor.facts.source.pictures import Picture, picture
from dldoctor.facts.source.syntax import Syntax

_IMPORTS = """
import cv2
import numpy as np
import torch
from PIL import Image
from torchvision import transforms
from torchvision.io import read_image
from torchvision.transforms import functional as TF
"""


def known(text: str) -> Picture | None:
    """The picture that the last line of a text is."""
    syntax = Syntax(ast.parse(_IMPORTS + text))
    assert syntax.tree is not None
    last = syntax.tree.body[-1]
    assert isinstance(last, ast.Expr)
    return picture(syntax, last.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cv2.imread(p)", Picture("numpy", "HWC", "BGR", "uint8", 255)),
        ("cv2.imread(p, 0)", Picture("numpy", "HW", "grey", "uint8", 255)),
        ("cv2.imread(p, -1)", Picture("numpy")),
        ("cv2.imread(p, cv2.IMREAD_COLOR_RGB)", Picture("numpy", "HWC", "RGB", "uint8", 255)),
        ("cv2.cvtColor(cv2.imread(p), cv2.COLOR_BGR2RGB)", Picture("numpy", "HWC", "RGB", "uint8", 255)),
        ("cv2.imread(p)[:, :, ::-1]", Picture("numpy", "HWC", "RGB", "uint8", 255)),
        ("cv2.imread(p)[..., [2, 1, 0]]", Picture("numpy", "HWC", "RGB", "uint8", 255)),
        ("cv2.imread(p)[:, :, 0]", Picture("numpy", "HW", "grey", "uint8", 255)),
        ("cv2.imread(p)[10:20]", Picture("numpy", "HWC", "BGR", "uint8", 255)),
        ("cv2.imread(p).transpose(2, 0, 1)", Picture("numpy", "CHW", "BGR", "uint8", 255)),
        ("np.moveaxis(cv2.imread(p), -1, 0)", Picture("numpy", "CHW", "BGR", "uint8", 255)),
        ("cv2.imread(p)[None]", Picture("numpy", "NHWC", "BGR", "uint8", 255)),
        ("cv2.imread(p) / 255", Picture("numpy", "HWC", "BGR", "float", 1)),
        ("cv2.imread(p) / 255.0 * 255", Picture("numpy", "HWC", "BGR", "float", 255)),
        ("x = cv2.imread(p)\nx = x.astype(np.float32)\nx /= 255\nx", Picture("numpy", "HWC", "BGR", "float", 1)),
        ("Image.open(p)", Picture("pil", kind="uint8", top=255)),
        ("np.array(Image.open(p))", Picture("numpy", kind="uint8", top=255)),
        ("np.array(Image.open(p).convert('RGB'))", Picture("numpy", "HWC", "RGB", "uint8", 255)),
        ("TF.to_tensor(Image.open(p).convert('RGB'))", Picture("torch", "CHW", "RGB", "float", 1)),
        ("transforms.ToTensor()(cv2.imread(p))", Picture("torch", "CHW", "BGR", "float", 1)),
        ("torch.from_numpy(cv2.imread(p)).permute(2, 0, 1).float()", Picture("torch", "CHW", "BGR", "float", 255)),
        ("read_image(p)", Picture("torch", "CHW", kind="uint8", top=255)),
        ("x = cv2.imread(p)\nif c:\n    x = x[:, :, ::-1]\nx", Picture("numpy", "HWC", "", "uint8", 255)),
        ("c = cv2.VideoCapture(0)\nok, x = c.read()\nx", Picture("numpy", "HWC", "BGR", "uint8", 255)),
    ],
)
def test_a_picture_is_followed_through_the_calls_of_the_libraries(text: str, expected: Picture) -> None:
    assert known(text) == expected


@pytest.mark.parametrize(
    "text",
    ["f(cv2.imread(p))", "cv2.imread(p) > 3", "x", "cv2.imread(p)[mask]", "np.zeros((3, 4))", "Image.open(p).size"],
)
def test_what_may_be_anything_is_no_picture(text: str) -> None:
    assert known(text) is None
