"""Worker processes: what a file that kills or stalls one becomes."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from dldoctor.facts.dataset import pool
from dldoctor.resources import Resources

from ...checks.dataset_folder import encoded, findings, photo, put


def test_a_file_that_kills_its_decoder_is_a_finding_and_the_others_are_measured(
    tmp_path: Path, broken_decoder: None
) -> None:
    data = tmp_path / "data"
    put(data, {f"{n}.jpg": photo(n) for n in range(12)})
    put(data, {"kill1.jpg": encoded(photo(20)), "kill2.jpg": encoded(photo(21)), "cut.jpg": encoded(photo(22))[:-400]})
    found = {str(entry.finding.at): entry.finding.message for entry in findings(data)}
    assert found == {
        "kill1.jpg": "kills its decoder: the process was killed by SIGSEGV",
        "kill2.jpg": "kills its decoder: the process was killed by SIGSEGV",
        "cut.jpg": found["cut.jpg"],
    }


def test_a_file_that_stalls_its_decoder_is_given_up(tmp_path: Path, broken_decoder: None) -> None:
    put(tmp_path, {"a.jpg": photo(1), "stall.jpg": photo(2), "z.jpg": photo(3)})
    rows: dict[int, pool.Row] = {}
    tasks = [(str(tmp_path / name), "picture") for name in ("a.jpg", "stall.jpg", "z.jpg")]
    pool.measure_all(tasks, [1, 1, 1], Resources(workers=1), rows.__setitem__, file_limit=1.5)
    assert [rows[n]["outcome"] for n in range(3)] == ["decoded", "timeout", "decoded"]


def test_a_wish_to_stop_ends_the_workers_at_once(tmp_path: Path, broken_decoder: None) -> None:
    put(tmp_path, {"stall.jpg": photo(2)})
    stop = threading.Event()
    threading.Timer(0.8, stop.set).start()
    started = time.monotonic()
    pool.measure_all([(str(tmp_path / "stall.jpg"), "picture")], [1], Resources(workers=1, stop=stop), lambda *_: None)
    assert time.monotonic() - started < 10


def test_no_worker_outlives_a_scan_that_is_killed(tmp_path: Path, broken_decoder: None) -> None:
    import psutil

    put(tmp_path, {"stall.jpg": photo(2)})
    scan = subprocess.Popen(
        [sys.executable, "-c", f"import dldoctor; dldoctor.scan({str(tmp_path)!r})"], env={**os.environ}
    )
    try:
        deadline = time.monotonic() + 20
        workers: list[psutil.Process] = []
        while not workers and time.monotonic() < deadline:
            time.sleep(0.1)
            workers = psutil.Process(scan.pid).children(recursive=True)
        assert workers
        time.sleep(1.0)  # until the worker has asked to die with its parent
    finally:
        scan.send_signal(signal.SIGKILL)
        scan.wait()
    _, alive = psutil.wait_procs(workers, timeout=5)
    assert alive == []
