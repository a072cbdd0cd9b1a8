"""Pitfalls of repeating a run: seeds, and cuDNN's choice of algorithms."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from dldoctor import Finding, Severity, SourceTree, check
from dldoctor.facts.source.assigned import assignments
from dldoctor.facts.source.syntax import argument
from dldoctor.facts.source.text import SourceFile

_SEEDS = {
    "random.seed": "random",
    "numpy.random.seed": "numpy",
    "torch.manual_seed": "torch",
    "torch.random.manual_seed": "torch",
    "torch.cuda.manual_seed": "cuda",
    "torch.cuda.manual_seed_all": "cuda",
}
#: package -> its functions that draw from the generator that all of it shares
_DRAWS = {
    "random.": {
        *("random", "randint", "randrange", "choice", "choices", "shuffle", "sample", "uniform", "gauss"),
        *("normalvariate", "betavariate", "triangular", "getrandbits"),
    },
    "numpy.random.": {
        *("rand", "randn", "randint", "random", "random_sample", "choice", "shuffle", "permutation", "uniform"),
        *("normal", "beta", "binomial", "poisson", "standard_normal", "dirichlet", "exponential", "gamma"),
    },
}
_PACKAGE = {"random": "random", "numpy": "numpy.random", "torch": "torch"}
_LINE = {"random": "random.seed(seed)", "numpy": "np.random.seed(seed)", "torch": "torch.manual_seed(seed)"}


@check("SRC024", Severity.INFO, since="0.1")
def incomplete_seeding(source: SourceTree) -> Iterator[Finding]:
    """Some of the random generators in use are seeded, and not all.

    Python, NumPy and torch have one each. The run looks repeatable and isn't; the same goes for cuDNN told to be
    deterministic and to choose the fastest algorithm by timing.

    Fix: `random.seed(s)`, `np.random.seed(s)` and `torch.manual_seed(s)`, which seeds the GPUs as well; with
    `cudnn.deterministic = True` leave `cudnn.benchmark` off.
    """
    for file in source.files:
        if "torch" not in file.text:
            continue
        if "seed" in file.text:
            yield from _unseeded(file)
        if "deterministic" in file.text and "benchmark" in file.text:
            yield from _timed(file)


def _unseeded(file: SourceFile) -> Iterator[Finding]:
    calls = {call: kind for name, kind in _SEEDS.items() for call in file.syntax.calls(name)}
    seeded = {kind: call for call, kind in calls.items()}
    if not seeded or _seeds_elsewhere(file) or len(calls) > len(seeded) + ("cuda" in seeded):
        return  # seeded again and again: each part looks after itself, as tests do
    if all(_is_for_workers(file, call) or _is_by_chance(file, call) for call in calls):
        return  # nobody asks for the same run again
    drawn = {kind: node for kind, node in _drawn(file) if kind not in seeded}
    if "torch" not in seeded and ("cuda" in seeded or {"random", "numpy"} <= set(seeded)):
        made = next(_uses_torch(file), None)
        if made is not None:
            drawn["torch"] = made
    elif "torch" not in seeded:
        return  # one generator alone: perhaps for one split alone
    call = seeded.get("torch") or next(iter(seeded.values()))
    for kind, node in drawn.items():
        yield Finding(
            file.place(call),
            "{package} is not seeded with it, and is used in {spot}",
            package=_PACKAGE[kind],
            spot=file.spot(node),
            show=(file.frame(call, "seeds one generator"), file.frame(node, "another one")),
            fix=f"add {_LINE[kind]}",
        )


def _is_for_workers(file: SourceFile, call: ast.Call) -> bool:
    """Whether a seed is that of a loader's worker, whose torch the loader seeds."""
    function = file.syntax.function(call)
    arguments = getattr(function, "args", None)
    return isinstance(arguments, ast.arguments) and any("worker" in each.arg for each in arguments.args)


def _is_by_chance(file: SourceFile, call: ast.Call) -> bool:
    """Whether a seed is another one in each run: the clock's, or the system's."""
    return any(
        isinstance(part, ast.Call)
        and file.syntax.name(part.func).startswith(("time.", "datetime.", "secrets.", "uuid.", "os."))
        for given in call.args
        for part in ast.walk(given)
    )


