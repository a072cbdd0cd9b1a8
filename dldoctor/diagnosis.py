"""Facts x checks -> outcome: plan what to gather, gather it once and side by side, run the checks."""

from __future__ import annotations

import graphlib
import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dldoctor.fact import BadInput, DividedFact, Fact, Need, Subject, Unavailable, gatherer, gatherer_needs
from dldoctor.judging.limits import CHECK_LIMIT, describe, time_limit, validate
from dldoctor.judging.panel import Panel
from dldoctor.judging.parts import judge_all
from dldoctor.outcome import Crash, Entry, Outcome, Skipped
from dldoctor.registry import Check
from dldoctor.resources import Resources

#: seconds after which a slow fact says what it is
PATIENCE = 3.0


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
    #: local files that checks came from
    plugins: Sequence[Path] = ()
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
    divided: dict[type[DividedFact], list[Check]] = {}
    for check in chosen:
        arguments, reason = _arguments(check.needs, gathered)
        if reason is not None:
            skipped.append(Skipped(check, reason))
            continue
        ran.append(check.code)
        if len(arguments) == 1 and isinstance(arguments[0], DividedFact):
            divided.setdefault(type(arguments[0]), []).append(check)
            continue
        try:
            with time_limit(CHECK_LIMIT):
                found = list(check.function(*arguments, **examination.settings.get(check.code, {})))
            for finding in found:
                validate(check, finding)
                entries.append(Entry(check, finding))
        except KeyboardInterrupt:
            interrupted = True
            break
        except Exception as error:
            crashes.append(Crash(check.origin, describe(error), code=check.code))
    try:
        for kind, checks in divided.items():
            panel = Panel(kind, checks, examination.settings, examination.plugins)
            _judge(panel, gathered[kind], pool, entries, crashes)
    except KeyboardInterrupt:
        pool.resources.stop.set()
    interrupted = interrupted or pool.resources.stop.is_set()
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


def _judge(panel: Panel, whole: Fact | Exception, pool: FactPool, entries: list[Entry], crashes: list[Crash]) -> None:
    """Have every part of a fact judged; the same words about the same place, from two parts, are said once."""
    started = time.perf_counter()
    assert isinstance(whole, DividedFact)  # its checks had it as their argument
    by_code = {check.code: check for check in panel.checks}
    said: set[tuple[object, ...]] = set()
    asked = {None, *whole.names}  # a part may lead to something that nobody asked about
    failed: dict[tuple[str, str], list[str]] = {}
    for name, judgement in judge_all(panel, whole, pool.resources):
        for verdict in judgement.verdicts:
            if verdict.error is not None:
                failed.setdefault((verdict.code, verdict.error), []).append(name)
            for finding in verdict.findings:
                key = (verdict.code, finding.at, finding.message)
                if key not in said and finding.at.path in asked:
                    said.add(key)
                    entries.append(Entry(by_code[verdict.code], finding))
    for (code, error), names in failed.items():
        what = by_code[code].origin if code else "reading"
        others = f" and {len(names) - 1} more" if len(names) > 1 else ""
        crashes.append(Crash(what, f"{error}, at {names[0]}{others}", code=code or None))
    pool.timings["judging"] = pool.timings.get("judging", 0.0) + time.perf_counter() - started


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
                crashes.append(Crash(f"the measurement {fact.__name__}", describe(result)))
    return sorted(crashes, key=lambda crash: (crash.what, crash.error))


def _yield_to_the_graver(entries: Sequence[Entry]) -> list[Entry]:
    def place(entry: Entry) -> tuple[object, ...]:
        at = entry.finding.at
        return (at.path, at.cell, at.line, at.layer, at.index)

    spoken: dict[tuple[object, ...], set[str]] = {}
    for entry in entries:
        spoken.setdefault(place(entry), set()).add(entry.check.code)
    return [entry for entry in entries if not spoken[place(entry)].intersection(entry.check.unless)]
