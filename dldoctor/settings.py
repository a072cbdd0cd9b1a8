"""Settings: [tool.dldoctor] of the working folder's pyproject.toml under the command line's options, as one object."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dldoctor.fact import BadInput
from dldoctor.finding import Severity
from dldoctor.plugins import Registry, load_registry
from dldoctor.registry import Check

FAIL_ON = ("error", "warning", "info", "never")
_KEYS = ("select", "ignore", "per-path-ignores", "fail-on", "baseline", "plugins")


@dataclass(frozen=True)
class Settings:
    """What applies to an examination, whoever said it. Paths are absolute; codes, families and names are known."""

    registry: Registry
    #: where relative paths of the settings start
    folder: Path
    select: tuple[str, ...] = ()
    #: word -> reason ("" where none was given)
    ignore: Mapping[str, str] = field(default_factory=dict)
    #: glob -> word -> reason
    per_path_ignores: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    fail_on: str = "error"
    baseline: Path | None = None
    #: code -> setting -> value
    checks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    #: command -> its tables, for preflight
    parts: Mapping[str, tuple[Mapping[str, Any], ...]] = field(default_factory=dict)

    @property
    def threshold(self) -> Severity | None:
        """The least severity that fails a run; None for never."""
        return None if self.fail_on == "never" else Severity(self.fail_on)

    def chosen(self) -> tuple[tuple[Check, ...], frozenset[str]]:
        """The checks to run, and those among them that run for the sake of another's `unless` alone."""
        every = self.registry.checks.values()
        # Ignored checks run too: their findings are made and silenced, so that the silenced can be counted.
        wanted = [c for c in every if not self.select or {c.code, c.family, c.name} & set(self.select)]
        codes = {check.code for check in wanted}
        graver = {code for check in wanted for code in check.unless} - codes
        return tuple(c for c in every if c.code in codes | graver), frozenset(graver)


@dataclass(frozen=True)
class Overrides:
    """What the command line says on top of the file."""

    config: Path | None = None
    select: Sequence[str] = ()
    ignore: Sequence[str] = ()
    fail_on: str | None = None
    baseline: Path | None = None
    #: "LBL005.ratio=20"
    set: Sequence[str] = ()
    plugins: Sequence[Path] = ()


def load_settings(folder: Path, overrides: Overrides | None = None) -> Settings:
    """Read, validate and combine.

    Raises:
        BadInput: an unreadable file, an unknown key, check or setting, or a value of the wrong type; the message
            names the nearest right one.
    """
    overrides = overrides or Overrides()
    file = overrides.config or folder / "pyproject.toml"
    table = _table(file, required=overrides.config is not None)
    base = file.resolve().parent
    plugins = [base / path for path in _strings(table.get("plugins", []), f"{file}: plugins")]
    registry = load_registry([*plugins, *overrides.plugins])
    commands = _commands()
    by_word = {c.name: c.code for c in registry.checks.values()} | {code: code for code in registry.checks}
    checks: dict[str, dict[str, Any]] = {}
    parts: dict[str, tuple[Mapping[str, Any], ...]] = {}
    for key, value in table.items():
        if key in commands:
            tables = value if isinstance(value, list) else [value]
            if not all(isinstance(part, dict) for part in tables):
                raise BadInput(f"{file}: [tool.dldoctor.{key}] must be a table")
            parts[key] = tuple(tables)
        elif key in by_word and isinstance(value, dict):
            for name, setting in value.items():
                _put(checks, registry, by_word[key], name, setting, f"{file}: [tool.dldoctor.{key}]")
        elif key not in _KEYS:
            raise BadInput(f"{file}: [tool.dldoctor] has no key {key!r}{_nearest(key, [*_KEYS, *commands, *by_word])}")
    for item in overrides.set:
        place, equals, text = item.partition("=")
        code, dot, name = place.partition(".")
        if not (equals and dot):
            raise BadInput(f"--set {item}: write CODE.SETTING=VALUE, like --set LBL005.ratio=20")
        if code not in by_word:
            raise BadInput(f"--set {item}: no check {code!r}{_nearest(code, list(by_word))}")
        _put(checks, registry, by_word[code], name, _value(text), f"--set {item}")
    ignore = _reasons(table.get("ignore", {}), registry, f"{file}: ignore")
    ignore |= dict.fromkeys(_words(overrides.ignore, registry, "--ignore"), "on the command line")
    per_path = table.get("per-path-ignores", {})
    if not isinstance(per_path, dict):
        raise BadInput(f'{file}: per-path-ignores must be a table, like {{ "old/*" = ["SRC"] }}')
    fail_on = overrides.fail_on or table.get("fail-on", "error")
    if fail_on not in FAIL_ON:
        raise BadInput(
            f"{'--fail-on' if overrides.fail_on else f'{file}: fail-on'}: {fail_on!r} is none of {', '.join(FAIL_ON)}"
        )
    baseline = overrides.baseline or (base / table["baseline"] if "baseline" in table else None)
    return Settings(
        registry,
        base if table else folder,
        select=tuple(
            _words(overrides.select, registry, "--select")
            or _words(_strings(table.get("select", []), f"{file}: select"), registry, f"{file}: select")
        ),
        ignore=ignore,
        per_path_ignores={
            glob: _reasons(value, registry, f"{file}: per-path-ignores {glob!r}") for glob, value in per_path.items()
        },
        fail_on=fail_on,
        baseline=baseline,
        checks=checks,
        parts=parts,
    )


