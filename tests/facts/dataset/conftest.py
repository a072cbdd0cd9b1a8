"""What the tests of decoding share."""

from pathlib import Path

import pytest


@pytest.fixture
def broken_decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers in which a file called `kill...` is a segmentation fault and one called `stall...` has no end."""
    hook = tmp_path / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(
        "import sys, importlib.abc, importlib.machinery\n"
        "class Finder(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name != 'dldoctor.facts.dataset.measuring.decode': return None\n"
        "        spec = importlib.machinery.PathFinder.find_spec(name, path)\n"
        "        run = spec.loader.exec_module\n"
        "        def exec_module(module):\n"
        "            run(module)\n"
        "            real = module.measure\n"
        "            def measure(path, role, *part):\n"
        "                import os, signal, time\n"
        "                name = os.path.basename(path)\n"
        "                if name.startswith('kill'): os.kill(os.getpid(), signal.SIGSEGV)\n"
        "                if name.startswith('stall'): time.sleep(60)\n"
        "                return real(path, role, *part)\n"
        "            module.measure = measure\n"
        "        spec.loader.exec_module = exec_module\n"
        "        return spec\n"
        "sys.meta_path.insert(0, Finder())\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(hook))
