"""Small datasets for the tests of the dataset's checks."""

import io
from pathlib import Path
from typing import Any

from PIL import Image
from skimage import data

from dldoctor.examine import scan
from dldoctor.outcome import Entry
from dldoctor.resources import Resources

ASTRONAUT = Image.fromarray(data.astronaut())  # type: ignore[no-untyped-call]  # scikit-image has no types
PHOTO = ASTRONAUT.resize((128, 96))


def photo(number: int, size: tuple[int, int] = (48, 36)) -> Image.Image:
    """A different part of the photograph for each number."""
    column, row = number % 13, number // 13 % 11
    return PHOTO.crop((column, row, column + 100, row + 80)).resize(size)


def encoded(image: Image.Image, form: str = "JPEG", **options: Any) -> bytes:
    """The image as the bytes of a file."""
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def put(folder: Path, files: dict[str, bytes | str | Image.Image]) -> None:
    """Write files by their paths; pictures in the format of their ending."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Image.Image):
            content.save(path)
        elif isinstance(content, str):
            path.write_text(content, encoding="utf-8")
        else:
            path.write_bytes(content)


def classes(folder: Path, names: dict[str, int], start: int = 0, ending: str = "jpg") -> int:
    """Class folders with so many pictures each; the number of the next picture."""
    for name, count in names.items():
        put(folder, {f"{name}/{start + n}.{ending}": photo(start + n) for n in range(count)})
        start += count
    return start


def findings(folder: Path, **options: Any) -> list[Entry]:
    """What a scan finds; nothing may crash."""
    report = scan(folder, resources=Resources(workers=1), **options)
    assert report.outcome.crashes == ()
    return list(report)


def codes(folder: Path, **options: Any) -> list[str]:
    """The codes of a scan's findings."""
    return [entry.check.code for entry in findings(folder, **options)]
