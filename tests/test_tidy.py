"""The rules of the house: what every check and fixture has, which way imports go, what starts fast."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from dldoctor.plugins import load_registry
from dldoctor.registry import CODE, Check
from dldoctor.report import format_names
from dldoctor.testing import HALVES, fixtures

from .conftest import ROOT

CHECKS = list(load_registry().checks.values())
FIXTURES = fixtures(ROOT / "fixtures")
ENGINE = sorted((ROOT / "dldoctor").rglob("*.py"))
SOURCES = [*ENGINE, *sorted((ROOT / "checks").rglob("*.py"))]
#: what heavy packages may not be loaded by a command that measures nothing
HEAVY = {"torch", "numpy", "PIL", "polars", "simplejpeg"}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.code)
def test_a_check_says_what_why_and_fix(check: Check) -> None:
    title, *rest = check.doc.split("\n\n")
    assert "\n" not in title
    assert title.endswith(".")
    assert len(rest) >= 2, "what, why and Fix are three paragraphs"
    assert check.why
    assert check.fix
    assert rest[-1].startswith("Fix: ")
    assert not re.match(r"(no(?!-grad|-validation)|avoid|use|prefer)-", check.name)
    assert check.since


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.code)
def test_a_check_has_both_fixtures(check: Check) -> None:
    own = [fixture for fixture in FIXTURES if fixture.code == check.code]
    assert own, f"fixtures/{check.code}-{check.name} is missing"
    for fixture in own:
        assert all(fixture.has(half) for half in HALVES)
        assert fixture.expected.is_file()


def test_every_fixture_is_one_of_a_check_and_small() -> None:
    names = {check.code: check.name for check in CHECKS}
    for fixture in FIXTURES:
        assert names.get(fixture.code) is not None, f"{fixture.folder.name} has no check"
        assert fixture.name.startswith(names[fixture.code])
        size = sum(path.stat().st_size for path in fixture.folder.rglob("*") if "__pycache__" not in path.parts)
        assert size < 64 * 1024, f"{fixture.folder.name} has {size} bytes"


def test_the_engine_names_no_pitfall() -> None:
    codes = {check.code for check in CHECKS}
    for path in ENGINE:
        for code in CODE.findall(path.read_text(encoding="utf-8")):
            allowed = {"LBL005", "SRC001", "ABC001", "IMG003", "IMG001"}  # examples in docstrings and help texts
            assert code not in codes or code in allowed & _only_in_words(path), f"{path.name} names {code}"


def _only_in_words(path: Path) -> set[str]:
    """Codes that stand in docstrings, comments, help texts and messages alone: never compared with anything."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    compared = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
                and CODE.fullmatch(node.value)}  # fmt: skip
    return set(CODE.findall(path.read_text(encoding="utf-8"))) - compared


@pytest.mark.parametrize("path", sorted((ROOT / "checks").rglob("*.py")), ids=lambda path: path.name)
def test_checks_import_the_standard_library_and_dldoctor_alone(path: Path) -> None:
    own = {"dldoctor"}
    for name in _imports(path):
        assert name.partition(".")[0] in sys.stdlib_module_names | own, f"{path.name} imports {name}"


def _imports(path: Path) -> set[str]:
    """Modules imported at module level."""
    found: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(node.module or "")
    return found


#: from left to right, the way of the data; a module imports from its own layer and those before it
LAYERS = (
    {"finding", "child", "pasted"},
    {"fact"},
    {
        "registry",
        "resources",
        "options",
        "requests",
        "isolation",
        "fileform",
        "symptoms",
        "facts",
        "workers",
        "working",
    },
    {"plugins", "outcome", "survey", "fixing", "quarantine", "moving", "renaming"},
    {"judging"},
    {"diagnosis", "settings"},
    {"silence", "report"},
    {"examine"},
    {"prediction"},
    {"testing", "cli", "__main__"},
)


def _layer(module: str) -> int | None:
    part = module.removeprefix("dldoctor.").partition(".")[0]
    return next((number for number, names in enumerate(LAYERS) if part in names), None)


@pytest.mark.parametrize("path", ENGINE, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_go_one_way(path: Path) -> None:
    own = _layer(path.relative_to(ROOT / "dldoctor").with_suffix("").as_posix().replace("/", "."))
    if path.name == "__init__.py" and path.parent.name == "dldoctor":
        return
    assert own is not None, f"{path.name} stands in no layer"
    for name in _imports(path):
        if name.startswith("dldoctor."):
            other = _layer(name)
            assert other is not None
            assert other <= own, f"{path.name} imports {name}, which lies to its right"
            assert not name.startswith("dldoctor.checks"), "the engine knows no check"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_file_is_long_and_none_is_called_utils(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400
    assert path.name not in ("utils.py", "helpers.py", "misc.py")


@pytest.mark.parametrize("words", [["--help"], ["checks"], ["explain", "ENV001"], ["code", "x.py"], ["scan", "--help"]])
def test_what_measures_nothing_loads_nothing_heavy(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text("x = 1\n")
    program = (
        "import sys; sys.argv = ['dldoctor', *sys.argv[1:]]\n"
        "from dldoctor.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print('loaded:', *sorted(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    loaded = set(done.stdout.rpartition("loaded:")[2].split())
    assert not HEAVY & loaded


def test_every_package_folder_is_packaged() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    for root, prefix in ((ROOT / "dldoctor", "dldoctor"), (ROOT / "checks", "dldoctor.checks")):
        for file in root.rglob("__init__.py"):
            parts = file.parent.relative_to(root).parts
            assert ".".join([prefix, *parts]) in declared


def test_the_readme_s_table_is_the_registry_s() -> None:
    from dldoctor.cli.catalogue import markdown

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    table = text.partition("<!-- checks -->\n")[2].partition("<!-- /checks -->")[0]
    assert table == markdown(CHECKS), "write it with: python -m dldoctor checks --format markdown"


def test_the_formats_are_those_of_the_help() -> None:
    from dldoctor.cli.common import Common

    text = str(Common.__annotations__["format"])
    assert all(name in text for name in format_names())


def test_every_ignored_lint_has_its_reason() -> None:
    for path in SOURCES:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if re.search(r"#\s*(noqa|type: ignore)", line):
                assert re.search(r"#\s*(noqa|type: ignore)[^#]*#\s*\S", line), f"{path.name}:{number} gives no reason"
