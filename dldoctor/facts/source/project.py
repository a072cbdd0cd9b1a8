"""Which file an import means: the files at hand as modules."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from dldoctor.facts.source.text import SourceFile


class Project:
    """The files at hand, found by module name from where an import stands."""

    def __init__(self, files: Iterable[SourceFile]) -> None:
        self._by_path = {file.path: file for file in files}

    def find(self, module: str, level: int, importer: SourceFile) -> SourceFile | None:
        """The file that `import module` or `from ..module import x` in `importer` means, if it is at hand."""
        here = PurePosixPath(importer.path).parent
        parts = module.split(".") if module else []
        if level:
            for _ in range(level - 1):
                here = here.parent
            return self._at(here.joinpath(*parts))
        folders = [here, *here.parents]
        for folder in folders:
            if (found := self._at(folder.joinpath(*parts))) is not None and found is not importer:
                return found
            if (found := self._at(folder.joinpath("src", *parts))) is not None:
                return found
        return None

    def _at(self, path: PurePosixPath) -> SourceFile | None:
        name = path.as_posix()
        return self._by_path.get(f"{name}.py") or self._by_path.get("__init__.py" if name == "." else f"{name}/__init__.py")
