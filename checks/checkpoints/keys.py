"""Whether the keys and shapes of the weights are the network's."""

from __future__ import annotations

import re
from collections.abc import Iterator

from dldoctor import (
    Advice,
    Checkpoint,
    CheckpointAsked,
    Finding,
    RenameKeys,
    Renaming,
    Rule,
    Severity,
    StateMatch,
    Table,
    check,
)

#: rows of a table
_SHOWN = 8


@check(
    "CKP001",
    Severity.ERROR,
    since="0.1",
    symptoms=(
        'Unexpected key(s) in state_dict: "module.{key}',
        'Unexpected key(s) in state_dict: "_orig_mod.{key}',
        'Missing key(s) in state_dict: "module.{key}',
        'Missing key(s) in state_dict: "_orig_mod.{key}',
    ),
)
def module_prefix(checkpoint: Checkpoint, match: StateMatch, asked: CheckpointAsked) -> Iterator[Finding]:
    """The keys of the checkpoint carry the prefix of a wrapper, or lack it.

    DataParallel and DistributedDataParallel save `module.conv1.weight`, torch.compile `_orig_mod.conv1.weight`,
    Lightning `model.conv1.weight`. Loading raises, or with strict=False loads nothing and says nothing.

    Fix: rename the keys, and save model.module.state_dict() from now on.
    """
    rule = match.renaming.wrapped if match.renaming else None
    if match.renaming is None or rule is None:
        return
    template = {
        "strip": "{renamed} of {keys} keys begin with {prefix}, which the network's keys don't; without it ",
        "drop": "{renamed} of {keys} keys hold the segment {prefix}, which the network's keys don't; without it ",
    }.get(rule.kind, "the network's keys begin with {prefix}, which none of the {keys} keys has; with it ")
    yield Finding(
        checkpoint.file,
        template + "{after} of {entries} entries are filled instead of {before}",
        renamed=len(match.renaming.names),
        keys=match.keys,
        prefix=rule.new or rule.old,
        after=rule.after,
        entries=match.entries,
        before=rule.before,
        show=Table(("in the file", "in the network"), match.renaming.names[:3]),
        fix=_renamed(checkpoint, match, match.renaming, asked),
    )


@check(
    "CKP002",
    Severity.ERROR,
    since="0.1",
    symptoms=(
        "Error(s) in loading state_dict for {model}",
        "Missing key(s) in state_dict: {keys}",
        "Unexpected key(s) in state_dict: {keys}",
        "size mismatch for {key}: copying a param with shape torch.Size({file}) from checkpoint, the shape in current "
        "model is torch.Size({network})",
    ),
)
def state_dict_mismatch(checkpoint: Checkpoint, match: StateMatch, asked: CheckpointAsked) -> Iterator[Finding]:
    """Keys or shapes of the checkpoint are not those of the network.

    load_state_dict raises; with strict=False the layers whose names don't fit keep their random start, and a wrong
    shape raises all the same.

    Fix: rename the keys of layers that were renamed, drop those of layers that were replaced on purpose.
    """
    renaming = match.renaming if match.renaming and match.renaming.replaced else None
    if match.whole and renaming is None:
        return
    replaced = [(o, n) for o, n in renaming.names if _replaces(renaming.replaced, n)] if renaming else []
    parts = [
        f"{len(found)} {what}"
        for found, what in (
            (match.missing, "missing"),
            (match.unexpected, "unexpected"),
            (match.wrong_shape, "of another shape"),
        )
        if found
    ]
    if replaced:
        parts.insert(0, f"{len(replaced)} under another name")
    yield Finding(
        checkpoint.file,
        "its state_dict does not fit the network: of {entries} entries {what}",
        entries=match.entries,
        what=_and(parts),
        missing=[entry.name for entry in match.missing],
        unexpected=[tensor.name for tensor in match.unexpected],
        wrong_shape=[pair.entry.name for pair in match.wrong_shape if pair.entry],
        show=_keys(match, replaced),
        fix=_renamed(checkpoint, match, renaming, asked) if renaming and not renaming.wrapped else _advice(match),
    )


