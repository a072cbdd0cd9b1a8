"""What the source does with models, losses, optimizers and loaders: the questions that checks ask."""

from __future__ import annotations

import ast
import gc
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from dldoctor.facts.source.events import Event, Run
from dldoctor.facts.source.project import Project
from dldoctor.facts.source.reader import Reader
from dldoctor.facts.source.roles import is_module, role
from dldoctor.facts.source.text import ParseError, SourceFile
from dldoctor.facts.source.values import Class, Function, Loop, Object, Result, Scope, ancestry

#: a file without one of these words has no training code, and is read only when another file imports it
_TRAINING_WORDS = ("torch", "numpy", "lightning", "accelerate")

#: a file without one of these only defines things: its functions are read when something calls them
_EFFECTS = re.compile(
    r"backward\(|zero_grad|\.step\(|no_grad|inference_mode|[lL]oss\b|cross_entropy|from_numpy|as_tensor|"
    r"to_tensor|ToTensor|torch\.tensor|torch\.load|CUDA_VISIBLE|\.eval\(\)|[Ss]oftmax"
)


class TrainingCode:
    """All entries of the files at hand, read once."""

    def __init__(self, files: Sequence[SourceFile]) -> None:
        self.files = tuple(files)
        self._project = Project(files)
        self._reader = Reader(self._import)
        self._scopes: dict[str, Scope] = {}
        self.runs: list[Run] = []
        self._reader.allowance = 30_000 + sum(file.text.count("\n") for file in files) // 4
        with _no_collection():
            for file in files:
                if isinstance(file.tree, ast.Module) and any(word in file.text for word in _TRAINING_WORDS):
                    self._module(file)
            for file in files:
                if file.path in self._scopes and _EFFECTS.search(file.text):
                    self._leftovers(file, self._scopes[file.path])

    # --- building --------------------------------------------------------------------------------------------

    def _import(self, module: str, level: int, importer: SourceFile) -> Scope | None:
        file = self._project.find(module, level, importer)
        return None if file is None else self._module(file)

    def _module(self, file: SourceFile) -> Scope:
        """A module's names, read when first asked for; in a circle of imports those known so far."""
        if file.path not in self._scopes:
            scope = self._scopes[file.path] = Scope()
            if not isinstance(file.tree, ParseError):
                kept = dict(self._reader.__dict__)
                self.runs.append(self._reader.read_module(file, file.tree, scope))
                self._reader.__dict__.update(kept)
        return self._scopes[file.path]

    def _leftovers(self, file: SourceFile, scope: Scope) -> None:
        """Functions and methods that no caller in sight reaches, callers before the called."""
        functions = [v for v in list(scope.names.values()) if isinstance(v, Function) and v.file is file]
        classes = [v for v in list(scope.names.values()) if isinstance(v, Class) and v.file is file]
        words = Counter(re.findall(r"\w+", file.text))
        for function in sorted(functions, key=lambda f: words[f.name] > 1):
            if function.body_of not in self._reader.reached:
                self.runs.append(self._reader.read_function(function))
        called = set(re.findall(r"\b(?:self|cls)\.(\w+)", file.text)) if classes else set()
        for made in classes:
            self._methods(made, called)

    def _methods(self, made: Class, called: set[str]) -> None:
        methods = [m for m in made.members.names.values() if isinstance(m, Function)]
        left = [m for m in methods if m.body_of not in self._reader.reached]
        if not left:
            return
        assert made.file is not None
        thing = Object(made, (), {}, made.definition, made.file, None)
        thing.mark("mode")  # whoever made it may have switched its mode
        for method in sorted(left, key=lambda m: (m.name != "__init__", m.name in called)):
            if method.body_of not in self._reader.reached or method.name == "__init__":
                self.runs.append(self._reader.read_function(method, thing))

    # --- asking ----------------------------------------------------------------------------------------------

    def events(self, *kinds: str) -> Iterator[Event]:
        """All events of these kinds, run by run, in the order in which they happen."""
        for run in self.runs:
            yield from run.of(*kinds)

    def calls(self, *names: str) -> Iterator[Event]:
        """Calls of names from outside, such as `torch.load`, each place once."""
        seen: set[ast.AST] = set()
        for event in self.events("call"):
            if event.name in names and event.node not in seen:
                seen.add(event.node)
                yield event

    def forwards(self, run: Run) -> Iterator[Event]:
        """Calls of networks, also of arguments that turned out to be networks by what else is called on them."""
        for event in run.of("forward", "opaque"):
            if event.kind == "forward" or (not event.name and is_module(event.value)):
                yield event

    def evaluation_forwards(self, run: Run) -> Iterator[tuple[Event, Loop]]:
        """Calls of networks in loops over data in which nothing is back-propagated, with the loop."""
        for event in self.forwards(run):
            loop = next((each for each in enclosing(event.loop) if draws_data(each)), None)
            if loop is None or event.answer is None or event.contributes:
                continue
            around = list(enclosing(loop))
            if any(run.inside(each, "backward", "step", "differentiate") for each in around[:1]):
                continue
            yield event, loop


@contextmanager
def _no_collection() -> Iterator[None]:
    """Nothing made while reading is garbage before the end, so the collector would walk it all in vain."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.freeze()  # straight into the oldest generation: the next collections need not walk it
            gc.unfreeze()
            gc.enable()


def enclosing(loop: Loop | None) -> Iterator[Loop]:
    """A loop and those around it, the callers' included."""
    while loop is not None:
        yield loop
        loop = loop.parent


def draws_data(loop: Loop) -> bool:
    """Whether a loop goes over batches: a loader, or something from out of sight that is no count."""
    if loop.iterates is None:
        return False
    parts = list(ancestry(loop.iterates, 30))
    if any(role(part) == "loader" for part in parts):
        return True
    return not any(isinstance(part, Result) and part.made_by in ("builtins.range", "builtins.int") for part in parts)
