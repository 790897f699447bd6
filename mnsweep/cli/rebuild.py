"""`mnsweep rebuild`: recreate all derived files."""

from pathlib import Path
from typing import Annotated

import typer

from mnsweep.cli import options as o
from mnsweep.options import at_home
from mnsweep.wording import count_of

EXAMPLE = "Example: mnsweep rebuild results/grid"


def rebuild(
    folders: Annotated[list[Path], typer.Argument(help="Folders of sweeps, or any folder above them.")],
    forget: Annotated[
        str, typer.Option("--forget", metavar="CELLS", help="Remove these cells first, e.g. a0.25_r64; a copy is set aside.")
    ] = "",
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Recreate cells.csv and the plots of every sweep in the folders from blocks.jsonl.

    Text files are reproduced byte for byte. So are plots, with the same
    versions of the plotting library and fonts.
    """
    from mnsweep.app.rebuild import rebuild as rebuild_folders
    from mnsweep.cli.show import advise, print_json

    rebuilt = []
    for outcome in rebuild_folders([at_home(folder) for folder in folders], list(filter(None, forget.split(",")))):
        rebuilt.append(str(outcome.folder.path))
        advise(f"{outcome.folder.path}: {count_of(len(outcome.results), 'cell')}", quiet or json)
    if json:
        print_json({"rebuilt": rebuilt})
    advise(f"next: mnsweep pick --sweep {rebuilt[0]} --max-latency-ms 10", quiet)
