"""`mnsweep rebuild`: write all derived files again."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from mnsweep.errors import MnsweepError, StoreError
from mnsweep.machine.lock import measuring
from mnsweep.sweep.derive import Outcome, derive
from mnsweep.sweep.kept import forget
from mnsweep.sweep.store import ASIDE, BLOCKS, SweepFolder


def rebuild(folders: Sequence[Path], cells_to_forget: Collection[str] = ()) -> Iterator[Outcome]:
    """Write `cells.csv`, plots and models of every sweep in or below the folders again, from its measured blocks.

    Each sweep is rebuilt when the iterator reaches it. `cells_to_forget` are removed first, from the only sweep; a copy of
    its folder is set aside. Raises `MnsweepError` where there is no sweep, `UnavailableError` while one is measured here.
    """
    found = sorted({path.parent for folder in folders for path in folder.glob(f"**/{BLOCKS}") if _is_current(path, folder)})
    if not found:
        raise MnsweepError(f"{folders[0]}: no {BLOCKS} in or below it", "name the folder of a sweep, e.g. results/grid")
    if cells_to_forget:
        if len(found) > 1:
            raise MnsweepError(f"`forget`: there are {len(found)} sweeps in {folders[0]}", "name the folder of one")
        with measuring(wait=False):
            forget(SweepFolder(found[0]), cells_to_forget)
    return map(_derived, found)


def _derived(path: Path) -> Outcome:
    """`derive`; what can't be written can't go elsewhere, so the advice of `results_dir` doesn't apply."""
    try:
        return derive(SweepFolder(path))
    except StoreError as error:
        fix = "make room there, or allow writing to it; no measurement is lost" if "`results_dir`" in error.fix else error.fix
        raise StoreError(error.what, fix) from None


def _is_current(blocks: Path, folder: Path) -> bool:
    """Whether the blocks are of a sweep that was not set aside, or of the folder that was named."""
    return blocks.parent == folder or ASIDE not in blocks.parent.name
