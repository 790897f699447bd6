"""Keep the built files of the cells that are measured, so that each process opens them without building them again.

Under Linux they are files in memory without a name, which worker processes open by the parent's descriptor: nothing is sent
through a pipe, nothing is written to a disk, and nothing is left behind however the parent ends.
"""

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from mnsweep.cell import Cell

MOST_FILES = 256  # a process may have some thousand open files, and needs others


class KeptModels:
    """A function that builds the ONNX file of a cell, with a memory of `most_bytes`; a context manager that empties it."""

    def __init__(self, build: Callable[[Cell], bytes], most_bytes: float) -> None:
        self.build, self.free = build, most_bytes
        self._kept: dict[str, bytes | Path] = {}
        self._open: list[int] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for descriptor in self._open:
            os.close(descriptor)
        self._kept, self._open = {}, []

    def prepare(self, cells: Iterable[Cell]) -> None:
        """Build the files of the cells, as long as there is room; whatever fails is raised when the file is asked for."""
        for cell in cells:
            if self.free <= 0:
                return
            with suppress(Exception):
                self(cell)

    def __call__(self, cell: Cell) -> bytes | Path:
        """The file of a cell, or where a worker process can read it; raises what building it raises."""
        if cell.id in self._kept:
            return self._kept[cell.id]
        model = self.build(cell)
        self.free -= len(model)  # one that does not fit ends it: a smaller one would be kept in its place by chance
        if self.free >= 0:
            self._kept[cell.id] = self._in_memory(model) or model
            return self._kept[cell.id]
        return model

    def _in_memory(self, model: bytes) -> Path | None:
        """A file in memory with this content; None where the system has none."""
        if not hasattr(os, "memfd_create") or len(self._open) >= MOST_FILES:
            return None
        try:
            descriptor = os.memfd_create("mnsweep")
        except OSError:
            return None
        self._open.append(descriptor)
        try:
            with open(descriptor, "wb", closefd=False) as file:
                file.write(model)
        except OSError:
            return None
        return Path(f"/proc/{os.getpid()}/fd/{descriptor}")
