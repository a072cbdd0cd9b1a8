"""The command line: one thin file per command; the subject commands are made from their requests."""

from __future__ import annotations

import gc
import os
import signal
import sys
from typing import NoReturn

import typer

from dldoctor.cli import catalogue, explain, init, preflight, restore, subjects
from dldoctor.fact import BadInput


def application(asked: str) -> typer.Typer:
    """The whole command line; `asked` is the command on the line, the only one whose options are built."""
    app = typer.Typer(
        name="dldoctor",
        help="Finds, before the run and while it starts, what would make a PyTorch training fail or silently go wrong.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    subjects.register(app, asked)
    preflight.register(app, asked)
    for module in (init, catalogue, explain, restore):
        module.register(app)
    return app


def _version(asked: bool) -> None:
    if asked:
        from dldoctor.cli.catalogue import version_text

        typer.echo(version_text())
        raise typer.Exit


def _root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version and those of plugins."
    ),
) -> None:
    """Finds, before the run and while it starts, what would make a PyTorch training fail or silently go wrong."""


def main() -> NoReturn:
    """Entry point. Exit status: 0, 1 findings, 2 the command could not do its work, 130 Ctrl-C, 143 SIGTERM."""
    signal.signal(signal.SIGTERM, _terminated)
    # polars' allocator keeps what tables have freed; a scan of many pictures should not look twice its size
    os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:0,muzzy_decay_ms:0")
    # hundreds of thousands of small tuples without a cycle would be walked again and again
    gc.set_threshold(200_000, 20, 20)
    if sys.stdout is None:  # `>&-`
        typer.echo("error: the report can't be written (stdout is closed)", err=True)
        sys.exit(2)
    status = 0
    try:
        application(next((word for word in sys.argv[1:] if not word.startswith("-")), ""))()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BadInput as error:
        typer.echo(f"error: {error}", err=True)
        status = 2
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        status = 130
    except _Terminated:
        status = 143
    except OSError as error:
        status = _unwritable(error)
    try:
        sys.stdout.flush()
    except OSError as error:
        status = _unwritable(error)
    sys.exit(status)


class _Terminated(BaseException):
    """SIGTERM. No SystemExit: that would be taken for one of a plugin or of other code that is being run."""


def _terminated(*_: object) -> NoReturn:
    raise _Terminated  # unwinds, so that children end


def _unwritable(error: OSError) -> int:
    """stdout can't be written: a closed pipe (`| head`) is nothing to talk about, a full disk is."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # keeps Python from complaining at exit
    if isinstance(error, BrokenPipeError):
        return 128 + signal.SIGPIPE
    typer.echo(f"error: the report can't be written ({error.strerror or error})", err=True)
    return 2
