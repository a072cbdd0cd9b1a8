"""What is asked about the memory of a training step: the options that bear on it, put together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from dldoctor.fact import Fact, Unavailable
from dldoctor.facts.machine.gpu import PlannedCard
from dldoctor.facts.subjects import AmpAsked, BatchSize, CudnnBenchmarkAsked, MemoryAsked, OptimizerAsked


@dataclass(frozen=True)
class MemoryQuestion(Fact):
    """`dldoctor.facts.model.inside.memory.forecast.Ask` says what each of these means."""

    batch: int | None
    optimizer: str
    amp: str
    benchmark: bool
    card: int | None
    context: int | None
    savings: bool | None

    @classmethod
    def gather(
        cls,
        batch: BatchSize | None,
        optimizer: OptimizerAsked | None,
        amp: AmpAsked | None,
        benchmark: CudnnBenchmarkAsked | None,
        memory: MemoryAsked | None,
        card: PlannedCard | None,
    ) -> Self:
        if memory is None and (batch is None or card is None):
            raise Unavailable("needs --batch N and --gpu-memory 24GB (or a GPU)")  # nobody would use the answer
        return cls(
            batch.size if batch else None,
            optimizer.name if optimizer else "",
            amp.dtype if amp else "",
            benchmark is not None,
            card.bytes if card else None,
            memory.context if memory else None,
            memory.savings if memory else None,
        )
