"""Pasted text as lines of messages: no colours, launchers' prefixes or boxes, and the code of tracebacks set apart."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass

_ANSI = re.compile(r"\x1b(?:\[[0-9;:?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
#: what launchers, log collectors and loggers put before each line; what is indented behind it stays so
_PREFIX = re.compile(
    r"""(?:\[(?:rank\s*|default)?\d+\]:?\s?  # torchrun: [rank0]: and [default0]:
    |\[\d+,\d+\](?:<\w+>)?:\s?               # mpirun: [1,0]<stderr>:
    |rank\s?\d+:\s?|[ ]{0,3}\d{1,4}:\s       # srun --label: 0:
    |\([^()\n]*\bpid=\d+[^()\n]*\)\s?        # ray: (train pid=123)
    |[\w.-]+\s*\|\s                          # docker compose: train-1  |
    |\[?\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?\]?[ ]?
    |\[?(?:DEBUG|INFO|WARNING|ERROR|CRITICAL|FATAL)\]?\s*[-:|]\s?
    |\[[\w.]+\](?=\[|\s-\s)                # hydra: [time][module][ERROR] -
    |-\s(?:[\w.]+\s-\s)?
    |\|\s)""",
    re.VERBOSE | re.IGNORECASE,
)
_ENTITY = re.compile(r"&(?:lt|gt|amp|quot|#x?[0-9a-fA-F]+);")
_FILE = re.compile(r"\s*>?\s*File [\"'\u201c]")
_WARNING = re.compile(r"\s*\S.*:\d+: \w*Warning: ")
_PROMPT = re.compile(r"(?:>>>|\.\.\.|In \[\d+\]:)(?:\s|$)")
_RULE = re.compile(r"[\s─━═╭╮╰╯┌┐└┘├┤┏┓┗┛┡┩+-]{5,}$|\s*[╭╰┌└┏┗]")
_BOXED = re.compile(r"\s*[│┃|]\s?(.*?)\s*[│┃|]?\s*$")
#: inside a box: a numbered line of code, a place, the box of the locals
_BOXED_CODE = re.compile(r"\s*[❱>]?\s*\d+\s*[│|]|\s*\S.*:\d+ in \S|\s*[╭│╰|]|\s*❱")
_NOTEBOOK = re.compile(r"^-{2,}> ?\d+\b", re.MULTILINE)
_NOTEBOOK_CODE = re.compile(r"-{2,}> ?\d+\b|\s+\d+(?:\s|$)|(?:File|Cell|Input) |\S+ in \S+\(.*\)$|[~/<]\S* in ")
#: the line that says what was raised
HEADER = re.compile(r"\s*(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Interrupt|Warning|Exit|Failure)(?::|\s*$)")


@dataclass(frozen=True)
class Pasted:
    """Lines of a text, in order: what was said, and the code that a traceback shows with it."""

    said: tuple[str, ...]
    code: tuple[str, ...]


def read(text: str) -> Pasted:
    """Set the messages of a log, a notebook or a terminal apart from the code in it."""
    if _ENTITY.search(text):
        text = html.unescape(text)
    lines = _ANSI.sub("", text).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    notebook = _NOTEBOOK.search("\n".join(lines)) is not None
    said: list[str] = []
    code: list[str] = []
    frame: int | None = None  # the indent of the `File` line whose code follows
    fresh = False  # that line was the last one
    for original in lines:
        line = original
        if _PROMPT.match(line):
            code.append(line)
            continue
        if boxed := _BOXED.match(line) if line.lstrip()[:1] in ("│", "┃", "|") else None:
            line = boxed[1]
            if _BOXED_CODE.match(line):
                code.append(line)
                continue
        elif _RULE.match(line):
            continue
        if notebook and _NOTEBOOK_CODE.match(line):
            code.append(line)
            continue
        line = _without_prefix(line)
        indent = len(line) - len(line.lstrip())
        if _FILE.match(line):
            frame, fresh = indent, True
            code.append(line)
        elif frame is not None and (indent > frame or (fresh and line.strip() and not HEADER.match(line))):
            fresh = False
            code.append(line)
        elif line.strip():
            frame, fresh = (1, False) if _WARNING.match(line) else (None, False)
            said.append(line)
    return Pasted(tuple(said), tuple(code))


def _without_prefix(line: str) -> str:
    for _ in range(5):
        match = _PREFIX.match(line)
        if not match:
            return line
        line = line[match.end() :]
    return line
