"""Which of the user's lines something is laid to."""

from pathlib import Path

import pytest

from dldoctor.facts.model.inside import places


def test_what_a_library_asks_while_it_is_imported_is_not_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking = "from dldoctor.facts.model.inside import places\ndef ask():\n    places.note_gpu()\n"
    (tmp_path / "asks_when_imported.py").write_text(f"{asking}ask()\n")
    (tmp_path / "asks_when_called.py").write_text(asking)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(places, "users", lambda path: path == __file__)
    monkeypatch.setattr(places, "gpu_asked", {})
    __import__("asks_when_imported")
    assert not places.gpu_asked
    __import__("asks_when_called").ask()
    (place,) = places.gpu_asked
    assert "asks_when_called" in place.text
