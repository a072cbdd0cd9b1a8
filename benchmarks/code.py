"""`dldoctor code` against `ast.parse`, reading the files, ruff and TorchFix: whole processes, one tree, one run.

    python benchmarks/code.py [--rounds 3] [--torchfix COMMAND] [--packages torchvision timm ultralytics]

The tree holds the sources of installed packages (or of folders given as paths) and a folder of training scripts: the
marked sources of the fixtures and the example project. Shares are of `ast.parse` over the same tree in the same round;
only they count, for machines are noisy. TorchFix is left out where its command isn't there.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
READ = "import pathlib, sys; [p.read_bytes() for p in pathlib.Path(sys.argv[1]).rglob('*.py')]"
PARSE = (
    "import ast, pathlib, sys; [ast.parse(p.read_bytes()) and None for p in pathlib.Path(sys.argv[1]).rglob('*.py')]"
)


def planted(tree: Path, packages: Sequence[str]) -> str:
    """Copy the packages and the training scripts into `tree`, and say what is there."""
    for package in packages:
        source = Path(package)
        if not source.is_dir():
            found = importlib.util.find_spec(package)
            if found is None or not found.submodule_search_locations:
                sys.exit(f"{package}: neither a folder nor an installed package; choose others with --packages")
            source = Path(found.submodule_search_locations[0])
        shutil.copytree(source, tree / source.name, ignore=lambda folder, names: _not_python(Path(folder), names))
    scripts = tree / "scripts"
    scripts.mkdir()
    for fixture in (*ROOT.glob("fixtures/SRC*/*.py"), *ROOT.glob("examples/*/*.py")):
        shutil.copy(fixture, scripts / f"{fixture.parent.name.replace('-', '_')}_{fixture.name}")
    files = list(tree.rglob("*.py"))
    lines = sum(file.read_bytes().count(b"\n") for file in files)
    names = ", ".join(Path(package).name for package in packages)
    return f"{len(files):,} files, {lines:,} lines: {names}, {len(list(scripts.iterdir()))} training scripts"


def _not_python(folder: Path, names: Sequence[str]) -> list[str]:
    return [name for name in names if not (folder / name).is_dir() and not name.endswith(".py")]


def seconds(command: Sequence[str], environment: dict[str, str]) -> tuple[float, float]:
    """(wall, processor) seconds of one run with its children; a linter's findings are no failure."""
    began = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **environment}
    )
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status) not in (0, 1):
        sys.exit(f"{' '.join(command)}: exit status {os.waitstatus_to_exitcode(status)}")
    return time.perf_counter() - began, usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--packages", nargs="+", default=["torchvision", "timm"])
    parser.add_argument("--torchfix", default=shutil.which("torchfix"), help="the command of TorchFix")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dldoctor-code-") as temporary:
        tree, store = Path(temporary, "tree"), Path(temporary, "cache")
        tree.mkdir()
        print(planted(tree, options.packages))
        ours = [sys.executable, "-m", "dldoctor", "code", str(tree), "--fail-on", "never"]
        commands = {
            "ast.parse, one core": [sys.executable, "-c", PARSE, str(tree)],
            "reading the files": [sys.executable, "-c", READ, str(tree)],
            "ruff check, no cache": ["ruff", "check", "--isolated", "--no-cache", "--select", "F,B", str(tree)],
            "dldoctor cold, one process": [*ours, "--workers", "1"],
            "dldoctor cold, all cores": ours,
            "dldoctor warm": ours,
        }
        if options.torchfix:
            commands["TorchFix, one job"] = [options.torchfix, "-j", "1", "--select", "ALL", str(tree)]
            commands["TorchFix, all cores"] = [options.torchfix, "--select", "ALL", str(tree)]
        rows: list[dict[str, tuple[float, float]]] = []
        for _ in range(options.rounds):
            row = {}
            for name, command in commands.items():
                if "cold" in name:
                    shutil.rmtree(store, ignore_errors=True)
                row[name] = seconds(command, {"DLDOCTOR_CACHE": str(store)})
            rows.append(row)
        print(f"{'':<28}{'seconds':>9}{'of ast.parse':>14}{'processor s':>13}{'of ast.parse':>14}")
        for name in commands:
            shares = [[row[name][kind] / row["ast.parse, one core"][kind] for row in rows] for kind in (0, 1)]
            took = [statistics.median(row[name][kind] for row in rows) for kind in (0, 1)]
            print(
                f"{name:<28}{took[0]:9.2f}{statistics.median(shares[0]):14.2f}"
                f"{took[1]:13.2f}{statistics.median(shares[1]):14.2f}"
            )


if __name__ == "__main__":
    main()
