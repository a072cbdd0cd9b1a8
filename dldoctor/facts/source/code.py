"""What the source does with models, losses, optimizers and loaders: the questions that checks ask."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Callable, Iterator

from dldoctor.facts.source.flow.events import Event, Run
from dldoctor.facts.source.flow.reader import Reader
from dldoctor.facts.source.flow.roles import is_module, role
from dldoctor.facts.source.flow.values import Class, Function, Loop, Object, Result, Scope, ancestry
from dldoctor.facts.source.project import Project
from dldoctor.facts.source.text import SourceFile

#: statements that may be read for a file, and for each of its lines, before functions are read but once per entry;
#: twice as many end the reading. First for a file that trains, then for one that only has some of the words
_ALLOWANCE = {True: (1_500, 0.7), False: (150, 0.2)}
#: characters of imported files that may be parsed for one
_IMPORTS = {True: 600_000, False: 60_000}
#: a file without one of these words has no training code, and is read only when another file imports it
_TRAINING_WORDS = ("torch", "numpy", "lightning", "accelerate")

#: a file with one of these trains or evaluates
_TRAINS = re.compile(r"backward\(|zero_grad|\.step\(|DataLoader\(|\boptim\.[A-Z]|in \w*loader\b")
#: a file without one of these only defines things: it is read when another one uses them
_EFFECTS = re.compile(
    r"backward\(|zero_grad|\.step\(|no_grad|inference_mode|[lL]oss\b|cross_entropy|from_numpy|as_tensor|"
    r"to_tensor|ToTensor|torch\.tensor|torch\.load|CUDA_VISIBLE|\.eval\(\)|[Ss]oftmax"
)


class TrainingCode:
    """One file as the entry of a training: read from top to bottom, then its functions that nothing in it calls.

    What it imports from the project is followed where it is used, so the same file has the same reading whichever
    other files are examined with it.
    """

    def __init__(self, file: SourceFile, project: Project) -> None:
        self.file = file
        self.runs: list[Run] = []
        tree = file.tree
        if not isinstance(tree, ast.Module) or not any(word in file.text for word in _TRAINING_WORDS):
            return
        self._trains = _TRAINS.search(file.text) is not None
        if not self._trains and not _EFFECTS.search(file.text):
            return
        self._reader = Reader(project)
        fixed, each = _ALLOWANCE[self._trains]
        self._reader.allowance = fixed + int(file.text.count("\n") * each)
        self._reader.imports = _IMPORTS[self._trains]
        run, scope = self._reader.read_module(file, tree)
        self.runs.append(run)
        self._leftovers(file, scope)

    # --- building --------------------------------------------------------------------------------------------

    def _leftovers(self, file: SourceFile, scope: Scope) -> None:
        """Functions and methods that no caller in sight reaches, callers before the called: first those that do what
        matters to a training, then the others as long as the allowance lasts."""
        functions = [v for v in list(scope.names.values()) if isinstance(v, Function) and v.file is file]
        classes = [v for v in list(scope.names.values()) if isinstance(v, Class) and v.file is file]
        words = Counter(re.findall(r"\w+", file.text))
        functions.sort(key=lambda f: words[f.name] > 1)
        called = set(re.findall(r"\b(?:self|cls)\.(\w+)", file.text)) if classes else set()
        for is_left in (self._matters, self._is_left) if self._trains else (self._matters,):
            for function in functions:
                if is_left(function):
                    self.runs.append(self._reader.read_function(function))
            for made in classes:
                self._methods(made, called, is_left)

    def _is_left(self, function: Function) -> bool:
        """Whether nothing has read a function yet, and reading it is within the allowance."""
        return function.body_of not in self._reader.reached and self._reader.spent < self._reader.allowance

    def _matters(self, function: Function) -> bool:
        """Whether nothing has read a function yet, and it does what matters to a training."""
        if function.body_of in self._reader.reached or self._reader.spent > 2 * self._reader.allowance:
            return False
        return _EFFECTS.search(self.file.whole_lines(function.body_of)) is not None

    def _methods(self, made: Class, called: set[str], is_left: Callable[[Function], bool]) -> None:
        methods = [m for m in made.members.names.values() if isinstance(m, Function)]
        left = [m for m in methods if is_left(m)]
        if not left:
            return
        assert made.file is not None
        thing = Object(made, (), {}, made.definition, made.file, None)
        thing.mark("mode")  # whoever made it may have switched its mode
        inherited = made.member("__init__")  # of a base at hand, where the class has none of its own
        start = [inherited] if isinstance(inherited, Function) and inherited not in left else []
        for method in start + sorted(left, key=lambda m: (m.name != "__init__", m.name in called)):
            if is_left(method) or method.name == "__init__":
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
