"""The child's task: make the network, run it without memory, and send what was measured, step by step."""

from __future__ import annotations

import dataclasses
import linecache
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dldoctor.child import MemoryLimit, UserError, frames_of
from dldoctor.facts.model.inside import runtime

Send = Callable[[str, Any], None]
#: samples of the pass: 1 would make BatchNorm refuse
BATCH = 2
#: of what the user's code draws while its network is made
SEED = 0


def examine(arguments: Mapping[str, Any], send: Send) -> None:
    """See `dldoctor.facts.model.probe.ModelProbe.gather` for the arguments and what is sent."""
    send("phase", "start")
    runtime.prepare(compiler=arguments["export"])
    import torch

    from dldoctor.facts.model.inside import criteria, places
    from dldoctor.facts.model.inside.functions import OnCpu
    from dldoctor.facts.model.inside.target import make
    from dldoctor.facts.user_code import load

    MemoryLimit.arm()
    init = torch.nn.Module.__init__

    def noted(module: Any, *args: Any, **kwargs: Any) -> None:
        init(module, *args, **kwargs)
        places.note_making(module)

    torch.nn.Module.__init__ = noted  # type: ignore[method-assign,assignment]  # patched on purpose
    send("phase", "import")
    initialisation = runtime.Initialisation()
    torch.manual_seed(SEED)
    with initialisation.limiting(), OnCpu():
        found = load(arguments["target"], arguments["folder"])
    criterion = criteria.resolve(arguments["loss"], arguments["folder"]) if arguments["loss"] else None
    if arguments["items"] is not None:
        send("phase", "data")
    specs, target, pulled = _specs(arguments)
    if pulled is not None:
        send("items", dataclasses.asdict(pulled.read))
    send("phase", "build")
    started = time.perf_counter()
    try:
        net = _made(lambda: make(found, arguments["target"], arguments["init"]), initialisation)
    except UserError:
        raise
    except Exception as error:
        from dldoctor.facts.model.inside.passes import is_out_of_memory

        if is_out_of_memory(error):
            send("unexaminable", "its constructor takes more memory than --memory-limit allows")
        else:
            send("build_failed", _build_fault(error))
        return
    send("built", dataclasses.asdict(_built(net, time.perf_counter() - started)))
    send("state", [dataclasses.asdict(entry) for entry in _state(net)])
    if not specs:
        specs = _example_inputs(net)
        if not specs and arguments["weights_alone"]:
            send("unexaminable", "that needs --input")
            return
        if not specs:
            raise UserError(
                f"{arguments['target']}: say what one sample looks like, without the batch axis: --input 3x224x224 "
                "(or 128:int64 for token ids), or --data data.py:train_set"
            )
    send("phase", "forward")
    Examination(net, specs, arguments, send, initialisation.complete).forward(criterion, target, pulled)


def _made(make: Callable[[], Any], initialisation: runtime.Initialisation) -> Any:
    """The network; without memory where it is too large for this machine or its limit."""
    from dldoctor.facts.model.inside import passes
    from dldoctor.facts.model.inside.functions import OnCpu

    with initialisation.limiting(), OnCpu():
        try:
            return make()
        except Exception as error:
            if not passes.is_out_of_memory(error):
                raise
        initialisation.left = -1
        return passes.make_without_memory(make)


