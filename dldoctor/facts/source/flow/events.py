"""What happens in the source, in order: one event per effect that matters to a training."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass, field

from dldoctor.facts.source.flow.values import Collection, Function, Grad, Loop, Value
from dldoctor.facts.source.text import SourceFile


@dataclass(slots=True, eq=False)
class Run:
    """One reading from an entry: a module from top to bottom, or a function that nothing in sight calls."""

    file: SourceFile
    #: nothing in sight calls this entry: its arguments, modes and gradients are its caller's business
    open: bool
    events: list[Event] = field(default_factory=list)
    #: `.backward()` ran under the entry's own gradient mode, so that mode is on
    records: bool = False
    #: the entry's file is written for another framework, where the same words do other things
    foreign: bool = False

    _by_kind: dict[str, list[Event]] = field(default_factory=dict)

    def of(self, *kinds: str) -> Sequence[Event]:
        """Events of these kinds, each kind in the order in which they happen. For runs that are over."""
        if not self._by_kind and self.events:
            for event in self.events:
                self._by_kind.setdefault(event.kind, []).append(event)
        if len(kinds) == 1:
            return self._by_kind.get(kinds[0], [])
        return [event for kind in kinds for event in self._by_kind.get(kind, [])]

    def inside(self, loop: Loop, *kinds: str) -> list[Event]:
        """Events of a loop and of all that it calls."""
        return [event for event in self.of(*kinds) if event.loop in loop]


@dataclass(slots=True, eq=False)
class Event:
    """One effect.

    Kinds: `call` (a name from outside is called), `method` (of something no class at hand defines), `forward`, `loss`,
    `backward`, `step`, `zero_grad`, `mode`, `accumulate`, `setitem` and `setattr` (on a name from outside),
    `replace` (a layer takes its place in a network), `compare` (which is larger, in an `if` of a loop), `statement` (an
    expression whose value is dropped), `opaque` (a value out of sight is called), `differentiate` (gradients are used
    in another way).
    """

    kind: str
    node: ast.AST
    file: SourceFile
    run: Run
    loop: Loop | None
    #: the receiver, or what was made
    value: Value
    #: the qualified name or the method's name
    name: str = ""
    arguments: tuple[Value, ...] = ()
    keywords: dict[str, Value] = field(default_factory=dict)
    #: whether autograd records here
    grad: Grad = None
    #: mode of the module: "train", "eval", or None where unknown
    mode: str | None = None
    function: Function | None = None
    #: the call's arguments can't all be seen (`*args`, `**kwargs`)
    starred: bool = False
    statement: ast.stmt | None = None
    #: what the call answered
    answer: Value | None = None

    @property
    def recording(self) -> bool | None:
        """Whether autograd records here, with the run's own evidence; None where a caller or a condition decides."""
        if self.grad == "entry":
            return True if self.run.records else None
        return self.grad if isinstance(self.grad, bool) else None

    @property
    def contributes(self) -> bool:
        """Whether what the call answered, or a part of it, is back-propagated."""
        answers = (self.answer, *self.answer.inputs) if isinstance(self.answer, Collection) else (self.answer,)
        return any(answer is not None and answer.marked("contributes", "backward") for answer in answers)
