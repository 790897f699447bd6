"""`mnsweep rebuild`: write all derived files again."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from mnsweep.errors import MnsweepError
from mnsweep.sweep.derive import Outcome, derive
from mnsweep.sweep.store import BLOCKS, SweepFolder


def rebuild(folders: Sequence[Path]) -> Iterator[Outcome]:
    """Write `cells.csv`, plots and models of every sweep in or below the folders again, from its measured blocks.

    Each sweep is rebuilt when the iterator reaches it. Raises `MnsweepError` where there is no sweep.
    """
    found = sorted({path.parent for folder in folders for path in folder.glob(f"**/{BLOCKS}")})
    if not found:
        raise MnsweepError(f"{folders[0]}: no {BLOCKS} in or below it", "name the folder of a sweep, e.g. results/grid")
    return (derive(SweepFolder(path)) for path in found)