@check("CKP007", Severity.ERROR, since="0.1")
def silent_partial_load(checkpoint: Checkpoint, match: StateMatch, *, share: float = 0.5) -> Iterator[Finding]:
    """Loading what fits would leave most of the network at its random start.

    The recipe `{key: value for key, value in state.items() if key in model.state_dict()}` and strict=False drop every
    key that differs, and load_state_dict still answers that all keys matched.

    Fix: rename the keys first, and print how many elements were filled.
    """
    if match.whole and match.renaming is None:
        return
    filled = match.filled / match.elements if match.elements else 1.0
    if filled >= share:
        return
    yield Finding(
        checkpoint.file,
        "keeping the keys that fit would fill {percent:.1f} % of the network ({filled:,} of {elements:,} elements) and "
        "raise nothing",
        percent=100 * filled,
        filled=match.filled,
        elements=match.elements,
        fix="load with strict=True, or look at what load_state_dict(state, strict=False) returns: "
        "missing_keys and unexpected_keys",
    )


def _replaces(rules: tuple[Rule, ...], name: str) -> bool:
    return any(name.startswith(rule.new) for rule in rules)


def _renamed(checkpoint: Checkpoint, match: StateMatch, renaming: Renaming, asked: CheckpointAsked) -> RenameKeys:
    """The renaming as data, with the lines that do it by hand."""
    if checkpoint.form == "safetensors":
        read = f'state = safetensors.torch.load_file("{checkpoint.file}")'
    else:
        inner = "".join(f'["{key}"]' for key in match.at)
        read = f'state = torch.load("{checkpoint.file}", map_location="cpu"){inner}'
    by_hand = "\n".join([read, *map(_line, renaming.rules)])
    if asked.write_fixed is not None:
        return RenameKeys(by_hand, checkpoint.file, match.at, renaming.names, asked.write_fixed.as_posix())
    ways = f"--write-fixed fixed{asked.file.suffix} writes the file with the network's names; by hand:"
    return RenameKeys(f"{ways}\n{by_hand}", checkpoint.file, match.at, renaming.names)


def _line(rule: Rule) -> str:
    """Python that renames the keys by this rule."""
    if rule.kind == "strip":
        key = f'key.removeprefix("{rule.old}")'
    elif rule.kind == "add":
        key = f'"{rule.new}" + key'
    elif rule.kind == "drop":
        key = "key" + "".join(f'.replace("{part}.", "")' for part in rule.old.split(", "))
    else:
        key = f're.sub(r"^{re.escape(rule.old)}", "{rule.new}", key)'
    return f"state = {{{key}: value for key, value in state.items()}}"


def _keys(match: StateMatch, replaced: list[tuple[str, str]]) -> Table:
    """The keys that don't fit, side by side where one was renamed or has another shape."""
    rows: list[tuple[str, str, str, str]] = [(new, "", old, "") for old, new in replaced[:3]]
    paired = {pair.entry.name for pair in match.pairs if pair.entry}
    with_partner = {pair.stored.name for pair in match.pairs if pair.stored}
    rows += [
        (pair.entry.name, _sides(pair.entry.shape), pair.stored.name, _sides(pair.stored.shape))
        for pair in (*match.wrong_shape, *match.pairs)
        if pair.entry and pair.stored
    ]
    rows += [(e.name, _sides(e.shape), "-", "") for e in match.missing if e.name not in paired]
    rows += [("-", "", t.name, _sides(t.shape)) for t in match.unexpected if t.name not in with_partner]
    more = len(rows) - _SHOWN
    shown = rows if more <= 1 else [*rows[:_SHOWN], (f"... {more} more", "", "", "")]
    return Table(("in the network", "shape", "in the file", "shape"), tuple(shown))


def _advice(match: StateMatch) -> Advice:
    if match.pairs and not match.wrong_shape:
        (pair, *_) = match.pairs
        old, new = (pair.stored.name if pair.stored else ""), (pair.entry.name if pair.entry else "")
        return Advice(f'rename what was renamed: state["{new}"] = state.pop("{old}"), and so on')
    if match.wrong_shape:
        names = [pair.entry.name for pair in match.wrong_shape if pair.entry]
        listed = ", ".join(f'"{name}"' for name in names[:4]) + (", ..." if len(names) > 4 else "")
        return Advice(
            f"give these layers the sizes of the file, or start them anew: for key in [{listed}]: del state[key]; "
            "model.load_state_dict(state, strict=False)"
        )
    if not match.missing:
        return Advice("model.load_state_dict(state, strict=False) fills the whole network and leaves these out")
    return Advice(
        "model.load_state_dict(state, strict=False) where the missing layers are new on purpose; else build the "
        "network that the file was saved from"
    )


def _sides(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "scalar"


def _and(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
