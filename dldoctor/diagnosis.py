"""Facts x checks -> outcome: plan what to gather, gather it once and side by side, run the checks."""

from __future__ import annotations

import graphlib
import signal
import threading
import time
import traceback
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dldoctor.fact import BadInput, Fact, Need, Subject, Unavailable, gatherer, gatherer_needs
from dldoctor.finding import Finding
from dldoctor.outcome import Crash, Entry, Outcome, Skipped
from dldoctor.registry import Check
from dldoctor.resources import Resources

#: seconds that one check may take before it is stopped and named
CHECK_LIMIT = 60.0
#: seconds after which a slow fact says what it is
PATIENCE = 3.0


class CheckTimeoutError(Exception):
    """A check did not end."""


@dataclass
class FactPool:
    """Facts gathered so far. The same fact from the same needs is measured once, also across parts of a preflight."""

    resources: Resources
    known: dict[tuple[Any, ...], Fact | Exception] = field(default_factory=dict)
    seeds: dict[type[Fact], list[Fact]] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)

    def seed(self, fact: Fact) -> Fact:
        """The one object that stands for all equal seeds."""
        known = self.seeds.setdefault(type(fact), [])
        for other in known:
            if other == fact:
                return other
        known.append(fact)
        return fact


@dataclass(frozen=True)
class Examination:
    """One thing to examine: its subject and options (the seeds), under the checks chosen."""

    seeds: Sequence[Fact]
    primary: type[Subject]
    checks: Sequence[Check]
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    #: codes that run for the sake of `unless` alone: their findings are not reported
    unreported: frozenset[str] = frozenset()
    #: facts read from a file: nothing is gathered
    replayed: bool = False
    #: facts gathered to be shown, whether or not a check asks for them
    shown: Sequence[type[Fact]] = ()

    @property
    def subject(self) -> Subject | None:
        return next((seed for seed in self.seeds if isinstance(seed, self.primary)), None)


def reachable(fact: type[Fact], seen: frozenset[type[Fact]] = frozenset()) -> set[type[Fact]]:
    """The fact and all that it is made from, optional needs included."""
    found = {fact}
    for need in gatherer_needs(fact) or ():
        if need.fact not in seen:
            found |= reachable(need.fact, seen | {fact})
    return found


def required(fact: type[Fact]) -> set[type[Fact]]:
    """The fact and all that it can't be made without."""
    found = {fact}
    for need in gatherer_needs(fact) or ():
        if not need.optional:
            found |= required(need.fact)
    return found


def belongs(check: Check, subject: type[Subject], given: Collection[type[Fact]]) -> bool:
    """Whether a check says something about this kind of subject: it can't do without it, or it is a join of it with
    another subject that is given, too."""
    must = set().union(*(required(need.fact) for need in check.needs if not need.optional))
    if subject in must:
        return True
    others = {fact for fact in must if issubclass(fact, Subject)}
    return others <= set(given) and any(subject in reachable(need.fact) for need in check.needs)


