"""A divided fact before its panel: part by part, side by side where that is worth it, and from memory where it can."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from dldoctor.fact import DividedFact
from dldoctor.judging.limits import describe
from dldoctor.judging.memory import Memory
from dldoctor.judging.panel import UNREADY, Panel
from dldoctor.judging.verdict import Verdict
from dldoctor.resources import Resources
from dldoctor.workers import ask_all

#: a worker takes about as long to start as this many bytes to be judged
_WORTH = 400_000
#: parts handed to a worker at once: neighbours, which import the same files
_STEP = 12
#: objects made and not let go before it is worth looking for garbage
_UNCOLLECTED = 2_000_000
#: seconds that one part may take
_LIMIT = 300.0


@dataclass(frozen=True)
class Judgement:
    """The verdicts on one part, and what they lean on."""

    verdicts: tuple[Verdict, ...]
    leaned_on: tuple[str, ...] = ()

    def plain(self) -> dict[str, Any]:
        """JSON values."""
        return {"verdicts": [verdict.plain() for verdict in self.verdicts], "leaned_on": list(self.leaned_on)}

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> Judgement:
        """What `plain` wrote, what memory keeps of it, or what is told of a worker that died."""
        if "outcome" in plain:
            return cls((Verdict(UNREADY, error=plain["message"]),))
        return cls(tuple(Verdict.read(each) for each in plain["verdicts"]), tuple(plain.get("leaned_on", ())))


@contextmanager
def collecting_between() -> Iterator[Callable[[], object]]:
    """Keep the garbage collector out of the judging, and call what is given between two parts.

    What a part is read into holds itself in circles, and is garbage as a whole when the part is judged; before that
    every collection would walk it in vain. Trees that later parts share are put where no collection walks them again.
    """
    was_on = gc.isenabled()
    gc.disable()

    def between() -> None:
        if gc.get_count()[0] > _UNCOLLECTED:
            gc.collect()
            gc.freeze()

    try:
        yield between
    finally:
        gc.unfreeze()
        if was_on:
            gc.enable()


def judged(panel: Panel, whole: DividedFact, name: str) -> Judgement:
    """One part judged, here and now."""
    try:
        part = whole.part(name)
    except Exception as error:
        return Judgement((Verdict(UNREADY, error=describe(error)),))
    return Judgement(tuple(panel.judge(part)), tuple(sorted(part.leaned_on)))


def judge_all(panel: Panel, whole: DividedFact, resources: Resources) -> Iterator[tuple[str, Judgement]]:
    """Every part with its judgement, in the order of their names; ends early when `resources.stop` is set."""
    memory = Memory(resources.cache, panel, whole)
    known: dict[str, Judgement] = {}
    for name in whole.names:
        if (kept := memory.recall(name)) is not None:
            known[name] = Judgement.read(kept)
    new = [name for name in whole.names if name not in known]
    label = "judging"
    resources.progress.start(label, len(new))

    def done(index: int, plain: Mapping[str, Any]) -> None:
        known[new[index]] = judgement = Judgement.read(plain)
        resources.progress.advance(label)
        if not any(verdict.error for verdict in judgement.verdicts):
            memory.keep(new[index], judgement.leaned_on, {"verdicts": plain["verdicts"]})

    workers = min(resources.workers, sum(map(whole.weight, new)) // _WORTH, len(new))
    try:
        if workers > 1 and whole.place is not None:
            program = ("dldoctor.judging.worker", panel.written(), whole.place)
            ask_all(program, new, workers, _STEP, resources.stop, done, _LIMIT)
        else:
            with collecting_between() as between:
                for index, name in enumerate(new):
                    if resources.stop.is_set():
                        break
                    done(index, judged(panel, whole, name).plain())
                    between()
    finally:
        resources.progress.finish(label)
        memory.close()
    return ((name, known[name]) for name in whole.names if name in known)
