"""Keep the built files of the cells that are measured, so that each process opens them without building them again."""

from collections.abc import Callable, Iterable
from contextlib import suppress

from mnsweep.cell import Cell


class KeptModels:
    """A function that builds the ONNX file of a cell, with a memory: no more than `most_bytes` are kept."""

    def __init__(self, build: Callable[[Cell], bytes], most_bytes: float) -> None:
        self.build, self.free = build, most_bytes
        self._kept: dict[str, bytes] = {}

    def prepare(self, cells: Iterable[Cell]) -> None:
        """Build the files of the cells, as long as there is room; whatever fails is raised when the file is asked for."""
        for cell in cells:
            if self.free <= 0:
                return
            with suppress(Exception):
                self(cell)

    def __call__(self, cell: Cell) -> bytes:
        """The file of a cell; raises what building it raises."""
        if cell.id in self._kept:
            return self._kept[cell.id]
        model = self.build(cell)
        if len(model) <= self.free:
            self._kept[cell.id] = model
        self.free -= len(model)  # one that does not fit ends it: a smaller one would be kept in its place by chance
        return model
