"""BatchNorm and the batch that trains it."""

from __future__ import annotations

import math
from collections.abc import Iterator

from dldoctor import BatchSize, Finding, LayerTable, Place, Severity, check
from dldoctor.facts.model.frames import line_frame

_KINDS = ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "LazyBatchNorm1d", "LazyBatchNorm2d", "LazyBatchNorm3d")


@check("MOD027", Severity.WARNING, since="0.1", unless=("MOD009",))
def small_batch_batchnorm(layers: LayerTable, batch: BatchSize, *, enough: int = 5) -> Iterator[Finding]:
    """BatchNorm is trained on batches of four samples or fewer.

    Its statistics are those of a few pictures, and evaluation, which takes their running mean, sees others. Gradient
    accumulation does not help: each forward sees its own batch alone.

    Fix: a larger batch per device, SyncBatchNorm over several of them, or GroupNorm.
    """
    if batch.size >= enough:
        return
    norms = [layer for layer in layers.layers if layer.kind in _KINDS and (layer.trainable or not layer.parameters)]
    if not norms:
        return
    values = [batch.size * math.prod(layer.shape_in[1:]) for layer in norms]
    fewest = norms[values.index(min(values))]
    made = fewest.made
    groups = next((n for n in (32, 16, 8, 4, 2) if fewest.shape_in and fewest.shape_in[0] % n == 0), 1)
    yield Finding(
        Place(made.path if made else None, made.line if made else None, layer=fewest.path),
        "{count} {batch} at a time: {values} per channel in {layer}",
        count=f"{len(norms)} BatchNorm layers see" if len(norms) > 1 else "the BatchNorm layer sees",
        batch=f"{batch.size} samples" if batch.size > 1 else "one sample",
        values=f"{min(values):,} values",
        layer=fewest.path,
        show=line_frame(made),
        fix=f"a batch of 16 or more per device; nn.SyncBatchNorm.convert_sync_batchnorm(net) over several devices; or "
        f"nn.GroupNorm({groups}, {fewest.shape_in[0] if fewest.shape_in else 'channels'}) in its place",
    )
