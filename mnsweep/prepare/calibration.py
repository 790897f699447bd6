"""Calibration: value ranges of every feature map of an int8 design, from which its scales are computed."""

from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnsweep.arch.expand import expand
from mnsweep.cell import Cell, Design
from mnsweep.graph.file_size import SYNTHETIC
from mnsweep.graph.integers import Integers
from mnsweep.graph.onnx_file import build_open_onnx
from mnsweep.names import PRECISIONS
from mnsweep.prepare.images import read_images, synthetic_images
from mnsweep.prepare.models import Prepared, building
from mnsweep.wording import count_of
from mnsweep.worker.proxy import CellError, NewWorker


def calibrate(prepared: Prepared, cells: Sequence[Cell], new_worker: NewWorker, folder: Path | None = None) -> None:
    """Find the ranges of the int8 designs among `cells`, over the pictures in `folder` or over seeded synthetic images.

    A network that was trained with quantization has its own; weights may come with ranges, which `folder` overrides.
    Takes a fraction of a second for each design. A cell that fails is recorded in `prepared.failures`. Raises `MnsweepError`
    if a picture cannot be read.
    """
    if folder is None:
        known = {design: trained.ranges for design, trained in prepared.trained.items() if trained.ranges}
        prepared.ranges |= {design: ranges for design, ranges in known.items() if design not in prepared.ranges}
    wanted = [cell for cell in cells if PRECISIONS[cell.deployment.precision].quantized and cell.design not in prepared.ranges]
    wanted = [cell for cell in wanted if not prepared.obstacle(cell) and not prepared.has_integers(cell.design)]
    if not wanted:
        return
    read = cache(synthetic_images if folder is None else partial(read_images, folder))

    def images(design: Design) -> list[NDArray[np.float32]]:
        trained = prepared.trained.get(design)
        return read(design.resolution, trained.preprocessing) if trained else read(design.resolution)

    first = images(wanted[0].design)  # an unreadable picture raises before a process starts
    prepared.calibration = SYNTHETIC if folder is None else count_of(len(first), "image")
    with new_worker() as worker:
        worker.pin(1)
        for cell in wanted:
            try:
                if cell.design not in prepared.ranges:
                    model = _open_model(prepared, cell)
                    prepared.ranges[cell.design] = worker.ranges(model, images(cell.design))
            except CellError as error:
                prepared.failures[cell.id] = f"while calibrating: {error}"


def _open_model(prepared: Prepared, cell: Cell) -> bytes:
    with building(expand(cell.design)):  # of floats; before weights of that size are made
        layers, weights = prepared.network(cell)
        if isinstance(weights, Integers):
            raise CellError("its weights are integers, which need no calibration")
        return build_open_onnx(layers, weights)
