"""Keep the built files of the cells that are measured, so that each process opens them without building them again."""

from collections.abc import Callable

from mnsweep.cell import Cell


class KeptModels:
    """A function that builds the ONNX file of a cell, with a memory: no more than `most_bytes` are kept."""

    def __init__(self, build: Callable[[Cell], bytes], most_bytes: float) -> None:
        self.build, self.free = build, most_bytes
        self._kept: dict[str, bytes] = {}

    def __call__(self, cell: Cell) -> bytes:
        """The file of a cell; raises what building it raises."""
        if cell.id in self._kept:
            return self._kept[cell.id]
        model = self.build(cell)
        if len(model) <= self.free:
            self._kept[cell.id] = model
            self.free -= len(model)
        return model
