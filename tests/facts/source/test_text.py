"""Places, frames and edits: columns in characters, edits in bytes, line ends and comments kept."""

import ast
import os
from pathlib import Path

import pytest

from dldoctor import BadInput, Edit, Edits, SourceTree
from dldoctor.facts.source.text import ParseError, SourceFile, read_source
from dldoctor.facts.subjects import SourcePaths
from dldoctor.plugins import load_registry
from dldoctor.resources import Resources

FIXTURES = Path(__file__).parents[3] / "fixtures"


def applied(text: str, edits: list[Edit]) -> str:
    content = text.encode()
    for edit in sorted(edits, key=lambda e: (e.start, e.end), reverse=True):
        content = content[: edit.start] + edit.text.encode() + content[edit.end :]
    return content.decode()


def call(file: SourceFile, name: str) -> ast.Call:
    assert isinstance(file.tree, ast.Module)
    return next(n for n in ast.walk(file.tree) if isinstance(n, ast.Call) and ast.unparse(n.func) == name)


@pytest.mark.parametrize("start", ["", "\ufeff"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_an_edit_lands_behind_accents_and_any_line_end(start: str, newline: str) -> None:
    text = f"{start}# größe{newline}é = 'ü'; f(é)  # ça va{newline}"
    file = SourceFile("a.py", text)
    assert applied(text, [file.append(call(file, "f"), ".item()")]) == text.replace("f(é)", "f(é).item()")
    assert file.place(call(file, "f")).column == 10
    assert file.newline == newline


def test_an_operator_gets_parentheses() -> None:
    file = SourceFile("a.py", "x = a + b\n")
    assert isinstance(file.tree, ast.Module)
    assigned = file.tree.body[0]
    assert isinstance(assigned, ast.Assign)
    assert applied(file.text, [file.append(assigned.value, ".copy()")]) == "x = (a + b).copy()\n"


def test_wrapping_keeps_blank_lines_and_refuses_texts_over_lines() -> None:
    file = SourceFile("a.py", "for x in y:\n    f(x)\n\n    # note\n    g(x)\n")
    assert isinstance(file.tree, ast.Module)
    edits = file.wrap(file.tree.body[0], "with c()")
    assert edits is not None
    assert applied(file.text, edits) == ("with c():\n    for x in y:\n        f(x)\n\n        # note\n        g(x)\n")
    other = SourceFile("a.py", "for x in y:\n    f('''\nx''')\n")
    assert isinstance(other.tree, ast.Module)
    assert other.wrap(other.tree.body[0], "with c()") is None


@pytest.mark.parametrize(
    ("text", "newer"), [("print 'x'\n", False), ("type X = int\n", True), ("def f[T](x): pass\n", True)]
)
def test_newer_syntax_is_told_from_wrong_syntax(text: str, newer: bool) -> None:
    tree = SourceFile("a.py", text).tree
    if isinstance(tree, ParseError):
        assert tree.newer is newer
    else:
        assert newer, "this Python reads it"


def test_a_tree_leaves_out_what_others_wrote(tmp_path: Path) -> None:
    for name in ("train.py", "venv/a.py", ".git/b.py", "build/c.py", "envs/own/pyvenv.cfg", "envs/own/d.py", "x/e.py"):
        target = tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("")
    (tmp_path / "latin.py").write_bytes(b"# -*- coding: latin-1 -*-\nx = '\xe9'\n")
    (tmp_path / "wrong.py").write_bytes(b"x = '\xe9'\n")
    (tmp_path / "huge.py").write_text("x = 1\n" * 500_000)
    tree = SourceTree.gather(SourcePaths((".",), tmp_path), Resources())
    assert [file.path for file in tree.files] == ["huge.py", "latin.py", "train.py", "wrong.py", "x/e.py"]
    assert [bool(file.trouble) for file in tree.files] == [True, False, False, True, False]
    assert [file.path for file in tree.files if file.generated] == ["huge.py"]


def test_nothing_to_examine_is_bad_input(tmp_path: Path) -> None:
    for paths in ((".",), ("nope.py",)):
        with pytest.raises(BadInput):
            SourceTree.gather(SourcePaths(paths, tmp_path), Resources())


SICK = sorted(path for path in FIXTURES.glob("SRC*/sick.py"))


@pytest.mark.parametrize("path", SICK, ids=lambda path: path.parent.name)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_every_fix_parses_and_cures(path: Path, newline: str) -> None:
    check = load_registry(()).checks[path.parent.name[:6]]
    text = path.read_text(encoding="utf-8").replace("\n", newline)
    for _ in range(80):
        found = list(check.function(SourceTree((SourceFile("sick.py", text),))))
        fixes = [f.fix for f in found if isinstance(f.fix, Edits)]
        if not fixes:
            break
        comments, lines = text.count("#"), text.count("\n")
        text = applied(text, list(fixes[0].edits))
        assert isinstance(SourceFile("sick.py", text).tree, ast.Module)
        gone = max(0, lines - text.count("\n"))  # a statement that is taken out takes its own comment along
        assert comments - gone <= text.count("#") <= comments
        again = list(check.function(SourceTree((SourceFile("sick.py", text),))))
        assert len(again) < len(found)
    assert "\n" not in text.replace(newline, "")
    assert not fixes, "an edit is still offered after all were applied"


def test_what_is_no_regular_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.py")
    (tmp_path / "nowhere.py").symlink_to(tmp_path / "gone")
    (tmp_path / "zero.py").symlink_to("/dev/zero")
    (tmp_path / "real.txt").write_text("x = 1\n")
    (tmp_path / "link.py").symlink_to(tmp_path / "real.txt")
    tree = SourceTree.gather(SourcePaths((".",), tmp_path), Resources())
    assert [(file.path, file.text) for file in tree.files] == [("link.py", "x = 1\n")]
    assert read_source(tmp_path / "zero.py", "zero.py").trouble == "is no regular file"
