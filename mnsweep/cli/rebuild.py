"""`mnsweep rebuild`: make everything derived again."""

from json import dumps
from pathlib import Path
from typing import Annotated

import typer

from mnsweep.cli import options as o

EXAMPLE = "Example: mnsweep rebuild results/grid"


def rebuild(
    folders: Annotated[list[Path], typer.Argument(help="Folders of sweeps, or any folder above them.")],
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Recreate cells.csv and the plots of every sweep below the folders, from blocks.jsonl.

    Text comes back byte for byte; pictures too, with the same versions of the plotting library and fonts.
    """
    from mnsweep.cli.show import advise
    from mnsweep.errors import MnsweepError
    from mnsweep.sweep.derive import derive
    from mnsweep.sweep.store import BLOCKS, SweepFolder

    found = sorted({path.parent for folder in folders for path in folder.glob(f"**/{BLOCKS}")})
    if not found:
        raise MnsweepError(f"{folders[0]}: no {BLOCKS} in or below it; name the folder of a sweep, as in results/grid")
    for path in found:
        outcome = derive(SweepFolder(path))
        advise(f"{path}: {len(outcome.results)} cells", quiet or json)
    if json:
        typer.echo(dumps({"schema_version": 1, "rebuilt": [str(path) for path in found]}, indent=2))
    advise(f"next: mnsweep pick --sweep {found[0]} --max-latency-ms 10", quiet)