def _seeds_elsewhere(file: SourceFile) -> bool:
    """Whether a function from out of sight seeds as well, or a state is put back."""
    own = {each.name for each in file.syntax.of(ast.FunctionDef)}
    for call in file.syntax.of(ast.Call):
        called = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        if ("seed" in called.lower() or called in ("setstate", "set_state", "set_rng_state", "fork_rng")) and (
            file.syntax.name(call.func) not in _SEEDS and called not in own and called != "initial_seed"
        ):
            return True
    return False


def _drawn(file: SourceFile) -> Iterator[tuple[str, ast.Call]]:
    for package, functions in _DRAWS.items():
        names = [package + function for function in functions]
        first = min(file.syntax.calls(*names), key=lambda call: call.lineno, default=None)
        if first is not None:
            yield package.partition(".")[0], first


def _uses_torch(file: SourceFile) -> Iterator[ast.Call]:
    """Calls that make layers or shuffle."""
    for call in file.syntax.of(ast.Call):
        name = file.syntax.name(call.func)
        if name.startswith(("torch.nn.Linear", "torch.nn.Conv", "torch.utils.data.DataLoader", "torch.rand")):
            yield call


_FLAGS = "torch.backends.cudnn."


def _timed(file: SourceFile) -> Iterator[Finding]:
    for function, benchmark in _switched_on(file, "benchmark"):
        other = next((node for place, node in _switched_on(file, "deterministic") if place is function), None)
        if other is not None:
            yield Finding(
                file.place(benchmark),
                "cuDNN is told to be deterministic and to choose by timing",
                show=(file.frame(benchmark, "may choose another algorithm in each run"), file.frame(other)),
                fix="write cudnn.benchmark = False",
            )


def _switched_on(file: SourceFile, flag: str) -> Iterator[tuple[ast.AST | None, ast.Attribute]]:
    """Where a flag of cuDNN is set to True for good, with the function, not under a condition."""
    for node in file.syntax.of(ast.Attribute):
        if node.attr == flag and isinstance(node.ctx, ast.Store) and file.syntax.name(node) == _FLAGS + flag:
            statement = file.syntax.parent(node)
            if (
                isinstance(statement, ast.Assign)
                and isinstance(statement.value, ast.Constant)
                and statement.value.value is True
                and file.syntax.within(node, ast.If, ast.IfExp) is None
            ):
                yield file.syntax.function(node), node


@check("SRC023", Severity.WARNING, since="0.1")
def benchmark_with_varying_input(source: SourceTree) -> Iterator[Finding]:
    """cuDNN times its algorithms for every new input size, and the sizes vary.

    With `cudnn.benchmark = True` each size that was not seen yet costs seconds and workspace memory; with random sizes
    that goes on through the whole run.

    Fix: leave it off, or give the network a few fixed sizes.
    """
    for file in source.files:
        if "benchmark" not in file.text:
            continue
        flags = [node for _, node in _switched_on(file, "benchmark")]
        found = next(_varying(file), None) if flags else None
        if found is None:
            continue
        node, why = found
        for flag in flags:
            yield Finding(
                file.place(flag),
                "cuDNN is timed anew for each size, and {why}",
                why=why,
                show=(file.frame(flag, "times every new size"), file.frame(node, "sizes vary")),
                fix="leave cudnn.benchmark off",
            )


def _varying(file: SourceFile) -> Iterator[tuple[ast.expr, str]]:
    """Where pictures of many sizes come from."""
    for call in file.syntax.of(ast.Call):
        name = file.syntax.name(call.func)
        if name.startswith("torchvision.models.detection.") and "rcnn" in name:
            yield call, "the detector keeps the shape of each picture"
        if name == "torch.nn.functional.interpolate":
            size = argument(call, 1, "size") or argument(call, 2, "scale_factor")
            if size is not None and _is_random(file, size, 3):
                yield size, "the pictures are resized at random"


def _is_random(file: SourceFile, node: ast.expr, depth: int) -> bool:
    if depth == 0:
        return False
    for part in ast.walk(node):
        if isinstance(part, ast.Call) and file.syntax.name(part.func).startswith(("random.", "numpy.random.")):
            return True
        held = assignments(file.syntax, part) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load) else []
        if any(_is_random(file, value, depth - 1) for _, value in held):
            return True
    return False
