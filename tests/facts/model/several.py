"""Examine several networks, each in a fork of one process that has torch ready: `several.py FOLDER REQUESTS`."""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from dldoctor import examine_model, isolation
from dldoctor.facts.model.inside import runtime
from dldoctor.facts.user_code import is_users


def main() -> None:
    runtime.prepare()
    import torch

    from dldoctor.facts.model.inside import places

    torch.set_num_threads(1)
    places.users = lambda path: path != __file__ and is_users(path)  # type: ignore[assignment]  # patched on purpose
    isolation.run_child = here  # type: ignore[assignment]  # patched on purpose
    os.chdir(sys.argv[1])
    examine_model("parts.py:Encoder", input="3x32x32")  # what torch imports on the way is there for all that follow
    found = {}
    for file, requests in json.loads(sys.argv[2]).items():
        path = Path(sys.argv[1], file)
        os.chdir(path.parent)
        found[file] = {name: in_a_fork(f"{path.name}:{name}", options) for name, options in requests.items()}
    print(json.dumps(found))


def in_a_fork(target: str, options: dict[str, Any]) -> list[Any]:
    """(code, severity, line, message) of what is found."""
    with tempfile.NamedTemporaryFile() as answer:
        child = os.fork()
        if child == 0:
            os.dup2(2, 1)
            try:
                outcome = examine_model(target, **options).outcome
                found = [
                    [e.check.code, e.severity.value, e.finding.at.line, e.finding.message] for e in outcome.entries
                ]
                found += [["crash", "error", None, f"{crash.what}: {crash.error}"] for crash in outcome.crashes]
            except BaseException as error:
                found = [["raised", "error", None, repr(error)]]
            Path(answer.name).write_text(json.dumps(found))
            os._exit(0)
        os.waitpid(child, 0)
        return list(json.loads(Path(answer.name).read_text() or '[["died", "error", null, ""]]'))


def here(task: str, arguments: Any, resources: Any, **_: Any) -> isolation.ChildRun:
    """The child's task, in this process."""
    from dldoctor.facts.model.inside.examine import examine

    sent: dict[str, Any] = {}
    examine(arguments, lambda key, value: sent.__setitem__(key, json.loads(json.dumps(value))))
    return isolation.ChildRun(isolation.ChildEnd("done", ""), sent)


if __name__ == "__main__":
    main()
