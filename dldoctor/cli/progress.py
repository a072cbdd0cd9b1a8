"""Progress on a terminal: bars with rate and time left, and a word about slow facts; on stderr, gone at the end."""

from __future__ import annotations

import threading

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn


class Bars:
    """`dldoctor.resources.Progress` drawn by rich."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}
        self._said: set[str] = set()

    def waiting(self, names: list[str]) -> None:
        with self._lock:
            new = [name for name in names if name not in self._said and not self._tasks]
            self._said.update(new)
        for name in new:
            self._console.print(f"still waiting for {name}", style="dim", highlight=False)

    def start(self, label: str, total: int) -> None:
        with self._lock:
            if not self._tasks:
                self._progress.start()
            self._tasks[label] = self._progress.add_task(label, total=total, rate="")

    def advance(self, label: str, units: int = 1) -> None:
        task = self._tasks.get(label)
        if task is not None:
            self._progress.advance(task, units)
            speed = self._progress.tasks[self._progress.task_ids.index(task)].speed
            self._progress.update(task, rate=f"{speed:,.0f}/s" if speed else "")

    def finish(self, label: str) -> None:
        with self._lock:
            task = self._tasks.pop(label, None)
            if task is not None:
                self._progress.remove_task(task)
            if not self._tasks:
                self._progress.stop()
