"""Golden screens: 80 and 40 columns, no colour, ASCII, names that are not Latin."""

from pathlib import Path

import pytest
from rich.cells import cell_len

from dldoctor import (
    Advice,
    CodeFrame,
    Curve,
    Finding,
    HexBytes,
    Histogram,
    Listing,
    Outcome,
    Place,
    Report,
    ShapeChain,
    ShapeStep,
    Table,
)  # fmt: skip
from dldoctor.outcome import Crash, Entry, Skipped
from dldoctor.report import Look
from dldoctor.report.exhibits import draw

from ..engine import records

GOLDEN = Path(__file__).parent / "golden"
LARGE, ODD, CRASHING, UNSURE = records("AAA001", "AAA002", "AAA005", "AAA007")


def report() -> Report:
    frame = CodeFrame("net.py", 18, "        self.fc1 = nn.Linear(2000, 500)", 30, 34, "write 233280")
    chain = ShapeChain((
        ShapeStep("pool", "MaxPool2d(2)", "80 x 108 x 108", "80 x 54 x 54"),
        ShapeStep("", "view, net.py:31", "80 x 54 x 54", "233280"),
        ShapeStep("fc1", "Linear(2000, 500)", "233280", "500", marked=True),
    ))  # fmt: skip
    entries = (
        Entry(ODD, Finding(Place("net.py", 18, 30, "fc1"), "fc1 declares {n} features, {m} arrive", n=2000, m=233280,
                           show=(frame, chain), fix=Advice("write the number", ("sed -i s/2000/233280/ net.py",)))),
        Entry(LARGE, Finding("数据/猫/图片一.jpg", "以 {rows} 行结束", rows=112, fix="fetch it again")),
        Entry(LARGE, Finding("data/a.jpg", "ends after {rows} of 375 rows", rows=112, fix="fetch it again")),
        Entry(UNSURE, Finding(".", "rose has 14.2 times the pictures of iris", show=(
            Histogram((("rose", 1704), ("daisy", 936), ("iris", 120))),
            Table(("form", "items"), (("3 x 32 x 32", 18), ("3 x 40 x 32", 1))),
            HexBytes(b"<!DOCTYPE html>\n<html>", "an HTML page"),
            Curve("loss", (1.1, 1.0, 0.7, 0.4, 0.2)),
        ))),
    )  # fmt: skip
    return Report(Outcome(
        "project", "花 flowers", Path("."), entries=entries, checks_run=("AAA001", "AAA002", "AAA007"),
        skipped=(Skipped(CRASHING, "needs --batch N"),), notes=("ignore AAA9 silences nothing; remove it",),
        crashes=(Crash("tests.engine.crashing", "KeyError: 'lost' (engine.py:1)", code="AAA005"),), seconds=1.94,
    ))  # fmt: skip


@pytest.mark.parametrize(
    ("name", "look"),
    [
        ("80", Look(width=80)),
        ("40", Look(width=40)),
        ("ascii", Look(width=80, ascii=True)),
        ("verbose", Look(width=80, verbose=True)),
        ("quiet", Look(width=80, quiet=True)),
        ("color", Look(width=80, color=True)),
    ],
)
def test_screen(name: str, look: Look, update: bool) -> None:
    text = report().render("terminal", look)
    file = GOLDEN / f"{name}.txt"
    if update:
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_no_line_is_wider_than_the_screen(width: int) -> None:
    commands = ("sed -i",)  # what is to be pasted stays in one piece
    lines = [line for line in report().render("terminal", Look(width=width)).splitlines()
             if not line.strip().startswith(commands)]  # fmt: skip
    assert max(map(cell_len, lines)) <= width


@pytest.mark.parametrize(("column", "end"), [(1, 5), (90, 120), (190, 200), (1, 200)])
def test_a_long_line_of_code_is_cut_around_its_carets(column: int, end: int) -> None:
    text = "".join(f"{number:03d}-" for number in range(50))
    lines = [line.plain for line in draw(CodeFrame("a.py", 1, text, column, end), Look(width=80))]
    assert max(map(cell_len, lines)) <= 80
    first = len(lines[-1]) - len(lines[-1].lstrip())
    marked = lines[-2][first : first + 4]
    assert marked.startswith((text[column - 1 : column + 1], ".."))


def test_an_ascii_screen_draws_in_ascii() -> None:
    text = report().render("terminal", Look(ascii=True))
    assert "#" in text
    assert not set(text) & set("█▏▁→\u00d7")


def test_a_clean_report_is_short_and_says_what_was_examined() -> None:
    clean = Report(Outcome("code", "train.py", Path("."), checks_run=("AAA001",), seconds=0.1))
    assert clean.render("terminal", Look()) == "train.py\n\nnothing found; 1 check. 0.1 s\n"


def test_a_flowing_line_goes_on_below_after_a_comma() -> None:
    listing = Listing("  classes  猫と犬の写真: 40, daisy: 12, rose: 3\n  all pictures are 64 x 48", flowing=True)
    assert [line.plain for line in draw(listing, Look(width=40))] == [
        "  classes  猫と犬の写真: 40, daisy: 12,",
        "    rose: 3",
        "  all pictures are 64 x 48",
    ]