def examine(examination: Examination, pool: FactPool) -> Outcome:
    """Gather what the checks need, run them, and put the findings in order. Never raises for a check's sake."""
    started = time.perf_counter()
    given = [type(seed) for seed in examination.seeds]
    chosen = [c for c in examination.checks if examination.replayed or belongs(c, examination.primary, given)]
    seeds: dict[type[Fact], Fact] = {type(s): s if examination.replayed else pool.seed(s) for s in examination.seeds}
    seeds[Resources] = pool.resources
    gathered: dict[type[Fact], Fact | Exception] = dict(seeds)
    try:
        if not examination.replayed:
            _gather(chosen, examination.shown, gathered, pool)
    except KeyboardInterrupt:
        pool.resources.stop.set()
    interrupted = pool.resources.stop.is_set()
    entries, skipped, crashes, ran = [], [], _failed_facts(gathered), []
    for check in chosen:
        arguments, reason = _arguments(check.needs, gathered)
        if reason is not None:
            skipped.append(Skipped(check, reason))
            continue
        ran.append(check.code)
        try:
            with _time_limit(CHECK_LIMIT):
                found = list(check.function(*arguments, **examination.settings.get(check.code, {})))
            for finding in found:
                _validate(check, finding)
                entries.append(Entry(check, finding))
        except KeyboardInterrupt:
            interrupted = True
            break
        except Exception as error:
            crashes.append(Crash(check.origin, _describe(error), code=check.code))
    entries = _yield_to_the_graver(entries)
    entries = [entry for entry in entries if entry.check.code not in examination.unreported]
    subject = examination.subject
    return Outcome(
        kind=examination.primary.kind,
        title=subject.title if subject else "facts",
        root=subject.root if subject else Path(),
        entries=tuple(sorted(entries, key=lambda entry: entry.order)),
        skipped=tuple(s for s in skipped if s.check.code not in examination.unreported),
        crashes=tuple(crashes),
        checks_run=tuple(code for code in ran if code not in examination.unreported),
        facts=tuple(sorted((f for f in gathered.values() if isinstance(f, Fact)), key=lambda f: type(f).__name__)),
        timings=tuple(sorted(pool.timings.items())),
        seconds=time.perf_counter() - started,
        interrupted=interrupted,
    )


def _validate(check: Check, finding: Finding) -> None:
    if not isinstance(finding, Finding):
        raise TypeError(f"{check.origin} yielded a {type(finding).__name__}, not a Finding")
    if finding.severity is not None and finding.severity not in check.severities:
        raise ValueError(f"{check.origin} used the severity {finding.severity.value!r}, which it does not declare")
    str(finding.message)  # a template that can't be filled is the check's error


def _arguments(needs: Sequence[Need], facts: Mapping[type[Fact], Fact | Exception]) -> tuple[list[Any], str | None]:
    arguments: list[Any] = []
    for need in needs:
        fact = facts.get(need.fact)
        if isinstance(fact, Fact):
            arguments.append(fact)
        elif need.optional:
            arguments.append(None)
        else:
            return [], _reason(need.fact, fact)
    if arguments and all(argument is None for argument in arguments):
        return [], _reason(needs[0].fact, facts.get(needs[0].fact))
    return arguments, None


def _reason(fact: type[Fact], cause: Fact | Exception | None) -> str:
    if isinstance(cause, (Unavailable, BadInput)):
        return str(cause)
    if isinstance(cause, Exception):
        return f"{fact.__name__} could not be measured"
    return f"needs {fact.flag}" if fact.flag else f"{fact.__name__} was not measured"


def _plan(
    waiting: list[type[Fact]], graph: dict[type[Fact], set[type[Fact]]], gathered: dict[type[Fact], Fact | Exception]
) -> None:
    """Put facts and all that they need into the graph; a seed that was not given is unavailable."""
    while waiting:
        fact = waiting.pop()
        if fact in graph or fact in gathered:
            continue
        needs = gatherer_needs(fact)
        if needs is None:
            gathered[fact] = Unavailable(f"needs {fact.flag}" if fact.flag else f"{fact.__name__} was not given")
            continue
        graph[fact] = {need.fact for need in needs}
        waiting += graph[fact]


