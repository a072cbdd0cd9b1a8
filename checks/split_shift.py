"""SPL: splits that are missing, differ in what they hold, or share what belongs together."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator

from dldoctor import DatasetFolder, Finding, ImageTable, LabelTable, Layout, Severity, SplitTable, Table, check

#: samples below which a set is an example rather than something to train on
_SOME = 10
#: samples that each split needs before its shares are compared
_ENOUGH = 20
#: chance below which two splits are not drawn from the same set
_CHANCE = 1e-6
#: words before a number that name what samples are taken from, and what may come behind it in a name
_NUMBERED = (
    r"(?:patients?|subjects?|subj|volunteer|person|pat|videos?|vid|clips?|scenes?|seq(?:uence)?|sessions?|"
    r"stud(?:y|ies)|wsi|slide|recording|drive)[_\-]?\d"
)
_GROUP = re.compile(
    rf"(?<![a-z])(?P<group>{_NUMBERED}+)(?=[_\-./ ]+\S*\d|[_\-.](?:l|r|left|right|front|rear|back)\b)", re.I
)


@check("SPL003", Severity.WARNING, since="0.1")
def no_validation_split(splits: SplitTable, images: ImageTable, layout: Layout) -> Iterator[Finding]:
    """There is a training split and nothing to evaluate on.

    A network is judged by pictures it was not trained on: without them overfitting can't be seen.

    Fix: keep a part of the training set for validation, drawn once and written down, whole groups together.
    """
    found = list(splits.where())
    if [split.split for split in found] != ["train"] or found[0].samples < _SOME:
        return
    if len(layout.splits) > 1:
        return  # a part of the training pictures is told to be the validation
    if len(images) and images.frame["path"].str.contains(r"(?i)train[_\-]?val[^/]*/").any():
        return  # both in one, by its name
    yield Finding(
        ".",
        "all {samples:,} samples are in train; there is no val and no test",
        samples=found[0].samples,
        fix="torch.utils.data.random_split(dataset, [0.9, 0.1], torch.Generator().manual_seed(0)), by patient or scene "
        "where there are several samples of one; or --split val=FOLDER if it lies elsewhere",
    )


@check("SPL004", Severity.WARNING, since="0.1")
def split_distribution_shift(
    labels: LabelTable | None, images: ImageTable | None, *, effect: float = 0.25
) -> Iterator[Finding]:
    """Two splits are not drawn from the same set.

    A score on another mixture of classes or another kind of picture is no estimate of the one on the training's, and
    early stopping follows the difference.

    Fix: draw the splits anew, stratified by class, unless the difference is the point of the evaluation.
    """
    if labels is not None:
        yield from _class_shift(labels, effect)
    if images is not None:
        yield from _brightness_shift(images)


def _class_shift(labels: LabelTable, effect: float) -> Iterator[Finding]:
    shares: dict[str, Counter[str]] = {}
    for row in labels.counted():
        if row.form == "number":
            return  # a quantity
        if row.split is not None and row.form != "blank":
            shares.setdefault(row.split, Counter())[row.name or row.text] += row.count
    train = shares.pop("train", None)
    if train is None or len(train) * 5 > train.total():
        return
    pictures = labels.pictures_of_splits()
    for split, other in shares.items():
        both = pictures.get("train", 0) + pictures.get(split, 0)
        if (
            min(pictures.get("train", 0), pictures.get(split, 0), train.total(), other.total()) < _ENOUGH
            or not set(other) & set(train)
            or _even(train)
            or _even(other)
        ):
            continue  # as many of each class is a choice
        # the boxes of a picture are of a kind: they count as much as the picture does
        chance, cramer = _chi_square(train, other, min(1.0, both / (train.total() + other.total())))
        if chance >= _CHANCE or cramer < effect:
            continue
        names = train.keys() | other.keys()
        share = {name: (train[name] / train.total(), other[name] / other.total()) for name in names}
        apart = sorted(share, key=lambda name: (-abs(share[name][0] - share[name][1]), name))
        rows = tuple((name, *(f"{part:.1%}" for part in share[name])) for name in apart[:6])
        yield Finding(
            ".",
            "{label} is {here:.0%} of train and {there:.0%} of {split}",
            label=apart[0],
            here=share[apart[0]][0],
            there=share[apart[0]][1],
            split=split,
            effect=round(cramer, 3),
            samples={"train": train.total(), split: other.total()},
            show=Table(("class", "train", split), rows),
            fix="sklearn.model_selection.train_test_split(paths, labels, stratify=labels), unless the splits are meant "
            "to differ",
        )


def _even(counts: Counter[str]) -> bool:
    """Whether each class has as many samples as the others, by design."""
    mean = counts.total() / len(counts)
    return len(counts) > 1 and all(abs(count - mean) <= 0.02 * mean for count in counts.values())


def _chi_square(one: Counter[str], other: Counter[str], weight: float) -> tuple[float, float]:
    """The chance that two samples of one distribution differ like this, and Cramer's V, when each sample counts as
    `weight` independent ones. Classes that are too rare for the test stand together."""
    total = one.total() + other.total()
    least = 5 * total / min(one.total(), other.total())
    cells: list[tuple[int, int]] = []
    rare = [0, 0]
    for name in one.keys() | other.keys():
        pair = (one[name], other[name])
        if sum(pair) >= least:
            cells.append(pair)
        else:
            rare = [rare[0] + pair[0], rare[1] + pair[1]]
    if sum(rare) >= least:
        cells.append((rare[0], rare[1]))
    if len(cells) < 2:
        return 1.0, 0.0
    sums = [sum(cell[side] for cell in cells) for side in (0, 1)]
    whole = sum(sums)
    statistic = sum(
        (cell[side] - sum(cell) * sums[side] / whole) ** 2 / (sum(cell) * sums[side] / whole)
        for cell in cells
        for side in (0, 1)
    )
    # Cramer's V without the part that chance alone would give
    free = len(cells) - 1
    return _tail(weight * statistic, free), math.sqrt(max(0.0, weight * statistic - free) / (weight * whole))


def _tail(statistic: float, free: int) -> float:
    """The upper tail of the chi-square distribution, by the cube root's normal approximation."""
    if statistic <= 0:
        return 1.0
    if free == 1:
        return math.erfc(math.sqrt(statistic / 2))
    spread = 2 / (9 * free)
    return 0.5 * math.erfc(((statistic / free) ** (1 / 3) - 1 + spread) / math.sqrt(2 * spread))


