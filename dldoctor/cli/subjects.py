"""`scan`, `model`, `loader`, `code`, `env`, `smoke`: one command per request, its options read off the request."""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from pathlib import Path
from typing import Annotated, Any

import typer

from dldoctor.cli.common import Common, Isolated, examine_and_end, parameters, resources_of, settings_of
from dldoctor.requests import Request, request_types


def register(app: typer.Typer, asked: str) -> None:
    """Add the commands; only the one that is asked for gets its options, which keeps --help fast."""
    for name, kind in request_types().items():
        command = _command(kind) if name == asked else _unasked
        app.command(name, help=inspect.cleandoc(kind.__doc__ or ""))(command)


def _unasked() -> None: ...


def _command(kind: type[Request]) -> Any:
    """A function with the signature that typer reads: the request's fields, then the common options."""
    own = _own_parameters(kind)
    names = {parameter.name for parameter in own}
    shared = parameters(Common) + (parameters(Isolated) if kind.runs_user_code else [])
    extra = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=hint, default=default)
        for name, hint, default in shared
    ]
    if "workers" not in names:
        hint = Annotated[int | None, typer.Option(help="Processes that measure.", metavar="N")]
        extra.append(inspect.Parameter("workers", inspect.Parameter.KEYWORD_ONLY, annotation=hint, default=None))

    def command(**values: Any) -> None:
        from dldoctor.examine import from_table, replay, run

        common = Common(**{field.name: values[field.name] for field in dataclasses.fields(Common)})
        isolated = None
        if kind.runs_user_code:
            isolated = Isolated(**{field.name: values[field.name] for field in dataclasses.fields(Isolated)})
        settings = settings_of(common, Path.cwd())
        resources = resources_of(common, isolated, None if "workers" in names else values["workers"])
        if common.facts:
            file = common.facts
            examine_and_end(common, lambda: replay(file, settings, resources))
        for field in dataclasses.fields(kind):
            if field.metadata.get("argument") and not values[field.name]:
                raise typer.BadParameter(f"{field.metadata['metavar']} is missing: {field.metadata['help']}")
        table = {name: values[name] for name in names if values[name] not in (None, [])}
        request = from_table(kind, table, f"dldoctor {kind.command}")
        examine_and_end(common, lambda: run(request, settings, resources, Path.cwd()))

    command.__signature__ = inspect.Signature([*own, *extra])  # type: ignore[attr-defined]  # typer reads it
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in [*own, *extra]}
    return command


def _own_parameters(kind: type[Request]) -> list[inspect.Parameter]:
    hints = typing.get_type_hints(kind)
    found = []
    for field in dataclasses.fields(kind):
        about = field.metadata
        plain = _plain(hints[field.name])
        default: Any = inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default
        if about.get("argument"):
            # optional to typer, because --facts takes its place; the request says when it is missing
            annotation: Any = Annotated[plain | None, typer.Argument(help=about["help"], metavar=about["metavar"])]
            default = None
        else:
            flags = [about["flag"]] if about.get("flag") else []
            if plain is bool:
                flags = flags or [f"--{field.name.replace('_', '-')}"]
            annotation = Annotated[
                plain if plain is bool or default not in (None,) else plain | None,
                typer.Option(*flags, help=about["help"], metavar=about["metavar"]),
            ]
        found.append(
            inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)
        )
    return found


def _plain(hint: Any) -> Any:
    """What typer can parse of a request's type: the list form where there is one, else text for a choice of types."""
    kinds = [kind for kind in typing.get_args(hint) if kind is not type(None)] if _is_union(hint) else [hint]
    if str in kinds and int in kinds:
        return str
    lists = [kind for kind in kinds if typing.get_origin(kind) is list]
    return lists[0] if lists else kinds[0]


def _is_union(hint: Any) -> bool:
    return isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union
