"""The commands as they are typed: help, catalogue, explain, formats, fixes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Answer

Run = Callable[..., Answer]


@pytest.mark.parametrize("command", ["scan", "model", "loader", "code", "env", "smoke", "preflight", "explain", "init"])
def test_every_command_has_help(dldoctor: Run, command: str) -> None:
    answer = dldoctor(command, "--help")
    assert answer.status == 0
    assert "Usage: dldoctor " + command in answer.out


def test_checks_lists_the_registry_in_three_forms(dldoctor: Run) -> None:
    assert "ENV001  error" in dldoctor("checks", "ENV").out
    rows = json.loads(dldoctor("checks", "--format", "json").out)
    assert {"code": "ENV009", "name": "port-in-use"}.items() <= next(r for r in rows if r["code"] == "ENV009").items()
    assert "| ENV001 | small-shared-memory | error |" in dldoctor("checks", "--format", "markdown").out


def test_explain_gives_what_why_fix_symptoms_settings_and_an_example(dldoctor: Run) -> None:
    text = dldoctor("explain", "low-memory").out
    assert text.startswith("ENV012 low-memory: warning, since 0.1\n\nLittle RAM is left.")
    assert "Fix: end what holds the memory" in text
    assert "[Errno 12] Cannot allocate memory" in text
    assert "gib = 2.0" in text
    assert "warning[ENV012] low-memory" in text


def test_a_pasted_traceback_is_diagnosed(dldoctor: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    paste = tmp_path / "paste.txt"
    paste.write_text("[rank0]: RuntimeError: DataLoader worker (pid 4242) is killed by signal:\n[rank0]: Bus error.\n")
    with paste.open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert dldoctor("explain", "-").out.startswith("ENV001 small-shared-memory")


def test_the_report_goes_to_files_by_their_ending(dldoctor: Run, tmp_path: Path) -> None:
    answer = dldoctor("env", "--port", "29512", "--select", "ENV009", "--format", "json", "--output", "report.txt")
    assert json.loads(answer.out)["subject"] == {"kind": "machine", "name": "this machine"}
    assert "1 check" in (tmp_path / "report.txt").read_text()


def test_saved_facts_give_the_same_findings(dldoctor: Run, tmp_path: Path) -> None:
    first = dldoctor("env", "--select", "ENV001", "--workers", "4000", "--batch-bytes", "1TB",
                     "--save-facts", "facts.json", "--format", "json")  # fmt: skip
    again = dldoctor("env", "--select", "ENV001", "--facts", "facts.json", "--format", "json")
    assert first.status == again.status == 1
    assert json.loads(first.out)["findings"] == json.loads(again.out)["findings"]


def test_a_baseline_takes_today_s_findings_out(dldoctor: Run) -> None:
    words = ["env", "--select", "ENV001", "--workers", "4000", "--batch-bytes", "1TB"]
    assert dldoctor(*words, "--write-baseline", "base.json").status == 0
    answer = dldoctor(*words, "--baseline", "base.json")
    assert answer.status == 0
    assert "1 silenced" in answer.out


@pytest.mark.parametrize("name", ["README.md", "pyproject.toml"])
def test_init_writes_a_table_that_preflight_reads(dldoctor: Run, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("# kept\n")
    (tmp_path / "train.py").write_text("import torch\n\nclass Net(torch.nn.Module):\n    pass\n")
    (tmp_path / "photos" / "cat").mkdir(parents=True)
    (tmp_path / "photos" / "cat" / "a.jpg").touch()
    assert dldoctor("init").status == 0
    assert (tmp_path / name).read_text().startswith("# kept\n")
    assert dldoctor("preflight", "--dry-run").out.splitlines() == [
        "dldoctor env --workers 2",
        "dldoctor code train.py",
        "dldoctor scan photos",
        "dldoctor model train.py:Net --input 3x224x224",
    ]
    assert "has a [tool.dldoctor] table already" in dldoctor("init").err


def test_a_closed_pipe_is_no_traceback() -> None:
    command = f"{sys.executable} -m dldoctor checks | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_a_report_that_can_not_be_written_is_2() -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "dldoctor", "checks"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert "can't be written" in done.stderr


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_end_the_child_too(tmp_path: Path, number: signal.Signals, status: int) -> None:
    up = str(tmp_path / "up")
    (tmp_path / "data.py").write_text(f"import time, pathlib\npathlib.Path({up!r}).touch()\ntime.sleep(60)\n")
    process = subprocess.Popen([sys.executable, "-m", "dldoctor", "loader", "data.py:x"], cwd=tmp_path,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               env={**os.environ, "MARKED": str(tmp_path)})  # fmt: skip
    deadline = time.monotonic() + 30
    while not (tmp_path / "up").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert process.returncode == status
    assert "Traceback" not in out + err
    assert not _left_over(str(tmp_path))


def _left_over(mark: str) -> list[int]:
    import psutil

    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("MARKED") == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except psutil.Error:
            continue
    return found