def _brightness_shift(images: ImageTable) -> Iterator[Finding]:
    """Splits whose pictures differ in brightness by more than their own spread: another sensor, or other processing."""
    moments: dict[str, tuple[int, float, float]] = {}
    for row in images.brightness_of_splits():
        moments[row.split] = (row.count, row.mean, row.deviation or 0.0)
    train = moments.pop("train", None)
    if train is None:
        return
    for split, (count, mean, deviation) in moments.items():
        spread = math.sqrt((train[2] ** 2 + deviation**2) / 2)
        if min(count, train[0]) < _ENOUGH or spread <= 0 or abs(mean - train[1]) < max(1.5 * spread, 16):
            continue
        yield Finding(
            ".",
            "the pictures of {split} are {word} than those of train: grey level {there:.0f} and {here:.0f}, each "
            "plus or minus {spread:.0f}",
            split=split,
            word="brighter" if mean > train[1] else "darker",
            there=mean,
            here=train[1],
            spread=spread,
            samples={"train": train[0], split: count},
            fix="look at some of both side by side: another camera, another scaling, or inverted values",
        )


@check("SPL005", Severity.ERROR, Severity.WARNING, since="0.1")
def group_leak(images: ImageTable, dataset: DatasetFolder) -> Iterator[Finding]:
    """Samples of one patient, scene or video are in two splits.

    They are nearly the same picture: the score then measures how well the network knows that patient again.

    Fix: split by group, then by sample (`sklearn.model_selection.GroupShuffleSplit`).
    """
    asked = re.compile(dataset.group_by) if dataset.group_by else None
    splits_of: dict[tuple[str, str], dict[str, list[str]]] = {}
    names: dict[str, set[str]] = {}
    grouped = 0
    placed = images.frame.filter(images.col.split.is_not_null()).select("path", "split", "label")
    if asked is None:
        placed = placed.filter(images.col.path.str.contains(f"(?i){_NUMBERED}"))
    for image in images.rows(placed):
        match = asked.search(image.path) if asked else _GROUP.search(image.path)
        if match is None:
            continue
        grouped += 1
        # numbers that nobody declared to be ids may begin anew in each class
        key = (_group(match), "" if asked else image.label or "")
        splits_of.setdefault(key, {}).setdefault(image.split, []).append(image.path)
        names.setdefault(image.split, set()).add(f"{key[1]}/{image.path[match.start() :]}")
    if asked is not None and not grouped and placed.height:
        yield Finding(
            ".",
            "--group-by {pattern} is found in none of {count} paths, such as {example}",
            pattern=dataset.group_by,
            count=placed.height,
            example=placed["path"][0],
            severity=Severity.WARNING,
            fix="write what the paths hold: the first group of the pattern is the patient, scene or video",
        )
    leaked = {key: found for key, found in splits_of.items() if len(found) > 1}
    if not leaked or (asked is None and not _beyond_doubt(splits_of, names, grouped, len(images))):
        return
    pairs: Counter[tuple[str, ...]] = Counter(tuple(sorted(found, key=_place)) for found in leaked.values())
    first = sorted(leaked, key=lambda key: _natural(key[0]))[:5]
    rows = tuple((key[0], *_examples(leaked[key])) for key in first)
    samples = sum(len(paths) for found in leaked.values() for paths in found.values())
    yield Finding(
        ".",
        "{count} of {all} groups have samples in more than one split ({splits})"
        + ("" if asked else ", by their names"),
        count=len(leaked),
        all=len(splits_of),
        splits="; ".join(f"{' and '.join(pair)}: {n}" for pair, n in pairs.most_common(3)),
        samples=samples,
        groups=[key[0] for key in first],
        pattern=dataset.group_by,
        show=Table(("group", "in one", "in another"), rows),
        severity=Severity.ERROR if asked else Severity.WARNING,
        fix="GroupShuffleSplit(test_size=0.2, random_state=0).split(paths, groups=groups)"
        + ("" if asked else "; if the names mean something else, say what a group is with --group-by"),
    )


def _group(match: re.Match[str]) -> str:
    """The first group of the pattern, or the whole match."""
    return match.group(1) if match.re.groups and match.group(1) is not None else match.group()


def _examples(found: dict[str, list[str]]) -> list[str]:
    """A path of each of the first two splits."""
    return [found[split][0] for split in sorted(found, key=_place)[:2]]


def _beyond_doubt(
    splits_of: dict[tuple[str, str], dict[str, list[str]]], names: dict[str, set[str]], grouped: int, all_samples: int
) -> bool:
    """Whether names without a pattern surely name groups: nearly all samples have one, each group has several, and no
    two splits use the same names, as they would if they counted anew."""
    several = sum(sum(map(len, found.values())) > 1 for found in splits_of.values())
    if grouped < 0.9 * all_samples or len(splits_of) < 3 or 2 * several < len(splits_of):
        return False
    splits = list(names)
    return not any(names[one] & names[other] for n, one in enumerate(splits) for other in splits[n + 1 :])


def _place(split: str) -> tuple[int, str]:
    order = ("train", "val", "test")
    return (order.index(split) if split in order else len(order), split)


def _natural(text: str) -> tuple[tuple[int, str], ...]:
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", text) if part)
