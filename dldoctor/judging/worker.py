"""A worker process that judges parts: `python -P -m dldoctor.judging.worker PANEL PLACE`."""

from __future__ import annotations

import sys
from typing import Any

from dldoctor.judging.panel import Panel
from dldoctor.judging.parts import collecting_between, judged
from dldoctor.working import serve


def main() -> None:
    panel = Panel.read(sys.argv[1])
    whole = panel.kind.opened(sys.argv[2])

    with collecting_between() as between:

        def answer(name: str) -> dict[str, Any]:
            judgement = judged(panel, whole, name).plain()
            between()
            return judgement

        serve(answer)


if __name__ == "__main__":
    main()