def _gather(
    checks: Sequence[Check],
    shown: Sequence[type[Fact]],
    gathered: dict[type[Fact], Fact | Exception],
    pool: FactPool,
) -> None:
    graph: dict[type[Fact], set[type[Fact]]] = {}
    wanted = [need.fact for check in checks for need in check.needs]
    _plan([*wanted, *(fact for fact in shown if not fact.in_passing)], graph, gathered)
    for fact in shown:
        if all(need.optional or need.fact in graph or need.fact in gathered for need in gatherer_needs(fact) or ()):
            _plan([fact], graph, gathered)
    sorter = graphlib.TopologicalSorter({f: {n for n in needs if n in graph} for f, needs in graph.items()})
    sorter.prepare()
    running: dict[Future[tuple[Fact | Exception, float]], tuple[type[Fact], tuple[Any, ...]]] = {}
    with ThreadPoolExecutor(max_workers=8, thread_name_prefix="gather") as threads:
        try:
            while sorter.is_active():
                for fact in sorter.get_ready():
                    needs = gatherer_needs(fact) or ()
                    arguments, reason = _arguments(needs, gathered)
                    if reason is not None:
                        cause = next((g for n in needs if isinstance(g := gathered.get(n.fact), BadInput)), None)
                        gathered[fact] = cause or Unavailable(reason)
                        sorter.done(fact)
                        continue
                    key = (fact, *map(id, arguments))
                    if key in pool.known:
                        gathered[fact] = pool.known[key]
                        sorter.done(fact)
                    else:
                        running[threads.submit(_measure, fact, arguments)] = (fact, key)
                if running:
                    _collect(running, gathered, pool, sorter)
        except BaseException:  # Ctrl-C or SIGTERM: whoever measures is to end soon, and children with them
            pool.resources.stop.set()
            for future in running:
                future.cancel()
            raise


def _collect(
    running: dict[Future[tuple[Fact | Exception, float]], tuple[type[Fact], tuple[Any, ...]]],
    gathered: dict[type[Fact], Fact | Exception],
    pool: FactPool,
    sorter: graphlib.TopologicalSorter[type[Fact]],
) -> None:
    began = time.monotonic()
    done: set[Future[tuple[Fact | Exception, float]]] = set()
    while not done:  # short waits, so that Ctrl-C is heard
        try:
            done, _ = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
        except KeyboardInterrupt:
            if pool.resources.stop.is_set():
                raise  # asked twice
            pool.resources.stop.set()  # gatherers now end soon, with what they know
        if not done and time.monotonic() - began > PATIENCE:
            names = sorted(fact.waiting_for or fact.__name__ for fact, _ in running.values())
            pool.resources.progress.waiting(names)
    for future in done:
        fact, key = running.pop(future)
        result, seconds = future.result()
        gathered[fact] = pool.known[key] = result
        pool.timings[fact.__name__] = seconds
        sorter.done(fact)


def _measure(fact: type[Fact], arguments: Sequence[Any]) -> tuple[Fact | Exception, float]:
    started = time.perf_counter()
    gather = gatherer(fact)
    assert gather is not None  # the plan holds no seeds
    try:
        result: Fact | Exception = gather(*arguments)
        if not isinstance(result, fact):
            result = TypeError(f"{fact.__name__}.gather answered a {type(result).__name__}")
    except Exception as error:
        result = error
    return result, time.perf_counter() - started


def _failed_facts(gathered: Mapping[type[Fact], Fact | Exception]) -> list[Crash]:
    crashes = []
    seen: set[int] = set()
    for fact, result in gathered.items():
        if isinstance(result, Exception) and not isinstance(result, Unavailable) and id(result) not in seen:
            seen.add(id(result))
            if isinstance(result, BadInput):
                crashes.append(Crash(fact.waiting_for or fact.__name__, str(result), bad_input=True))
            else:
                crashes.append(Crash(f"the measurement {fact.__name__}", _describe(result)))
    return sorted(crashes, key=lambda crash: (crash.what, crash.error))


def _describe(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{where}"


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Interrupt pure Python code after `seconds`; without effect off the main thread or where SIGALRM is missing."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def ring(*_: object) -> None:
        raise CheckTimeoutError(f"did not end within {seconds:g} s and was stopped")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _yield_to_the_graver(entries: Sequence[Entry]) -> list[Entry]:
    def place(entry: Entry) -> tuple[object, ...]:
        at = entry.finding.at
        return (at.path, at.line, at.layer, at.index)

    spoken: dict[tuple[object, ...], set[str]] = {}
    for entry in entries:
        spoken.setdefault(place(entry), set()).add(entry.check.code)
    return [entry for entry in entries if not spoken[place(entry)].intersection(entry.check.unless)]
