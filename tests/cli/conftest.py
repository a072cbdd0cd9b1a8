"""The command line in this process: its status, its stdout, its stderr."""

from collections.abc import Callable
from typing import NamedTuple

import pytest

from dldoctor.cli import main


class Answer(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture
def dldoctor(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> Callable[..., Answer]:
    """Run `dldoctor WORDS...` in a fresh working folder."""
    monkeypatch.chdir(str(tmp_path))

    def run(*words: str) -> Answer:
        monkeypatch.setattr("sys.argv", ["dldoctor", *words])
        with pytest.raises(SystemExit) as end:
            main()
        captured = capsys.readouterr()
        code = end.value.code
        return Answer(code if isinstance(code, int) else 0, captured.out, captured.err)

    return run
