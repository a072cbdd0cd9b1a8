"""Tables of a scan survive their file form: what was found is found again from saved facts."""

from pathlib import Path

from PIL import Image

from dldoctor.examine import replay, save_facts, scan
from dldoctor.plugins import load_registry
from dldoctor.resources import Resources
from dldoctor.settings import Settings

from ...checks.dataset_folder import encoded, photo, put


def test_saved_facts_give_the_same_findings(tmp_path: Path) -> None:
    data = tmp_path / "data"
    put(data, {f"images/{n}.jpg": photo(n) for n in range(3)})
    put(data, {f"masks/{n}.png": photo(n).convert("L").point(lambda v: 255 * (v > 99)) for n in range(2)})
    put(data, {"images/cut.jpg": encoded(photo(7))[:-300], "masks/cut.png": Image.new("L", (9, 9))})
    report = scan(data, resources=Resources(workers=1))
    save_facts(report, tmp_path / "facts.json")
    again = replay(tmp_path / "facts.json", Settings(load_registry(), tmp_path), Resources())
    assert [(e.check.code, e.finding) for e in again] == [(e.check.code, e.finding) for e in report]
    assert [e.check.code for e in report] == ["IMG001", "MSK001", "MSK005"]
