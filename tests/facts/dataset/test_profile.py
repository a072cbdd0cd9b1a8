"""The profile of a dataset: its numbers are those of numpy over the files, and its lines can be pasted."""

import json
from pathlib import Path

import numpy
import pytest
from PIL import Image

from dldoctor.examine import scan
from dldoctor.facts.dataset.profile import DatasetProfile, SizeTally
from dldoctor.report import Look
from dldoctor.resources import Resources

from ...checks.dataset_folder import classes, photo, put
from ...checks.test_masks import areas, coloured, pairs


def profile_of(folder: Path) -> DatasetProfile:
    report = scan(folder, resources=Resources(workers=1))
    (found,) = [fact for fact in report.outcome.facts if isinstance(fact, DatasetProfile)]
    return found


def test_classes_are_counted_in_each_split(tmp_path: Path) -> None:
    classes(tmp_path / "train", {"cat": 4, "dog": 3})
    classes(tmp_path / "val", {"cat": 2, "dog": 1}, start=20)
    found = profile_of(tmp_path)
    assert found.splits == ("train", "val")
    assert [(c.name, c.counts) for c in found.classes] == [("cat", (4, 2)), ("dog", (3, 1))]
    assert found.normalisation is not None
    assert (found.normalisation.split, found.normalisation.pictures) == ("train", 7)


def test_sizes_are_counted(tmp_path: Path) -> None:
    put(tmp_path, {f"{n}.jpg": photo(n, (48, 36) if n else (60, 20)) for n in range(4)})
    found = profile_of(tmp_path)
    assert found.sizes == (SizeTally(48, 36, 3), SizeTally(60, 20, 1))
    assert (found.different_sizes, found.widths, found.heights) == (2, (48, 48, 60), (20, 36, 36))


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_the_mean_is_that_of_the_full_pictures(tmp_path: Path, mode: str) -> None:
    put(tmp_path, {f"{n}.png": photo(n, (400, 300)).convert(mode) for n in range(6)})
    pixels = numpy.stack([numpy.asarray(Image.open(path)) for path in sorted(tmp_path.iterdir())]) / 255
    channels = pixels.reshape(-1, 3 if mode == "RGB" else 1)
    found = profile_of(tmp_path).normalisation
    assert found is not None
    assert found.mean == pytest.approx(channels.mean(0), abs=0.005)
    assert found.std == pytest.approx(channels.std(0), rel=0.1)
    v2 = pytest.importorskip("torchvision.transforms.v2")
    torch = pytest.importorskip("torch")
    normalised = eval(found.line, {"v2": v2})(torch.tensor(pixels[0].reshape(300, 400, -1)).permute(2, 0, 1).float())
    assert abs(float(normalised.mean())) < 0.5


def test_the_pixels_of_mask_values_are_shared_out(tmp_path: Path) -> None:
    put(tmp_path, pairs([areas([0, 0, 0, 1], n) for n in range(3)]))
    found = profile_of(tmp_path)
    assert [(share.value, share.share) for share in found.mask_shares] == [("0", 0.75), ("1", 0.25)]


def test_colours_get_an_index_to_paste(tmp_path: Path) -> None:
    put(tmp_path, pairs([coloured(n) for n in range(3)]))
    report = scan(tmp_path, resources=Resources(workers=1))
    (measured,) = json.loads(report.to_json())["measured"]
    assert sorted(measured["values"]["colour_to_index"].values()) == [0, 1, 2]
    text = report.render("terminal", Look(verbose=True))
    start = text.index("index = {(0, 0, 0): 0")
    table = eval(text[start + 8 : text.index("}", start) + 1])
    assert table[0, 0, 0] == 0
    assert set(table) == {(0, 0, 0), (220, 20, 60), (0, 0, 142)}


def test_a_calm_dataset_has_a_line_for_each_thing(tmp_path: Path) -> None:
    classes(tmp_path, {"cat": 4, "dog": 4})
    report = scan(tmp_path, resources=Resources(workers=1))
    lines = report.render("terminal", Look()).split("\n\n")[1].splitlines()
    words = [line.split()[0].partition("=")[0] for line in lines]
    assert words == ["recognised", "classes", "all", "v2.Normalize(mean"]


def test_quantities_are_no_classes(tmp_path: Path) -> None:
    put(tmp_path, {f"{n}.jpg": photo(n) for n in range(4)})
    put(tmp_path, {"labels.csv": "file,age\n" + "".join(f"{n}.jpg,{n}.5\n" for n in range(4))})
    assert profile_of(tmp_path).classes == ()
