"""SPL: training, validation and test parts of a dataset."""

from __future__ import annotations

from collections.abc import Iterator

from dldoctor import (
    Advice,
    BatchSize,
    Finding,
    ImageTable,
    LabelTable,
    LayerTable,
    Severity,
    SplitTable,
    check,
    leave_out,
)

_ORDER = ("train", "val", "test")


@check("SPL001", Severity.ERROR, since="0.1")
def train_val_leak(images: ImageTable, labels: LabelTable | None) -> Iterator[Finding]:
    """The same picture is in two splits.

    The validation score then measures memory, and the best checkpoint is chosen by it.

    Fix: take it out of one of them, out of training when the test set is published.
    """
    if labels is not None:
        yield from _listed_twice(labels)
    for group in images.identical():
        first: dict[str, str] = {}
        for image in group:
            if image.split is not None:
                first.setdefault(image.split, image.path)
        if len(first) < 2:
            continue
        splits = sorted(first, key=_rank)
        given = sorted({image.label for image in group if image.split is not None and image.label is not None})
        names = " and ".join(splits)
        template = "is in {splits}: {paths}"
        if len(given) > 1:
            template += "; under different labels: {labels}"
        leaked = tuple(image.path for image in group if image.split == splits[-1])
        yield Finding(
            first[splits[-1]],
            template,
            splits=names,
            paths=", ".join(first[split] for split in splits),
            labels=", ".join(given),
            copies=[image.path for image in group],
            fix=leave_out(
                leaked,
                f"take it out of {splits[-1]}, or out of {splits[0]} when the scores must stay "
                "comparable with published ones",
                safe=False,
            ),
        )


def _listed_twice(labels: LabelTable) -> Iterator[Finding]:
    """Pictures that the lists of two splits name. A list that holds all of another is made of it: train of trainval."""
    pictures = labels.pictures_of_splits()
    pairs: dict[tuple[str, ...], list[str]] = {}
    for path, found in labels.in_several_splits():
        pairs.setdefault(tuple(sorted(found, key=_rank)), []).append(path)
    for splits, paths in pairs.items():
        if 2 * len(paths) <= min(pictures[split] for split in splits):
            yield Finding(
                ".",
                "{count} pictures are listed in {splits}, such as {example}",
                count=len(paths),
                splits=" and ".join(splits),
                example=paths[0],
                paths=paths[:1000],
                fix=f"take their rows out of the list of {splits[0]}",
            )


def _rank(split: str) -> tuple[int, str]:
    return (_ORDER.index(split) if split in _ORDER else len(_ORDER), split)


@check(
    "SPL002",
    Severity.ERROR,
    Severity.WARNING,
    since="0.1",
    symptoms=(
        "Expected more than 1 value per channel when training, got input size [1, {c}]",
        "Expected more than 1 value per channel when training, got input size [1, {c}, 1, 1]",
    ),
)
def last_batch_of_one(splits: SplitTable, batch: BatchSize, network: LayerTable | None) -> Iterator[Finding]:
    """The last batch of an epoch holds one sample.

    BatchNorm can't compute a variance of one value and raises at the end of the first epoch; where it can, the
    statistics of that step are noise.

    Fix: `DataLoader(..., drop_last=True)` for training.
    """
    norms = [layer.path for layer in network.layers if layer.kind.startswith("BatchNorm")] if network else []
    if batch.size < 2 or (network and not norms):
        return
    training = list(splits.where(splits.col.split == "train")) or list(splits.where(splits.col.split.is_null()))
    for split in training:
        if split.samples % batch.size == 1:
            yield Finding(
                ".",
                "{samples} training samples in batches of {batch} leave a last batch of one, which {norm} refuses",
                samples=split.samples,
                batch=batch.size,
                norm=f"{norms[0]} (BatchNorm)" if norms else "BatchNorm",
                # without a network to look at there may be no BatchNorm in it
                severity=Severity.ERROR if norms else Severity.WARNING,
                fix=Advice("DataLoader(..., drop_last=True) for training, or a batch size that divides otherwise"),
            )