class Examination:
    """The passes over one network."""

    def __init__(
        self, net: Any, specs: Sequence[Any], arguments: Mapping[str, Any], send: Send, initialised: bool = True
    ) -> None:
        from dldoctor.facts.model.inside import devices, hidden, inputs

        inputs.bind(net, specs, arguments["target"])
        self.net, self.specs, self.arguments, self.send = net, specs, arguments, send
        #: whether the parameters have the values that the user's code gave them
        self.initialised = initialised
        self.held = hidden.scan(net)
        self.plain = devices.plain_tensors(net)
        self.modes = {id(module): module.training for module in net.modules()}
        self.failed: list[tuple[str, str]] = []

    def forward(self, criterion: tuple[Any, str] | None, target: Any, pulled: Any = None) -> None:
        """Run it, send what came out, then the structure, the values, the loss, the memory and the trace."""
        from dldoctor.facts.model.inside import registration, structure
        from dldoctor.facts.model.inside.values import ValueRuns

        values = ValueRuns(self.net, self.specs, self.initialised, pulled.batch[0] if pulled and pulled.batch else None)
        done = self.best_pass()
        if done is None:
            return
        self.send("forward", dataclasses.asdict(self.described(done)))
        self.part("registration", lambda: registration.describe(self.net, done))
        if done.clean:
            self.part("graph", lambda: structure.describe(self.net, self.specs, done, self.modes))
        if self.arguments["trace"] and not done.clean:
            from dldoctor.facts.model.inside import trace

            self.send("trace", trace.record(self.net, self.specs, done, self.arguments["pysnooper"]))
        if done.error is None:
            self.part("watched", lambda: self.watched(done, values))
        if done.clean:
            self.part("values", lambda: values.measure(done))
            self.send("no_values", values.why_not)
        if criterion is not None and done.error is None and not done.rec.shapes:
            compared = pulled.batch[1] if pulled and pulled.batch and not self.arguments["compare"] else None
            self.part("loss", lambda: self.loss(criterion, done, target, values.output, compared))
        if self.arguments["memory"] is not None:
            self.part("memory", lambda: self.memory(done, criterion, target))
        if self.arguments["export"] and done.error is None:
            self.part("export", self.export)

    def part(self, name: str, measure: Callable[[], Any]) -> None:
        """Send what `measure` gives (records, or None for nothing); a failure of ours costs that part alone."""
        self.send("phase", name)
        try:
            found = measure()
        except Exception as error:
            from dldoctor.facts.model.inside.passes import is_out_of_memory

            if isinstance(error, UserError) or is_out_of_memory(error):
                raise
            at = frames_of(error.__traceback__)[-1:]
            where = "".join(f" at {frame['path']}:{frame['line']}" for frame in at)
            self.failed.append((name, f"{type(error).__name__}: {str(error)[:300]}{where}"))
            self.send("failed", self.failed)
            return
        if found is not None:
            self.send(name, [*map(dataclasses.asdict, found)] if isinstance(found, list) else dataclasses.asdict(found))

    def watched(self, done: Any, values: Any) -> Any:
        from dldoctor.facts.model.inside import devices, passes, watch

        fake = done.mode == "fake"
        gpu = fake and done.clean and devices.is_possible()

        def run(batch: int, training: bool) -> Any:
            values.fresh()
            return passes.run(self.net, self.specs, batch, fake=fake, training=training, repair=False)

        def backward() -> Any:
            values.fresh()
            return passes.backward(self.net, self.specs, BATCH, fake=fake)

        def on_gpu() -> Any:
            values.fresh()
            return devices.run(self.net, self.specs, BATCH, self.plain)

        return watch.watched(done, self.net, watch.Runs(run, backward, on_gpu if gpu else None))

    def loss(self, criterion: tuple[Any, str], done: Any, target: Any, real: Any, compared: Any) -> Any:
        from dldoctor.facts.model.inside import losses

        shown = self.arguments["loss"]
        return losses.run(criterion[0], shown, criterion[1], done.rec, done.output, real, target, compared)

    def export(self) -> Any:
        from dldoctor.facts.model.inside import export

        return export.run(self.net, self.specs)

    def memory(self, done: Any, criterion: tuple[Any, str] | None, target: Any) -> Any:
        from dldoctor.facts.model.inside.memory import forecast
        from dldoctor.facts.model.records.memory import StepMemory

        if not done.clean:
            return StepMemory(why_not="the network's forward does not run as it stands")
        if not done.training:
            return StepMemory(why_not="forward runs in evaluation mode alone (in training it wants targets, or fails)")
        return forecast.forecast(self.net, self.specs, criterion, target, forecast.Ask(**self.arguments["memory"]))

    def best_pass(self) -> Any:
        """The pass to believe: without memory where that tells all, for real where values matter."""
        from dldoctor.facts.model.inside import passes

        lazy = any(isinstance(m, _lazy()) for m in self.net.modules())
        real_is_possible = lazy or passes.fits_for_real(self.net)
        if not lazy:
            done = passes.run(self.net, self.specs, BATCH, fake=True)
            doubtful = done.error is not None or (bool(done.rec.value_dependent) and not done.clean)
            if not doubtful:
                return done
            if done.error is not None and not done.wants_values:
                other = passes.run(self.net, self.specs, BATCH, fake=True, training=False)
                if other.error is None and other.clean:
                    return other  # it wants targets in training, as detectors do
            if not real_is_possible:
                if done.wants_values:
                    self.send(
                        "unexaminable", f"it needs values that tensors without memory do not have ({done.error})"[:300]
                    )
                    return None
                return done
        if not self.initialised:
            passes.initialise(self.net)
        runs = passes.plain(self.net, self.specs, BATCH) is None
        real = passes.run(self.net, self.specs, BATCH, fake=False)
        if runs and not real.clean:  # it works: what we saw was of our own making
            real.error = None
            real.rec.shapes.clear()
            real.rec.faults.clear()
        if real.error is not None:
            other = passes.run(self.net, self.specs, BATCH, fake=False, training=False)
            if other.error is None and other.clean:
                return other
        return real

    def described(self, done: Any) -> Any:
        from dldoctor.facts.model.inside import ends, hidden, passes, places, smallest
        from dldoctor.facts.model.records.forward import Forward

        rec = done.rec
        advice = smallest.advised(self.net, self.specs, BATCH, done) if done.error is None else ""
        faults = [dataclasses.replace(fault, advice=advice or fault.advice) for fault in rec.faults]
        if done.error is not None:
            faults.append(passes.final_fault(done))
        reached = set(rec.rows)
        unreached = tuple(
            path
            for path, module in self.net.named_modules()
            if any(True for _ in module.parameters(recurse=False)) and id(module) not in reached
        )
        return Forward(
            mode=done.mode,
            training=done.training,
            batch=BATCH,
            inputs=tuple(map(str, self.specs)),
            outputs=ends.outputs_of(rec, done.output) if done.error is None else (),
            layers=rec.layers(),
            shapes=tuple(rec.shapes),
            faults=tuple(faults),
            single_values=tuple(rec.single_values.values()),
            hidden=hidden.judge(self.held, rec, set(places.made_lately)),
            smallest=smallest.find(self.net, self.specs, BATCH, done)
            if any(fault.kind == "small" for fault in rec.shapes)
            else "",
            value_dependent=tuple(rec.value_dependent),
            madds=rec.madds // BATCH,
            activation_bytes=done.activation_bytes,
            unreached=unreached,
            seconds=done.seconds,
        )


