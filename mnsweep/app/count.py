"""`mnsweep count`: counts and published accuracies, without running anything."""

from collections.abc import Iterator
from typing import Any

from mnsweep.accuracy.published import DEFAULT_SOURCE
from mnsweep.app.requests import CountRequest
from mnsweep.errors import MnsweepError
from mnsweep.result import Result
from mnsweep.sweep.counts import count_rows, count_table, layer_rows


def count(request: CountRequest) -> list[Result]:
    """Params, mult-adds, file size and activation memory of every cell, and its published accuracy. Nothing is run."""
    return count_table(request.space.cells(), request.accuracies.quality_source or DEFAULT_SOURCE)


def count_columns(request: CountRequest) -> Iterator[dict[str, Any]]:
    """Yield the known columns of each result of `count`, for large grids."""
    return count_rows(request.space.cells(), request.accuracies.quality_source or DEFAULT_SOURCE)


def count_layers(request: CountRequest) -> tuple[list[Result], list[dict[str, int | str]]]:
    """The counts of one design, and one dictionary per layer; raises `MnsweepError` where the grid has several designs."""
    cells = request.space.cells()
    if len(cells) > 1:
        raise MnsweepError(f"`layers` shows one design, this grid has {len(cells)}", "give one `alpha` and one `res`")
    return count(request), layer_rows(cells[0])