def with_select(settings: Settings, words: Iterable[str]) -> Settings:
    """The same settings for these codes, families or names alone."""
    return replace(settings, select=tuple(_words(words, settings.registry, "select")))


def _commands() -> list[str]:
    from dldoctor.requests import request_types

    return list(request_types())


def _table(file: Path, required: bool) -> Mapping[str, Any]:
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if required:
            raise BadInput(f"{file}: no such file (--config)") from None
        return {}
    except OSError as error:
        raise BadInput(f"{file}: can't be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{file}: is no valid TOML: {error}") from None
    table = content.get("tool", {}).get("dldoctor", {})
    if not isinstance(table, dict):
        raise BadInput(f"{file}: tool.dldoctor must be a table")
    return table


def _put(checks: dict[str, dict[str, Any]], registry: Registry, code: str, name: str, value: Any, where: str) -> None:
    import msgspec

    known = {setting.name: setting for setting in registry.checks[code].settings}
    name = name.replace("-", "_")
    if name not in known:
        has = "; it has no settings" if not known else _nearest(name, list(known))
        raise BadInput(f"{where}: {code} has no setting {name!r}{has}")
    try:
        if value != value:  # NaN, with which a check could never speak
            raise msgspec.ValidationError
        checks.setdefault(code, {})[name] = msgspec.convert(value, known[name].type, strict=True)
    except msgspec.ValidationError:
        kind = getattr(known[name].type, "__name__", str(known[name].type))
        default = known[name].default
        raise BadInput(f"{where}: {code}.{name} takes {kind}, not {value!r} (default {default!r})") from None


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _reasons(value: Any, registry: Registry, where: str) -> dict[str, str]:
    if isinstance(value, dict):
        reasons = {str(word): str(reason) for word, reason in value.items()}
    else:
        reasons = dict.fromkeys(_strings(value, where), "")
    return {word: reasons[key] for key, word in zip(reasons, _words(reasons, registry, where), strict=True)}


def _words(words: Iterable[str], registry: Registry, where: str) -> list[str]:
    known = registry.words
    found = []
    for word in [part.strip() for item in words for part in item.split(",") if part.strip()]:
        match = word.upper() if word.upper() in known else word.lower()
        if match not in known:
            raise BadInput(f"{where}: no check, family or name {word!r}{_nearest(word, known)}")
        found.append(match)
    return found


def _strings(value: Any, where: str) -> list[str]:
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise BadInput(f"{where}: must be a list of strings")
    return value


def _nearest(word: str, known: Sequence[str]) -> str:
    folded = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), folded, n=1, cutoff=0.5)
    return f"; did you mean {folded[close[0]]!r}?" if close else ""