def _lazy() -> Any:
    from torch.nn.modules.lazy import LazyModuleMixin

    return LazyModuleMixin


def _specs(arguments: Mapping[str, Any]) -> tuple[tuple[Any, ...], Any, Any]:
    """Inputs and target of one sample, and what was pulled from --data, where that is code."""
    from dldoctor.facts.model.inside import inputs, items

    specs, target = inputs.asked(arguments["inputs"]), None
    if arguments["compare"] is not None:
        target = inputs.asked([arguments["compare"]])[0]
    if arguments["items"] is None:
        return specs, target, None
    pulled = items.pull(arguments["items"], BATCH, inputs_too=not specs)
    return specs or pulled.inputs, target or pulled.target, pulled


def _example_inputs(net: Any) -> tuple[Any, ...]:
    """What Lightning modules say of their input; nothing for others."""
    import torch

    from dldoctor.facts.model.inside.inputs import Spec

    example = getattr(net, "example_input_array", None)
    if isinstance(example, torch.Tensor) and example.dim() > 0:
        return (Spec(tuple(example.shape[1:]), str(example.dtype).removeprefix("torch.")),)
    return ()


def _built(net: Any, seconds: float) -> Any:
    import inspect

    import torch

    from dldoctor.facts.model.inside import places
    from dldoctor.facts.model.records.forward import Built

    parameters = [p for p in net.parameters() if not torch.nn.parameter.is_lazy(p)]
    trainable = [p for p in parameters if p.requires_grad]
    place = None
    try:
        path, line = inspect.getsourcefile(type(net)), inspect.getsourcelines(type(net))[1]
        place = places.place_of(path, line) if path and places.users(path) else None
    except (OSError, TypeError):
        pass
    return Built(
        type(net).__name__,
        place,
        sum(p.numel() for p in parameters),
        sum(p.numel() for p in trainable),
        sum(p.numel() * p.element_size() for p in parameters),
        sum(p.numel() * p.element_size() for p in trainable),
        sum(b.numel() * b.element_size() for b in net.buffers() if not torch.nn.parameter.is_lazy(b)),
        seconds,
    )


def _state(net: Any) -> list[Any]:
    import torch

    from dldoctor.facts.model.records.forward import StateEntry

    parameters = {name for name, _ in net.named_parameters(remove_duplicate=False)}
    try:
        found = net.state_dict()
    except Exception:
        return []  # a state_dict of the user's own making is none of forward's business
    first: dict[int, str] = {}
    for name, parameter in net.named_parameters(remove_duplicate=False):
        first.setdefault(id(parameter), name)
    tied = {name: first[id(p)] for name, p in net.named_parameters(remove_duplicate=False) if first[id(p)] != name}
    return [
        StateEntry(
            name, tuple(value.shape), str(value.dtype).removeprefix("torch."), name in parameters, tied.get(name, "")
        )
        for name, value in found.items()
        if isinstance(value, torch.Tensor) and not torch.nn.parameter.is_lazy(value)
    ]


def _build_fault(error: BaseException) -> dict[str, Any]:
    from dldoctor.facts.user_code import user_frames

    frames = user_frames(error.__traceback__)
    text = str(error).strip().splitlines()
    for frame in frames:
        frame["text"] = linecache.getline(frame["path"], frame["line"]).rstrip("\n")
    return {
        "error": f"{type(error).__name__}: {text[0]}" if text else type(error).__name__,
        "frames": frames or frames_of(error.__traceback__)[-1:],
    }
