"""Checks come from installed packages and local files; what is wrong with one is said with its name."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dldoctor import BadInput
from dldoctor.plugins import load_registry

EXAMPLE = Path(__file__).parent / "example_plugin"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the example package as an installer leaves it: its code and the metadata with the entry point."""
    folder = tmp_path_factory.mktemp("site")
    source = shutil.copytree(EXAMPLE, folder / "source")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index",
               "--target", str(folder / "installed"), str(source)]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    return folder / "installed"


def dldoctor(site: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(site)}
    command = [sys.executable, "-m", "dldoctor", *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=site, check=False)


def test_an_installed_package_s_check_is_listed_explained_set_and_run(site: Path) -> None:
    assert "SHP001" in dldoctor(site, "checks").stdout
    assert "shop-checks 1.2.0" in dldoctor(site, "--version").stdout
    assert "gib = 1.0" in dldoctor(site, "explain", "crowded-disk").stdout
    found = dldoctor(site, "env", "--select", "SHP001", "--set", "SHP001.gib=1e9", "--fail-on", "warning")
    assert "warning[SHP001] crowded-disk" in found.stdout
    assert found.returncode == 1


LOCAL = '''
from collections.abc import Iterator
from dldoctor import Finding, Machine, Severity, check

@check("OUR001", Severity.WARNING, since="1")
def own_rule(machine: Machine) -> Iterator[Finding]:
    """Ours.

    Fix: none.
    """
    yield Finding(None, "said")
'''


def test_a_local_file_brings_checks(tmp_path: Path) -> None:
    (tmp_path / "ours.py").write_text(LOCAL)
    registry = load_registry([tmp_path / "ours.py"])
    assert registry.checks["OUR001"].name == "own-rule"
    assert "Machine" in registry.facts


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (LOCAL.replace("OUR001", "ENV001"), "the code ENV001 is defined twice"),
        (LOCAL.replace("OUR001", "Our1"), "'Our1' is no code"),
        (LOCAL.replace("machine: Machine", "machine"), "parameter 'machine' must be annotated"),
        (LOCAL.replace("machine: Machine", "machine: int"), "parameter 'machine' must be annotated"),
        (LOCAL.replace("machine: Machine", "machine: Machine, *, most=3"), "the setting 'most' needs a type"),
        ("raise SystemExit(3)", "can't be loaded: SystemExit: 3"),
        ("import nowhere", "can't be loaded: ModuleNotFoundError"),
        ("x = = 3", "can't be loaded: SyntaxError"),
    ],
)
def test_a_broken_plugin_is_named(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "ours.py").write_text(text)
    with pytest.raises(BadInput) as error:
        load_registry([tmp_path / "ours.py"])
    assert words in str(error.value)
    assert "ours.py" in str(error.value)


def test_a_plugin_that_prints_does_not_spoil_stdout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ours.py").write_text("print('hello')\n" + LOCAL)
    load_registry([tmp_path / "ours.py"])
    assert capsys.readouterr().out == ""
