"""Cells whose files and deployments are the same: one measurement serves them all."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from mnsweep.arch.channel_padding import Channels
from mnsweep.cell import Cell
from mnsweep.names.runtimes import canonical


def twins(cells: Iterable[Cell], channels: Mapping[str, Channels], *, measured: Collection[str]) -> dict[str, str]:
    """By the id of each cell that need not be timed, the id of the cell that is timed for it.

    The same design with the same resolved `channels` (by cell id), precision, runtime, threads and batch makes the same file
    and runs it the same way. The cell that is timed is one that was `measured` before, else the first; cells that were
    measured themselves keep what they have.
    """
    timed: dict[object, str] = {}
    cells = [cell for cell in cells if cell.id in channels]
    for cell in sorted(cells, key=lambda cell: cell.id not in measured):
        timed.setdefault(_identity(cell, channels[cell.id]), cell.id)
    pairs = ((cell.id, timed[_identity(cell, channels[cell.id])]) for cell in cells)
    return {cell: timed_as for cell, timed_as in pairs if cell != timed_as and cell not in measured}


def _identity(cell: Cell, channels: Channels) -> object:
    deployment = replace(cell.deployment, pad="none", runtime=canonical(cell.deployment.runtime))
    return cell.design, deployment, frozenset(channels.items())
